"""Hours, memory and cost of a training run before it is started.

    python -m recipes.planning.plan slm --hours 60000 --text-rate 0 --model medium
        --gpu H100 --gpus 8
    python -m recipes.planning.plan slm --hours 5 --model mini --gpus 1 --batch-size 2 --no-bf16
        --calibrate
    python -m recipes.planning.plan codec --preset hh_24khz --gpu H100 --gpus 8

The arithmetic is stated in recipes/planning/lm_cost.py and recipes/planning/codec_cost.py. Without
`--calibrate` the products are taken to reach `--efficiency` of a published peak: an assumption, and
the largest uncertainty. `--calibrate` measures a step of one and of three layers on the device at
hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from codec.training.config import check_shares
from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig

from .accelerators import ACCELERATORS, Accelerator, accelerator
from .lm_cost import (
    FRAME_RATE,
    Corpus,
    Run,
    checkpoint_bytes,
    memory,
    parameters,
    step_seconds,
    step_tokens,
    steps,
    token_operations,
)

# Kept back of a GPU: CUDA's context and kernels, NCCL's buffers, pieces that fit nothing.
RESERVE_GB = 4.0


def main(argv: Sequence[str] | None = None) -> int:
    """Print a plan.

    Returns:
        Exit status: 0 when done, 2 for the caller's mistake.
    """
    arguments = _parser().parse_args(argv)
    try:
        plan = plan_slm(arguments) if arguments.what == "slm" else plan_codec(arguments)
    except ValueError as error:
        if arguments.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(plan) if arguments.json else _table(plan))
    return 0


def model_config(name: str, seq_len: int, text_size: int = 512) -> SpeechLMConfig:
    """A preset as it is planned: 8192 codes, `text_size` pieces.

    Raises:
        ValueError: No preset of that name.
    """
    return SpeechLMConfig.preset(
        name,
        vocabulary=Vocabulary(text_size, 8192).to_dict(),
        codec_fingerprint="planned",
        frame_rate=FRAME_RATE,
        max_seq_len=seq_len,
    )


def plan_slm(arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of a language model's training.

    Raises:
        ValueError: A model or GPU that is not known, or sizes that do not go together.
    """
    corpus = _made(Corpus, arguments)
    run = _made(Run, arguments)
    config = model_config(arguments.model, run.seq_len, arguments.text_size)
    device = accelerator(arguments.gpu)
    count = steps(corpus, run)
    needed = memory(config, run)
    plan: dict[str, Any] = {
        "model": f"{arguments.model}, {parameters(config) / 1e6:.1f} M parameters",
        "hours_of_speech": corpus.hours,
        "tokens": corpus.tokens * run.epochs,
        "tokens_a_step": step_tokens(corpus, run),
        "steps": count,
        "operations": token_operations(config, corpus) * corpus.tokens * run.epochs,
        "tokens_a_parameter": corpus.tokens * run.epochs / parameters(config),
    }
    plan |= {f"{name}_gb": value / 1e9 for name, value in vars(needed).items() if value}
    plan["memory_gb"] = needed.total / 1e9
    plan["host_checkpoint_gb"] = checkpoint_bytes(config, run) / 1e9
    if arguments.calibrate:
        seconds = _calibrated(arguments, config, run, plan)
    else:
        plan["device"] = f"{run.devices} x {arguments.gpu}, {run.strategy}"
        plan["fits"] = _fits(needed.total, device)
        plan["efficiency"] = arguments.efficiency
        seconds = step_seconds(
            config,
            corpus,
            run,
            device,
            efficiency=arguments.efficiency,
            node_gbs=arguments.node_gbs,
        )
    plan["step_seconds"] = seconds
    plan["tokens_a_second"] = plan["tokens_a_step"] / seconds
    return plan | _time_and_cost(count * seconds, run.devices, arguments.price)


def plan_codec(arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of the codec's training, joint phases with discriminators and a teacher.

    Raises:
        ValueError: A preset or GPU that is not known, or crops or devices that do not divide.
    """
    from codec.training.config import DiscriminatorConfig

    from .codec_cost import codec_memory, codec_step_seconds, codec_work, kept_bytes

    device, gpus, crops = accelerator(arguments.gpu), arguments.gpus, arguments.batch_size
    if min(gpus, arguments.nodes) < 1 or gpus % arguments.nodes:
        raise ValueError(f"gpus: expected a multiple of {arguments.nodes} nodes, got {gpus}")
    check_shares("codec", crops, gpus)
    critics = DiscriminatorConfig(channels=64, band_n_ffts=(2048, 1024, 512))
    work = codec_work(arguments.preset, critics, arguments.crop_codes, teacher=True)
    kept = kept_bytes(arguments.preset, critics, bf16=arguments.bf16)
    needed = codec_memory(work, kept, crops, arguments.crop_codes, gpus)
    link = device.link_gbs if arguments.nodes == 1 else min(device.link_gbs, arguments.node_gbs)
    seconds = codec_step_seconds(
        work, crops, gpus, device, efficiency=arguments.efficiency, link_gbs=link
    )
    plan: dict[str, Any] = {
        "model": f"{arguments.preset}, {work.parameters / 1e6:.1f} M parameters, "
        f"{work.critics / 1e6:.1f} M of discriminators",
        "audio_seconds_a_step": crops * work.seconds,
        "steps": arguments.steps,
        "operations_a_step": work.step * crops,
        "generator_share": 3 * work.generator / work.step,
        "discriminator_share": 7 * work.discriminators / work.step,
    }
    plan |= {f"{name}_gb": value / 1e9 for name, value in vars(needed).items() if value}
    plan["memory_gb"] = needed.total / 1e9
    plan["device"] = f"{gpus} x {arguments.gpu}" + (", ddp" if gpus > 1 else "")
    plan["fits"] = _fits(needed.total, device)
    plan["efficiency"] = arguments.efficiency
    plan["step_seconds"] = seconds
    return plan | _time_and_cost(seconds * arguments.steps, gpus, arguments.price)


def _calibrated(
    arguments: argparse.Namespace, config: SpeechLMConfig, run: Run, plan: dict[str, Any]
) -> float:
    """Seconds of a step from a measurement here; adds what was measured to the plan."""
    import torch

    from .calibration import calibrate

    if run.devices > 1:
        raise ValueError(f"calibrate: expected --gpus 1, the device at hand, got {run.devices}")
    measured = calibrate(
        config,
        rows=run.device_rows,
        seq_len=run.seq_len,
        device="cuda" if torch.cuda.is_available() else "cpu",
        bf16=run.bf16,
        recompute=run.recompute,
    )
    plan["device"] = f"{measured.device}, {measured.threads} threads, measured"
    plan["sustained_tflops"] = measured.layer_tflops
    return measured.step_seconds(config.num_layers, run.device_rows, run.device_batches)


def _fits(needed: float, device: Accelerator) -> str:
    """Whether so many bytes go into a device, in words."""
    fits = needed / 1e9 + RESERVE_GB <= device.memory_gb
    return f"{'yes' if fits else 'NO'}, {device.memory_gb:g} GB, {RESERVE_GB:g} reserved"


def _time_and_cost(seconds: float, devices: int, price: float | None) -> dict[str, Any]:
    hours = seconds / 3600
    cost = {} if price is None else {"cost": hours * devices * price}
    return {"hours": hours, "device_hours": hours * devices} | cost


def _made(kind: Any, arguments: argparse.Namespace) -> Any:
    """A dataclass from the arguments of its fields' names."""
    given = vars(arguments) | {"devices": arguments.gpus}
    return kind(**{each.name: given[each.name] for each in fields(kind) if each.name in given})


def _table(plan: dict[str, Any]) -> str:
    """One figure a line."""
    lines = []
    for name, value in plan.items():
        shown = value
        if isinstance(value, float):
            shown = f"{value:.3g}" if abs(value) < 1000 or value >= 1e7 else f"{value:,.0f}"
        elif isinstance(value, int):
            shown = f"{value:,}"
        lines.append(f"{name.replace('_', ' '):<24} {shown}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recipes.planning.plan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(dest="what", required=True, metavar="slm|codec")
    slm = kinds.add_parser("slm", help="a language model")
    slm.add_argument("--model", default="medium", help="preset, such as base, medium or large")
    slm.add_argument("--text-size", type=int, default=512, help="text pieces")
    for name, default, text in (
        ("hours", None, "hours of speech"),
        ("text_rate", 5.0, "text tokens a second; 0 without transcripts"),
        ("utterance_seconds", 10.0, "mean length of an utterance"),
        ("prompt_probability", 0.5, "chance of a speaker prompt"),
        ("prompt_codes", 60.0, "mean length of a prompt, codes"),
        ("padding", 0.02, "share of a row that stays empty"),
        ("epochs", 1.0, "passes over the corpus"),
    ):
        flag = "--" + name.replace("_", "-")
        slm.add_argument(flag, type=float, default=default, required=default is None, help=text)
    for name, default in (("seq_len", 2048), ("batch_size", 64), ("accumulate", 1)):
        slm.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    slm.add_argument("--strategy", default="ddp", help="ddp or fsdp")
    slm.add_argument("--recompute", action="store_true", help="activations made again")
    slm.add_argument("--calibrate", action="store_true", help="measure on the device at hand")
    codec = kinds.add_parser("codec", help="the codec, joint phases")
    codec.add_argument("--preset", default="hh_24khz")
    codec.add_argument("--steps", type=int, default=155_000, help="of all phases")
    codec.add_argument("--batch-size", type=int, default=48, help="crops a step")
    codec.add_argument("--crop-codes", type=int, default=64)
    for each, gpus in ((slm, 8), (codec, 1)):
        each.add_argument("--gpu", default="H100", help=", ".join(ACCELERATORS))
        each.add_argument("--gpus", type=int, default=gpus, help="over all nodes")
        each.add_argument("--nodes", type=int, default=1)
        each.add_argument("--node-gbs", type=float, default=50.0, help="between nodes, GB/s a GPU")
        each.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
        efficiency = 0.4 if each is slm else 0.2
        each.add_argument("--efficiency", type=float, default=efficiency, help="share of the peak")
        each.add_argument("--price", type=float, help="of a GPU hour, in any currency")
        each.add_argument("--json", action="store_true", help="print one JSON object")
        each.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

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
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch

from codec.checks import check_shares, require
from codec.command_line import (
    DONE,
    HelpFormatter,
    ShowVersion,
    exit_status,
    number,
    whole_number,
)
from codec.training.config import DiscriminatorConfig
from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig

from .accelerators import ACCELERATORS, Accelerator, accelerator
from .calibration import calibrate
from .codec_cost import (
    DISCRIMINATOR_PASSES,
    GENERATOR_PASSES,
    codec_memory,
    codec_step_seconds,
    codec_work,
    kept_bytes,
    loader_workers,
    planned_networks,
)
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

Sizes = TypeVar("Sizes", Corpus, Run)
# Kept back of a GPU: CUDA's context and kernels, NCCL's buffers, pieces that fit nothing.
RESERVE_GB = 4.0
# Those of recipes/configs/hh_24khz.yaml, whatever the preset.
DISCRIMINATORS = DiscriminatorConfig(channels=64, band_n_ffts=(2048, 1024, 512))


def main(argv: Sequence[str] | None = None) -> int:
    """Print a plan; returns the exit status."""
    arguments = _parser().parse_args(argv)

    def work() -> int:
        plan = arguments.plan(arguments)
        print(json.dumps(plan) if arguments.json else _table(plan))
        return DONE

    return exit_status(work, debug=arguments.debug)


def model_config(name: str, seq_len: int, text_size: int = 512) -> SpeechLMConfig:
    """Build the configuration of a preset for 8192 codes and `text_size` text pieces.

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
    """Compute the figures of a language model's training.

    Raises:
        ValueError: A model or GPU that is not known, or sizes that do not go together.
    """
    corpus, run = _sizes(Corpus, arguments), _sizes(Run, arguments)
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
        if plan["fits"].startswith("NO"):
            plan["fits_with"] = fitting(config, run, device) or "no accumulation; a larger device"
        plan["efficiency"] = efficiency = arguments.efficiency
        seconds = step_seconds(
            config, corpus, run, device, efficiency=efficiency, node_gbs=arguments.node_gbs
        )
    plan["step_seconds"] = seconds
    plan["tokens_a_second"] = plan["tokens_a_step"] / seconds
    return plan | _time_and_cost(count * seconds, run.devices, arguments.price)


def plan_codec(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compute the figures of the codec's joint phases, with discriminators and a teacher.

    Raises:
        ValueError: A preset or GPU that is not known, or crops or devices that do not divide.
    """
    device, gpus, crops = accelerator(arguments.gpu), arguments.gpus, arguments.batch_size
    is_multiple = min(gpus, arguments.nodes) >= 1 and gpus % arguments.nodes == 0
    require(is_multiple, "gpus", f"a multiple of {arguments.nodes} nodes", gpus)
    check_shares("codec", crops, gpus)
    networks = planned_networks(arguments.preset, DISCRIMINATORS)
    work = codec_work(*networks, arguments.crop_codes, teacher=True)
    kept = kept_bytes(*networks, bf16=arguments.bf16)
    needed = codec_memory(work, kept, crops, arguments.crop_codes, gpus)
    link = device.link_gbs if arguments.nodes == 1 else min(device.link_gbs, arguments.node_gbs)
    seconds = codec_step_seconds(
        work, crops, gpus, device, efficiency=arguments.efficiency, link_gbs=link
    )
    plan: dict[str, Any] = {
        "model": f"{arguments.preset}, {work.parameters / 1e6:.1f} M parameters, "
        f"{work.discriminator_parameters / 1e6:.1f} M of discriminators",
        "audio_seconds_a_step": crops * work.seconds,
        "steps": arguments.steps,
        "operations_a_step": work.step * crops,
        "generator_share": GENERATOR_PASSES * work.generator / work.step,
        "discriminator_share": DISCRIMINATOR_PASSES * work.discriminators / work.step,
    }
    plan |= {f"{name}_gb": value / 1e9 for name, value in vars(needed).items() if value}
    plan["memory_gb"] = needed.total / 1e9
    plan["device"] = f"{gpus} x {arguments.gpu}" + (", ddp" if gpus > 1 else "")
    plan["fits"] = _fits(needed.total, device)
    plan["efficiency"] = arguments.efficiency
    plan["step_seconds"] = seconds
    rate = arguments.loader_rate
    plan["loader_workers_a_gpu"] = loader_workers(work, crops, gpus, seconds, rate)
    return plan | _time_and_cost(seconds * arguments.steps, gpus, arguments.price)


def _calibrated(
    arguments: argparse.Namespace, config: SpeechLMConfig, run: Run, plan: dict[str, Any]
) -> float:
    """Seconds of a step, measured here; adds the device and its rate to the plan."""
    require(run.devices == 1, "calibrate", "--gpus 1, the device at hand", run.devices)
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
    """Compare bytes with a device's memory, in words."""
    fits = needed / 1e9 + RESERVE_GB <= device.memory_gb
    return f"{'yes' if fits else 'NO'}, {device.memory_gb:g} GB, {RESERVE_GB:g} reserved"


def fitting(config: SpeechLMConfig, run: Run, device: Accelerator) -> str:
    """Find the settings that make a run of the same tokens a step fit into its devices.

    The fewest batches that do, of `batch_size` / k rows each and k times as many; recomputation
    only where no such batches are enough.

    Returns:
        In words; '' where nothing does.
    """
    for recompute in sorted({run.recompute, True}):
        for factor in range(1, run.batch_size + 1):
            rows, batches = run.batch_size // factor, run.accumulate * factor
            if run.batch_size % factor or (rows % run.devices and batches % run.devices):
                continue
            smaller = replace(run, batch_size=rows, accumulate=batches, recompute=recompute)
            needed = memory(config, smaller).total
            if not _fits(needed, device).startswith("NO"):
                found = f"batch_size {rows}, accumulate {batches}"
                found += ", recompute" if recompute and not run.recompute else ""
                return f"{found}: {needed / 1e9:.3g} GB"
    return ""


def _time_and_cost(seconds: float, devices: int, price: float | None) -> dict[str, Any]:
    hours = seconds / 3600
    cost = {} if price is None else {"cost": hours * devices * price}
    return {"hours": hours, "device_hours": hours * devices} | cost


def _sizes(kind: type[Sizes], arguments: argparse.Namespace) -> Sizes:
    """A dataclass from the arguments that have the names of its fields."""
    given = vars(arguments) | {"devices": arguments.gpus}
    return kind(**{each.name: given[each.name] for each in fields(kind) if each.name in given})


def _table(plan: dict[str, Any]) -> str:
    """One figure a line, large ones with thousands separated."""
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
    program = "python -m recipes.planning.plan"
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=HelpFormatter
    )
    parser.add_argument("--version", action=ShowVersion)
    kinds = parser.add_subparsers(required=True, metavar="slm|codec")
    slm = kinds.add_parser("slm", help="a language model", formatter_class=HelpFormatter)
    slm.set_defaults(plan=plan_slm)
    slm.add_argument("--model", default="medium", help="preset, such as base, medium or large")
    slm.add_argument("--text-size", type=whole_number(0), default=512, help="text pieces")
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
        slm.add_argument(flag, type=number(0), default=default, required=default is None, help=text)
    for name, default in (("seq_len", 2048), ("batch_size", 64), ("accumulate", 1)):
        slm.add_argument("--" + name.replace("_", "-"), type=whole_number(1), default=default)
    slm.add_argument("--strategy", default="ddp", help="ddp or fsdp")
    slm.add_argument("--recompute", action="store_true", help="activation checkpointing")
    slm.add_argument("--calibrate", action="store_true", help="measure on the device at hand")
    codec = kinds.add_parser("codec", help="the codec, joint phases", formatter_class=HelpFormatter)
    codec.set_defaults(plan=plan_codec)
    codec.add_argument("--preset", default="hh_24khz")
    codec.add_argument("--steps", type=whole_number(1), default=155_000, help="of all phases")
    codec.add_argument("--batch-size", type=whole_number(1), default=48, help="crops a step")
    codec.add_argument("--crop-codes", type=whole_number(1), default=64)
    text = "seconds of audio a second of a process that reads: 20,000 from a store, 2,000 at drawn "
    text += "speeds or from files, 200 with the pitch that a harmonic vocoder is taught"
    codec.add_argument("--loader-rate", type=number(above=0), default=2000.0, help=text)
    for each, gpus, efficiency in ((slm, 8, 0.4), (codec, 1, 0.2)):
        each.add_argument("--gpu", default="H100", help=", ".join(ACCELERATORS))
        each.add_argument("--gpus", type=whole_number(1), default=gpus, help="over all nodes")
        each.add_argument("--nodes", type=whole_number(1), default=1)
        each.add_argument(
            "--node-gbs", type=number(above=0), default=50.0, help="between nodes, GB/s a GPU"
        )
        each.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
        each.add_argument(
            "--efficiency", type=number(above=0), default=efficiency, help="share of the peak"
        )
        each.add_argument("--price", type=number(0), help="of a GPU hour, in any currency")
        each.add_argument("--json", action="store_true", help="print one JSON object")
        each.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

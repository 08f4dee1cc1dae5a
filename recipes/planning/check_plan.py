"""The planner against real training runs: seconds of a step and peak memory, at several sizes.

    python -m recipes.planning.check_plan mini small --steps 8

For each preset a few steps are trained on random codes by the very code of `train_slm`, in a
process of its own whose highest resident memory is read (Linux), less what it holds after it has
trained a tiny model. Then the planner is asked, with a calibration of the same machine.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slm.model.config import SpeechLMConfig

from .lm_cost import FRAME_RATE, Run, memory, parameters
from .plan import model_config

# Steps of a run that are not timed: the first ones make the optimizer's state and fill caches.
WARM_UP = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table, or with `--json` one JSON object a preset.

    Returns:
        Exit status: 0 when every figure is within `--within` of what was measured, 1 otherwise.
    """
    arguments = _parser().parse_args(argv)
    if arguments.measure:
        print(json.dumps(measure(arguments)))
        return 0
    worst = 0.0
    for preset in arguments.presets:
        found = check(preset, arguments)
        worst = max(worst, abs(found["seconds_ratio"] - 1), abs(found["memory_ratio"] - 1))
        print(json.dumps(found) if arguments.json else _line(found), flush=True)
    return 0 if worst <= arguments.within else 1


def check(preset: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Planned and measured figures of one preset."""
    from .calibration import calibrate

    command = [sys.executable, "-m", "recipes.planning.check_plan", preset, "--measure"]
    for name in ("steps", "rows", "seq_len"):
        command += ["--" + name.replace("_", "-"), str(getattr(arguments, name))]
    command += ["--bf16"] if arguments.bf16 else []
    command += ["--recompute"] if arguments.recompute else []
    command += ["--cpu-seconds"] if arguments.cpu_seconds else []
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    measured = json.loads(output.splitlines()[-1])
    config = model_config(preset, arguments.seq_len)
    run = _run(arguments)
    speed = calibrate(
        config,
        rows=arguments.rows,
        seq_len=arguments.seq_len,
        bf16=run.bf16,
        recompute=run.recompute,
        clock=time.process_time if arguments.cpu_seconds else time.perf_counter,
    )
    planned = {
        "seconds": speed.step_seconds(config.num_layers, arguments.rows),
        "memory": memory(config, run).total,
    }
    return {
        "preset": preset,
        "parameters": parameters(config),
        "layer_tflops": speed.layer_tflops,
        "planned_seconds": planned["seconds"],
        "measured_seconds": measured["seconds"],
        "seconds_ratio": planned["seconds"] / measured["seconds"],
        "planned_bytes": planned["memory"],
        "measured_bytes": measured["bytes"],
        "memory_ratio": planned["memory"] / measured["bytes"],
    }


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Train a few steps here: median seconds of a step, and highest resident memory, bytes."""
    from codec.bench.memory import reset_peak, resident_mib
    from slm.model.speech_lm import SpeechLM
    from slm.training.config import TrainingSettings
    from slm.training.fit import fit_speech_lm

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = _random_rows(folder, arguments)

        def model(preset: str) -> SpeechLM:
            sizes = vars(model_config(preset, arguments.seq_len))
            vocabulary = rows.vocabulary.to_dict()
            return SpeechLM(SpeechLMConfig(**{**sizes, "vocabulary": vocabulary}))

        settings = TrainingSettings(
            max_steps=arguments.steps,
            warmup_steps=1,
            checkpoint_every=10**6,
            bf16=arguments.bf16,
            recompute=arguments.recompute,
        )
        options: dict[str, Any] = {"accelerator": "cpu", "progress": False}
        # What the libraries load and keep once they train is none of the model's.
        few = replace(settings, max_steps=2)
        fit_speech_lm(model("tiny"), rows, folder / "first", settings=few, **options)
        gc.collect()
        before = resident_mib("VmRSS")
        reset_peak()
        lm = model(arguments.presets[0])
        fit_speech_lm(lm, rows, folder / "run", settings=settings, **options)
        # From the moment a batch is asked for to the next: a whole step, reading included.
        starts = rows.starts[-arguments.steps :][WARM_UP:]
        seconds = statistics.median(stop - start for start, stop in itertools.pairwise(starts))
        return {"seconds": seconds, "bytes": (rows.peak_mib - before) * 2**20}


def _random_rows(folder: Path, arguments: argparse.Namespace) -> Any:
    """Packed rows of random codes with a sentence each, more than the run reads."""
    from codec.bench.memory import resident_mib
    from slm.bench.training import utterances
    from slm.data.packed_dataset import PackedBatch, PackedDataset
    from slm.data.token_store import TokenStore, TokenStoreWriter
    from slm.data.vocabulary import Vocabulary
    from slm.model.speech_lm import SpeechLM
    from slm.text.sentencepiece_tokenizer import TextTokenizer

    clock = time.process_time if arguments.cpu_seconds else time.perf_counter

    class ProbedRows(PackedDataset):
        """Knows when its batches were asked for, and the highest resident memory by then, MiB.

        Before the last batch no checkpoint was due.
        """

        peak_mib = 0.0

        def batch(self, index: int) -> PackedBatch:
            starts.append(clock())
            self.peak_mib = resident_mib("VmHWM")
            return super().batch(index)

        @property
        def starts(self) -> list[float]:
            return starts

    starts: list[float] = []

    sentences = ["the quick brown fox jumps over a lazy dog", "rain falls on seven green hills"]
    tokenizer = TextTokenizer.train(sentences, folder)
    vocabulary = Vocabulary(tokenizer.vocab_size, 8192, tokenizer.fingerprint)
    tiny = SpeechLM(model_config("tiny", arguments.seq_len, tokenizer.vocab_size))
    writer = TokenStoreWriter(
        folder / "store", codec_fingerprint="planned", codebook_size=8192, frame_rate=FRAME_RATE
    )
    wanted = 2 * arguments.steps * arguments.rows * arguments.seq_len
    for item, document in enumerate(utterances(tiny, wanted // 200)):
        codes = document.tokens[document.tokens >= vocabulary.code_start]
        row = {"id": str(item), "text": sentences[item % 2], "speaker": str(item % 9)}
        writer.add(codes - vocabulary.code_start, row)
    writer.close()
    stores = [TokenStore(folder / "store")]
    sizes = {"seq_len": arguments.seq_len, "batch_size": arguments.rows}
    return ProbedRows(stores, tokenizer, vocabulary, **sizes)


def _run(arguments: argparse.Namespace) -> Run:
    return Run(
        seq_len=arguments.seq_len,
        batch_size=arguments.rows,
        devices=1,
        bf16=arguments.bf16,
        recompute=arguments.recompute,
    )


def _line(found: dict[str, Any]) -> str:
    seconds, gigabytes = found["measured_seconds"], found["measured_bytes"] / 1e9
    return (
        f"{found['preset']:<8} {found['parameters'] / 1e6:6.1f} M   "
        f"step {found['planned_seconds']:.3f} s, measured {seconds:.3f} s "
        f"({found['seconds_ratio']:.2f})   "
        f"memory {found['planned_bytes'] / 1e9:.2f} GB, measured {gigabytes:.2f} GB "
        f"({found['memory_ratio']:.2f})   {found['layer_tflops'] * 1000:.0f} GFLOP/s in layers"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recipes.planning.check_plan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("presets", nargs="+", help="such as mini small")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--seq-len", type=int, default=1024)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--within", type=float, default=0.25, help="largest error that passes")
    parser.add_argument(
        "--cpu-seconds",
        action="store_true",
        help="count seconds of the CPU: for one thread on a machine that others use, too",
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

"""Check of the planner against real training runs: seconds of a step and peak memory, by size.

    python -m recipes.planning.check_plan mini small --steps 8

For each preset a few steps are trained on random codes by the very code of `train_slm`, in a
process of its own whose highest resident memory is read (Linux), less its memory after it has
trained a tiny model. Then the planner is called, with a calibration of the same machine.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codec.bench.memory import required_resident_mib, reset_peak
from codec.command_line import DONE, FAILED, exit_status, number, whole_number
from codec.runtime.processes import run_in_process
from recipes.runner.cli import plain_parser
from slm.bench.training import utterances
from slm.data.packed_batch import PackedBatch
from slm.data.packed_dataset import PackedDataset
from slm.data.token_store import TokenStore, TokenStoreWriter
from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM
from slm.text.sentencepiece_tokenizer import TextTokenizer
from slm.training.config import TrainingSettings
from slm.training.fit import fit_speech_lm

from .calibration import calibrate
from .lm_cost import FRAME_RATE, Run, memory, parameters
from .plan import model_config

# Steps of a run that are not timed: the first ones make the optimizer's state and fill caches.
WARM_UP = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table, or with `--json` one JSON object a preset.

    Returns:
        Exit status: 0 when every figure is within `--within` of the measured one, 1 otherwise.
    """
    arguments = _parser().parse_args(argv)

    def work() -> int:
        worst = 0.0
        for preset in arguments.presets:
            found = check(preset, arguments)
            worst = max(worst, abs(found["seconds_ratio"] - 1), abs(found["memory_ratio"] - 1))
            print(json.dumps(found) if arguments.json else _line(found), flush=True)
        return DONE if worst <= arguments.within else FAILED

    return exit_status(work, debug=arguments.debug)


def check(preset: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Plan and measure one preset: figures of both, and their ratios."""
    measured = run_in_process(measure, preset, arguments)
    config = model_config(preset, arguments.seq_len)
    run = Run(
        seq_len=arguments.seq_len,
        batch_size=arguments.rows,
        devices=1,
        bf16=arguments.bf16,
        recompute=arguments.recompute,
    )
    speed = calibrate(
        config,
        rows=run.batch_size,
        seq_len=run.seq_len,
        bf16=run.bf16,
        recompute=run.recompute,
        clock=_clock(arguments),
    )
    seconds, peak = speed.step_seconds(config.num_layers, run.batch_size), memory(config, run).total
    return {
        "preset": preset,
        "parameters": parameters(config),
        "layer_tflops": speed.layer_tflops,
        "planned_seconds": seconds,
        "measured_seconds": measured["seconds"],
        "seconds_ratio": seconds / measured["seconds"],
        "planned_bytes": peak,
        "measured_bytes": measured["bytes"],
        "memory_ratio": peak / measured["bytes"],
    }


def measure(preset: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Train a few steps here: median seconds of a step, and highest resident memory, bytes."""
    required_resident_mib("VmRSS")  # refused before the work where it cannot be asked
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
        # Memory that libraries load and keep once they train is not the model's.
        few = replace(settings, max_steps=2)
        fit_speech_lm(model("tiny"), rows, folder / "first", settings=few, **options)
        gc.collect()
        before = required_resident_mib("VmRSS")
        reset_peak()
        fit_speech_lm(model(preset), rows, folder / "run", settings=settings, **options)
        # From the moment a batch is asked for to the next: a whole step, reading included.
        starts = rows.starts[-arguments.steps :][WARM_UP:]
        seconds = statistics.median(stop - start for start, stop in itertools.pairwise(starts))
        return {"seconds": seconds, "bytes": (rows.peak_mib - before) * 2**20}


class ProbedRows(PackedDataset):
    """Packed rows that note the time of every request for a batch, and the peak memory by then.

    Attributes:
        clock: Seconds.
        starts: Times of the requests.
        peak_mib: Highest resident memory at the last request, before a checkpoint is due, MiB.
    """

    clock: Callable[[], float]
    starts: list[float]
    peak_mib = 0.0

    def batch(self, index: int) -> PackedBatch:
        """Note the time and the memory, then make the batch."""
        self.starts.append(self.clock())
        self.peak_mib = required_resident_mib("VmHWM")
        return super().batch(index)


def _random_rows(folder: Path, arguments: argparse.Namespace) -> ProbedRows:
    """Packed rows of random codes with a sentence each, more than the run reads."""
    sentences = ["the quick brown fox jumps over a lazy dog", "rain falls on seven green hills"]
    tokenizer = TextTokenizer.train(sentences, folder)
    vocabulary = Vocabulary(tokenizer.vocab_size, 8192, tokenizer.fingerprint)
    tiny = SpeechLM(model_config("tiny", arguments.seq_len, tokenizer.vocab_size))
    writer = TokenStoreWriter(
        folder / "store", codec_fingerprint="planned", codebook_size=8192, frame_rate=FRAME_RATE
    )
    wanted = 2 * arguments.steps * arguments.rows * arguments.seq_len
    # An utterance has more than 200 tokens.
    for item, document in enumerate(utterances(tiny, wanted // 200)):
        codes = document.tokens[document.tokens >= vocabulary.code_start]
        row = {"id": str(item), "text": sentences[item % 2], "speaker": str(item % 9)}
        writer.add(codes - vocabulary.code_start, row)
    writer.close()
    rows = ProbedRows(
        [TokenStore(folder / "store")],
        tokenizer,
        vocabulary,
        seq_len=arguments.seq_len,
        batch_size=arguments.rows,
    )
    rows.clock, rows.starts = _clock(arguments), []
    return rows


def _clock(arguments: argparse.Namespace) -> Callable[[], float]:
    return time.process_time if arguments.cpu_seconds else time.perf_counter


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
    parser = plain_parser("python -m recipes.planning.check_plan", __doc__ or "")
    parser.add_argument("presets", nargs="+", help="such as mini small")
    parser.add_argument("--steps", type=whole_number(1), default=8, help="of the measured run")
    parser.add_argument("--rows", type=whole_number(1), default=2, help="of a batch")
    parser.add_argument("--seq-len", type=whole_number(1), default=1024, help="tokens of a row")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--recompute", action="store_true", help="activation checkpointing")
    parser.add_argument("--within", type=number(0), default=0.25, help="largest error that passes")
    parser.add_argument(
        "--cpu-seconds",
        action="store_true",
        help="count seconds of the CPU: for one thread on a machine that others use, too",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

"""Generation speed beside other decoders' own, at the same weights, in one run.

Every figure is the best of a few rounds in which all contestants take turns, so that a busy
machine slows them alike; one thread is timed by the seconds of processor it uses. The ceiling is
what reading every weight once a token allows: the fastest of a sum over so many numbers and of a
matrix of that size times a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from codec.bench.memory import process_peak_memory
from codec.runtime.processes import run_in_process
from slm.engines.engine import Engine, open_engine
from slm.engines.merged_weights import Outputs, speech_outputs
from slm.model.speech_lm import SpeechLM

from .contestants import (
    OTHERS,
    clock_name,
    contestant,
    engines,
    fastest,
    names,
    prompt_tokens,
    random_lm,
)

_NEAR, _FAR = 100, 2000
_STEPS = 32  # timed together where single steps are


def bench_generation(
    size: str = "10M",
    *,
    new_tokens: int = 128,
    rounds: int = 3,
    batch_size: int = 16,
    only: Sequence[str] = (),
    memory: bool = False,
    device: str = "cpu",
) -> dict[str, Any]:
    """Tokens a second of one size, of others and ours, at batch 1 and at `batch_size`.

    Args:
        size: One of `slm.bench.contestants.SIZES`.
        new_tokens: Generated a row and round, after a prompt of 32.
        rounds: Of which the fastest counts.
        batch_size: Of the larger batch.
        only: Contestants to time; empty for all that can run here.
        memory: Also measure each contestant's peak memory, in a process of its own.
        device: Where to run.

    Returns:
        Tokens a second of each contestant, the ratios to stock, and where ours run: the ceiling,
        the share of it that is reached, and what a step at position 2000 costs over one at 100,
        each for every engine.

    Raises:
        ValueError: A size or a contestant that is not known.
    """
    lm = random_lm(size).to(device)
    chosen = list(only) or names(device)
    runs: dict[str, Callable[[], object]] = {}
    for rows in (1, batch_size):
        for name in chosen:
            if rows == 1 or name in (*OTHERS, *engines(device)) or name in only:
                runs[f"{name}_batch_{rows}"] = contestant(lm, name, rows, new_tokens)
    # One alone is timed for its memory, to which nothing else may add.
    own = [name for name in engines(device) if name in chosen and len(chosen) > 1]
    # Single steps near and far from the start show what attention costs.
    probes = {f"{name}/{n}": run for name in own for n, run in _places(lm, name, rounds).items()}
    if own:
        probes |= _reads(lm)
    clock = clock_name(device)
    seconds = fastest(runs | probes, rounds, clock)
    report: dict[str, Any] = {
        "size": size,
        "parameters": lm.num_parameters,
        "threads": torch.get_num_threads(),
        "clock": clock,
        "new_tokens": new_tokens,
    }
    report |= _rates({name: seconds[name] for name in runs}, new_tokens)
    report |= _steps(seconds, own)
    if own:
        read = 4 * _weights_read(lm)  # bytes of float32
        report["ceiling_bytes_per_second"] = read * report["ceiling_tokens_per_second"]
    if memory:
        peaks = {
            name: run_in_process(_peak_alone, size, name, new_tokens, torch.get_num_threads())
            for name in chosen
        }
        if None not in peaks.values():
            report["peak_memory_bytes"] = peaks
    report["process_peak_memory_bytes"] = process_peak_memory()
    return report


def table(report: dict[str, Any]) -> str:
    """A report as a Markdown table, one contestant and batch a row."""
    ratios, memory = report.get("times_stock", {}), report.get("peak_memory_bytes", {})
    lines = ["| contestant | batch | tokens/s | times stock | peak memory, MB |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for name, rate in report["tokens_per_second"].items():
        kind, rows = name.split("_batch_")
        ratio = f"{ratios[name]:.2f}" if name in ratios else ""
        peak = f"{memory[kind] / 1e6:.0f}" if rows == "1" and kind in memory else ""
        lines.append(f"| {kind} | {rows} | {rate:.1f} | {ratio} | {peak} |")
    for kind, share in report.get("share_of_ceiling", {}).items():
        far = report["step_at_2000_over_100"][kind]
        lines.append("")
        lines.append(
            f"A step of {kind} reaches {share:.0%} of the ceiling of "
            f"{report['ceiling_tokens_per_second']:.0f} tokens/s; at position 2000 it costs "
            f"{far:.2f} of one at 100."
        )
    return "\n".join(lines)


def _places(lm: SpeechLM, engine: str, rounds: int) -> dict[str, Callable[[], object]]:
    """Steps of one row from positions 100 and 2000 on, further on in every round."""
    outputs = speech_outputs(lm)
    token = prompt_tokens(lm, 1)[:, 0]

    def walk(place: int) -> Callable[[], object]:
        opened = open_engine(lm, 1, place + (rounds + 1) * _STEPS, engine=engine)
        with torch.no_grad():
            opened.prefill([token.expand(place)])
        return lambda: _walk(opened, token, outputs)

    return {"near": walk(_NEAR), "far": walk(_FAR)}


@torch.no_grad()
def _walk(engine: Engine, token: Tensor, outputs: Outputs) -> None:
    for _ in range(_STEPS):
        engine.logits(engine.decode(token), outputs)


def _weights_read(lm: SpeechLM) -> int:
    """Weights that a step reads: all but the embedding and the head's rows of no use."""
    vocabulary = lm.vocabulary
    return lm.num_parameters - lm.config.dim * (vocabulary.vocab_size + vocabulary.code_start - 1)


def _reads(lm: SpeechLM) -> dict[str, Callable[[], object]]:
    """Ways to read as many numbers as a step reads weights."""
    width = lm.config.dim
    device = lm.head.weight.device
    matrix = torch.randn(_weights_read(lm) // width, width, device=device)
    vector = torch.randn(width, device=device)

    def repeated(read: Callable[[], object]) -> Callable[[], object]:
        return lambda: [read() for _ in range(_STEPS)]

    return {
        "ceiling/product": repeated(lambda: torch.mv(matrix, vector)),
        "ceiling/sum": repeated(matrix.sum),
    }


def _rates(seconds: dict[str, float], new_tokens: int) -> dict[str, Any]:
    rates = {n: new_tokens * int(n.split("_batch_")[1]) / value for n, value in seconds.items()}
    stock = {name.split("_batch_")[1]: r for name, r in rates.items() if name.startswith("stock_")}
    ratios = {
        name: rate / stock[name.split("_batch_")[1]]
        for name, rate in rates.items()
        if stock and not name.startswith("stock_")
    }
    return {"tokens_per_second": rates, "times_stock": ratios}


def _steps(seconds: dict[str, float], own: Sequence[str]) -> dict[str, Any]:
    if not own:
        return {}
    ceiling = _STEPS / min(seconds["ceiling/product"], seconds["ceiling/sum"])
    steps = {name: _STEPS / seconds[f"{name}/near"] for name in own}
    return {
        "ceiling_tokens_per_second": ceiling,
        "steps_per_second": steps,
        "share_of_ceiling": {name: rate / ceiling for name, rate in steps.items()},
        "step_at_2000_over_100": {
            name: seconds[f"{name}/far"] / seconds[f"{name}/near"] for name in own
        },
    }


def _peak_alone(size: str, name: str, new_tokens: int, threads: int) -> int | None:
    """Peak resident bytes of this process after one contestant's run at batch 1.

    Of it about a quarter of a gigabyte is torch itself.
    """
    torch.set_num_threads(threads)
    options: dict[str, Any] = {"new_tokens": new_tokens, "rounds": 1, "batch_size": 1}
    return bench_generation(size, only=[name], **options)["process_peak_memory_bytes"]

"""Greedy generation: ours beside x-transformers' and transformers' own, the same weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from benchmarks.harness.benchmark import Benchmark, Call, Contestant, CostCurve, Figure
from slm.bench.contestants import contestant, engines, random_lm

MODEL = {"tiny": "1M", "small": "10M", "full": "10M"}
NEW_TOKENS = {"tiny": 4, "small": 24, "full": 128}
BATCH = {"tiny": 2, "small": 8, "full": 16}
NAMES = {
    "native": "native",
    "native int8": "native_int8",
    "native bf16": "native_bf16",
    "torch": "torch",
    "x-transformers": "stock",
    "transformers": "transformers",
}
FULL = ("full",)


def build(size: str, folder: Path) -> dict[str, Contestant]:
    """Build continuations of prompts of 32 tokens, alone and in a batch; work is new tokens."""
    lm = cache(lambda: random_lm(MODEL[size]))
    tokens, contestants = NEW_TOKENS[size], {}
    for label, rows in (("", 1), (" batch", BATCH[size])):
        for name, theirs in NAMES.items():
            make = partial(_make, lm, theirs, rows, tokens)
            contestants[name + label] = Contestant(make, rows * tokens)
    return contestants


def _make(lm: Callable[[], object], name: str, rows: int, tokens: int) -> Call:
    """A call of one contestant; ours need a compiler for their native engines."""
    if name.startswith("native") and "native" not in engines():
        raise ImportError("expected a C++ compiler for the native engine, found none")
    return contestant(lm(), name, rows, tokens)  # type: ignore[arg-type]


def build_batch(folder: Path) -> Callable[[float], Call]:
    """Build calls that make sixteen tokens for so many prompts at once."""
    lm = cache(lambda: random_lm("10M"))
    return lambda rows: contestant(lm(), engines()[-1], int(rows), 16)


def build_length(folder: Path) -> Callable[[float], Call]:
    """Build calls that make so many tokens after one prompt, each attending to all before it."""
    lm = cache(lambda: random_lm("10M"))
    return lambda tokens: contestant(lm(), engines()[-1], 1, int(tokens))


BENCHMARKS = (
    Benchmark(
        "lm.generation",
        "continue prompts of 32 tokens greedily with a 10 M model",
        "tokens",
        build,
        (
            Figure("native", "x-transformers", "one prompt, fp32, x-transformers with its cache"),
            Figure("native", "transformers", "one prompt, fp32, LlamaForCausalLM, static cache"),
            Figure("native int8", "x-transformers", "one prompt, our int8 weights", FULL),
            Figure("native bf16", "x-transformers", "one prompt, our bf16 weights", FULL),
            Figure("torch", "x-transformers", "one prompt, our steps without a compiler"),
            Figure("native batch", "x-transformers batch", "a batch of prompts, fp32"),
            Figure(
                "native batch",
                "transformers batch",
                "a batch of prompts, LlamaForCausalLM",
                ("tiny", "full"),
            ),
            Figure("torch batch", "x-transformers batch", "a batch, without a compiler", FULL),
        ),
    ),
)

CURVES = (
    CostCurve(
        "lm.generation.batch",
        "16 tokens for every prompt of a batch, 10 M model",
        "prompts",
        {"tiny": (1, 2, 3, 4), "full": (1, 2, 4, 8, 16, 32)},
        build_batch,
    ),
    CostCurve(
        "lm.generation.length",
        "continue one prompt, 10 M model",
        "tokens",
        {"tiny": (2, 4, 6, 8), "small": (8, 16, 32, 64), "full": (64, 128, 256, 512, 1024)},
        build_length,
    ),
)

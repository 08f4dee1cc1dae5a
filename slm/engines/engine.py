"""The protocol of inference engines, and the choice of one for a model and a machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from slm.model.speech_lm import SpeechLM

from .calibration import faster_engine
from .cuda_graphs import GraphEngine
from .merged import MergedDecoder, MergedEngine, cached_decoder
from .merged_weights import Outputs, fits
from .native import NativeDecoder, NativeEngine, can_run
from .native_build import is_available
from .reference import CachedEngine, UncachedEngine


class Engine(Protocol):
    """The decoder with a cache of rows; the results of a row depend on its own tokens alone.

    Hidden states are those after the last token read of each row, (B, D), for `logits` and nothing
    else: some engines keep the last norm's gain in the head.
    """

    def prefill(self, prompts: Sequence[Tensor]) -> Tensor:
        """Read prompts (S,) as new rows after those held; hidden states of the new rows."""
        ...

    def decode(self, tokens: Tensor) -> Tensor:
        """Read one more token of every row, (B,) int64; hidden states."""
        ...

    def extend(self, pending: Sequence[Sequence[int]]) -> Tensor:
        """Read tokens of every row; hidden states, which mean nothing for a row that reads none.

        At least one row reads one.
        """
        ...

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows alone, in this order; one that is named twice becomes two rows."""
        ...

    def logits(self, hidden: Tensor, outputs: Outputs) -> Tensor:
        """Logits (B, N) float32 of the tokens of `outputs`, from hidden states of some rows."""
        ...


def open_engine(
    lm: SpeechLM,
    rows: int,
    longest: int,
    *,
    engine: str = "auto",
    weights: str = "exact",
    use_cache: bool = True,
) -> Engine:
    """Open an engine without rows.

    Args:
        lm: In eval mode.
        rows: Most rows at a time.
        longest: Most tokens of a row.
        engine: "auto", "native", "graphs" or "torch"; see `GenerationSettings`.
        weights: "exact", "bf16" or "int8".
        use_cache: Keep keys and values between steps.

    Raises:
        ValueError: Rounded weights or an engine that this model or machine does not have.
    """
    if not use_cache:
        return UncachedEngine(lm)
    # Merged weights are of the blocks of `slm.model` alone; others run through the model itself.
    if not fits(lm):
        if weights != "exact" or engine not in ("auto", "torch"):
            raise ValueError(
                "expected exact weights and engine auto or torch for a decoder of other parts than "
                f"slm.model's, got {weights!r} and {engine!r}"
            )
        return CachedEngine(lm, longest)
    # By the device, and where two engines could run, by what was timed.
    if engine == "auto":
        engine = best_engine(lm, rows, weights)
    if engine == "native":
        return NativeEngine(cached_decoder(lm, weights, NativeDecoder), rows, longest)
    kind = GraphEngine if engine == "graphs" else MergedEngine
    return kind(cached_decoder(lm, weights, MergedDecoder), rows, longest)


def best_engine(lm: SpeechLM, rows: int = 1, weights: str = "exact") -> str:
    """Name the fastest engine that a model has on this machine for so many rows at a time."""
    if lm.head.weight.device.type == "cuda":
        return "graphs"
    # No compiler, or a model with parts that the compiled decoder lacks.
    if not (can_run(lm) and is_available()):
        return "torch"
    return faster_engine(lm.config, rows, weights)

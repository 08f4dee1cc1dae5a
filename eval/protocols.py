"""What the evaluation asks of metrics, recognisers and models; no implementation lives here."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

Need = Literal["reference", "estimate", "text"]


class MetricError(ValueError):
    """An item cannot be scored; the message is the reason that is stored beside it."""


@dataclass(frozen=True)
class FigureInfo:
    """One number a metric gives for an item.

    Args:
        name: Key in the values of a score, such as "stoi".
        unit: "" for a plain number, "%" for a fraction shown in per cent, else "ms", "cents", ...
        higher_is_better: None where neither direction is better.
        numerator: Key of the stored count above the fraction; with `denominator` it makes the
            headline a pooled rate (sum / sum) instead of the mean over items.
        denominator: Key of the stored count below the fraction.
    """

    name: str
    unit: str = ""
    higher_is_better: bool | None = None
    numerator: str | None = None
    denominator: str | None = None


@dataclass(frozen=True)
class MetricInfo:
    """Identity of a metric; a change of definition or of back end is a new id.

    Args:
        id: Name, back end and its version, such as "pitch.swift03". Also a file name.
        definition: One sentence that says what is computed, in which order and on what.
        needs: Parts of an item that must be there.
        figures: Numbers that are summarised; other values of a score are only stored.
        sample_rate: Rate in Hz at which it is computed, None for the rate of the item.
        packages: (distribution, version prefix) pairs the definition is tied to.
    """

    id: str
    definition: str
    needs: frozenset[Need]
    figures: tuple[FigureInfo, ...]
    sample_rate: int | None = None
    packages: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Item:
    """What one metric sees of one utterance; parts the metric does not need may be None.

    Args:
        id: Unique name of the utterance.
        reference: Recording, (T,) float in [-1, 1].
        estimate: Waveform under test, (T,) float in [-1, 1].
        sample_rate: Rate in Hz of both waveforms.
        text: Transcript as published; "" when there is none.
    """

    id: str
    reference: np.ndarray | None
    estimate: np.ndarray | None
    sample_rate: int
    text: str = ""


@dataclass(frozen=True)
class Score:
    """Result of a metric on one item.

    Args:
        values: Figures and counts; None marks a figure that is undefined for this item (such as
            the pitch error of a clip without a voiced frame), which the summary counts.
        details: Text worth keeping, such as what a recogniser heard.
    """

    values: dict[str, float | None]
    details: dict[str, str] = field(default_factory=dict)


@runtime_checkable
class Metric(Protocol):
    """A named score of one item. Instances are sent to worker processes before `prepare`."""

    @property
    def info(self) -> MetricInfo:
        """Identity and definition, available without loading anything."""
        ...

    def prepare(self) -> None:
        """Imports and loads what `score` needs; called once in each process."""
        ...

    def score(self, item: Item) -> Score:
        """Scores one item.

        Raises:
            MetricError: The item cannot be scored (silence, NaN, too short, no transcript, ...).
        """
        ...


@runtime_checkable
class Recognizer(Protocol):
    """Speech recogniser: waveform to words."""

    @property
    def id(self) -> str:
        """Back end, version and every setting that moves the words, as part of a metric id."""
        ...

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> str:
        """Words heard in a waveform (T,), float in [-1, 1] at `sample_rate` Hz; may be ""."""
        ...


@runtime_checkable
class Codec(Protocol):
    """Waveform to integer codes and back; arrays or tensors, B batch, T samples, L frames."""

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        ...

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        ...

    @property
    def codebook_size(self) -> int:
        """Entries in a codebook."""
        ...

    def encode(self, waveform: Any, lengths: Any = None) -> tuple[Any, Any]:
        """Waveform (B, T) and lengths (B,) to codes (B, L) and their lengths (B,)."""
        ...

    def decode(self, codes: Any, code_lengths: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        """Codes (B, L) to waveform (B, T) and lengths (B,)."""
        ...


@runtime_checkable
class LanguageModel(Protocol):
    """Autoregressive model over tokens."""

    def log_likelihood(self, tokens: Any) -> Any:
        """Tokens (S,) int64 to the log-likelihood of each but the first, (S - 1,), in nats."""
        ...

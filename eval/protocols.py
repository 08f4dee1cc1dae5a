"""Protocols and records of the evaluation: metrics, recognisers, tokenizers and what they exchange.

No implementation lives here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

Part = Literal["estimate", "reference"]
Need = Literal["reference", "estimate", "text", "prompt"]


class MetricError(ValueError):
    """An item cannot be scored; the message is the reason that is stored beside it."""


@dataclass(frozen=True)
class FigureInfo:
    """One number a metric gives for an item."""

    name: str  # key in the values of a score, such as "stoi"
    unit: str = ""  # "" for a plain number, "%" for a fraction shown in per cent, else "ms", ...
    higher_is_better: bool | None = None  # None where neither direction is better
    # Keys of the stored counts above and below the fraction: with them the headline is a pooled
    # rate (sum / sum) instead of the mean over items.
    numerator: str | None = None
    denominator: str | None = None


@dataclass(frozen=True)
class WeightSpec:
    """A file or folder of weights that no code here downloads."""

    name: str  # key of `--weight name=path`, such as "utmos22_strong"
    licence: str  # as published
    how_to_get: str  # instruction for a person
    sha256: str | None = None  # of the file; None takes any and writes it into the run
    is_folder: bool = False  # such as a model saved by transformers
    # (package, file or folder) where an installed package holds it
    bundled: tuple[str, str] | None = None
    files: tuple[str, ...] = ()  # that a folder must hold

    @property
    def variable(self) -> str:
        """Environment variable that names its path, such as HH_WEIGHT_UTMOS22_STRONG."""
        return f"HH_WEIGHT_{self.name.upper()}"


@dataclass(frozen=True)
class MetricInfo:
    """Identity of a metric; a change of definition or of back end is a new id."""

    id: str  # name, back end and its version, such as "pitch.swift03"; also a file name
    definition: str  # one sentence: the computation, its order and its inputs
    needs: frozenset[Need]  # parts of an item that must be there
    figures: tuple[FigureInfo, ...]  # summarised; other values of a score are only stored
    sample_rate: int | None = None  # Hz at which it is computed; None for that of the item
    packages: tuple[tuple[str, str], ...] = ()  # (distribution, version prefix) it is tied to
    weights: tuple[WeightSpec, ...] = ()  # must be found before a run starts
    install_note: str = ""  # what to know before its packages are installed
    alternative: str = ""  # family name of a metric that runs offline and measures something alike
    is_large: bool = False  # holds a large model, so it is scored by itself, after the others


@dataclass(frozen=True)
class Item:
    """Input of a metric for one utterance; parts the metric does not need may be None."""

    id: str  # unique name of the utterance
    reference: np.ndarray | None  # recording, (T,) float in [-1, 1]
    estimate: np.ndarray | None  # waveform under test, (T,) float in [-1, 1]
    sample_rate: int  # of all waveforms, Hz
    text: str = ""  # transcript as published; "" when there is none
    prompt: np.ndarray | None = None  # recording of the voice to speak in, (T,) float in [-1, 1]
    # What metrics that score this item in turn have computed for each other, such as the lag;
    # never part of a result.
    shared: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Score:
    """Result of a metric on one item."""

    # Figures and counts; None marks a figure that is undefined for this item (such as the pitch
    # error of a clip without a voiced frame), which the summary counts.
    values: dict[str, float | None]
    details: dict[str, str] = field(default_factory=dict)  # text to show, such as a transcript
    # Text kept in the row for figures of the whole corpus and shown nowhere.
    stored: dict[str, str] = field(default_factory=dict)


@runtime_checkable
class Metric(Protocol):
    """A named score of one item. Instances are sent to worker processes before `prepare`."""

    @property
    def info(self) -> MetricInfo:
        """Identity and definition, available without loading anything."""
        ...

    def prepare(self) -> None:
        """Import and load what `score` needs; called once in each process."""

    def score(self, item: Item) -> Score:
        """Score one item.

        Raises:
            MetricError: The item cannot be scored (silence, NaN, too short, no transcript, ...).
        """
        ...


@runtime_checkable
class BatchMetric(Metric, Protocol):
    """A metric that may score several items at once, with the scores that each has alone."""

    @property
    def batch_size(self) -> int:
        """Items at once, at most; 1 where several are not faster."""
        ...

    def score_many(self, items: Sequence[Item]) -> list[Score | MetricError]:
        """Score items in their order; an error stands for one that cannot be scored."""
        ...


@dataclass(frozen=True)
class ScoredItem:
    """An item that a metric has scored, as an input of a `CorpusMetric`."""

    id: str
    speaker: str  # "" where it is not known
    score: Score


@runtime_checkable
class CorpusMetric(Metric, Protocol):
    """A metric with figures of a whole corpus, such as the similarity of its speakers."""

    def corpus(self, items: Sequence[ScoredItem]) -> dict[str, Any]:
        """Compute figures of all scored items, as JSON; deterministic for one order of items.

        It works on what rows hold, so that a resumed run gives what a whole one does, and may
        be called without `prepare`.
        """
        ...


@runtime_checkable
class RecordMetric(Metric, Protocol):
    """A metric that reads more of an item than its waveforms and its text."""

    def record_digest(self, item_id: str) -> str:
        """Hash what it reads beside the item, as hex digits; "" for nothing.

        A row of another digest is scored again.
        """
        ...


@runtime_checkable
class Recognizer(Protocol):
    """Speech recogniser: waveform to words."""

    @property
    def id(self) -> str:
        """Back end, version and every setting that changes the words, as part of a metric id."""
        ...

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> str:
        """Transcribe a waveform (T,), float in [-1, 1] at `sample_rate` Hz; may give ""."""
        ...


@dataclass(frozen=True)
class Transcript:
    """Words of a waveform, with what a recogniser tells beside them.

    A `Recognizer` that has a method `transcribe_in_detail` returns it there, from the arguments of
    `transcribe`; the details are shown beside the words. One that has `transcribe_many` takes
    several waveforms there and returns a transcript of each, `batch_size` windows at once.
    """

    text: str
    details: dict[str, str] = field(default_factory=dict)


@runtime_checkable
class Tokenizer(Protocol):
    """Waveform to K parallel streams of codes and back, for a language model to be trained on."""

    name: str  # for tables
    sample_rate: int  # of input and output, Hz
    frame_rate: float  # frames per second, Hz
    num_codebooks: int  # K, codes in a frame
    codebook_size: int  # entries in each codebook
    tokens_per_second: float  # frame_rate * num_codebooks

    @property
    def fingerprint(self) -> str:
        """Digest of weights and settings; codes of another fingerprint are other codes."""
        ...

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Encode a waveform (T,) float in [-1, 1] to codes (K, L) int64."""
        ...

    def decode(self, codes: np.ndarray, num_samples: int) -> np.ndarray:
        """Decode codes (K, L) to a waveform (num_samples,) float32."""
        ...


@dataclass(frozen=True)
class Recoded:
    """Waveform after coding and decoding, and the size of the coded form."""

    waveform: np.ndarray  # (T,) float32, as long as the input
    bits: int | None  # of the coded form; None where there is none (the original, a filter)
    # (K, L) int64, each below the size of its codebook; None for coders without codebooks.
    codes: np.ndarray | None = None


@runtime_checkable
class Recoder(Protocol):
    """Waveform to a coded form and back."""

    name: str  # for tables and folders
    # Nominal bit/s; None where there is no coded form. The measured one is in `Recoded`.
    bitrate: float | None

    def recode(self, waveform: np.ndarray, sample_rate: int) -> Recoded:
        """Code and decode a waveform (T,) float in [-1, 1] at `sample_rate` Hz."""
        ...

"""Word and character error rates of a recogniser's transcript of a waveform."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codec.checks import one_of
from eval.protocols import (
    FigureInfo,
    Item,
    Metric,
    MetricError,
    MetricInfo,
    Part,
    Recognizer,
    Score,
    ScoredItem,
    Transcript,
)
from eval.sound import checked_part

from .normalizers import NORMALIZER_IDS, NORMALIZER_PACKAGES, NORMALIZERS, normalize_text

# Seconds; a spoken digit may last no more than a quarter of a second.
SHORTEST_WORD = 0.15


@dataclass(frozen=True)
class EditCounts:
    """Edits that turn a reference into a hypothesis, over words or characters."""

    substitutions: int
    deletions: int  # units of the reference that are missing
    insertions: int  # units that the reference does not have
    reference_length: int  # units of the reference, at least 1

    @property
    def errors(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Share `errors / reference_length`; above 1 when much was inserted. Lower is better."""
        return self.errors / self.reference_length


def word_edits(transcript: str, hypothesis: str, *, normalizer: str = "basic") -> EditCounts:
    """Count word edits after normalising both; an empty hypothesis deletes every word.

    Raises:
        MetricError: The transcript has no word after normalising: a rate would divide by zero.
    """
    from jiwer import process_words

    return _edits(process_words, transcript, hypothesis, normalizer)


def character_edits(transcript: str, hypothesis: str, *, normalizer: str = "basic") -> EditCounts:
    """Count character edits after normalising both, the spaces between words included.

    Raises:
        MetricError: As `word_edits`.
    """
    from jiwer import process_characters

    return _edits(process_characters, transcript, hypothesis, normalizer)


def _edits(
    process: Callable[[str, str], Any], transcript: str, hypothesis: str, normalizer: str
) -> EditCounts:
    """Edits by one of jiwer's functions after normalising both texts."""
    reference = normalize_text(transcript, normalizer)
    if not reference:
        raise MetricError(f"the reference text has no word after normalising: {transcript!r:.60}")
    out = process(reference, normalize_text(hypothesis, normalizer))
    # jiwer's own rate is not kept: pooling needs the counts.
    length = out.hits + out.substitutions + out.deletions
    return EditCounts(out.substitutions, out.deletions, out.insertions, length)


@dataclass(frozen=True)
class WerMetric(Metric):
    """WER and CER of one waveform of an item against its text.

    Args:
        recognizer: Transcribes the waveform.
        part: "estimate" for the waveform under test; "reference" for the recording, whose rate
            is the floor that belongs beside every other.
        normalizer: Name in `NORMALIZERS`.
        family: Begins the id; "_original" is added for the recording.

    Raises:
        ValueError: Unknown normaliser.
    """

    recognizer: Recognizer
    part: Part = "estimate"
    normalizer: str = "basic"
    family: str = "wer"

    def __post_init__(self) -> None:
        one_of("normalizer", self.normalizer, sorted(NORMALIZERS))

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        name = self.family if self.part == "estimate" else f"{self.family}_original"
        rules = NORMALIZER_IDS.get(self.normalizer, self.normalizer)
        return MetricInfo(
            id=f"{name}.{self.recognizer.id}.{rules}",
            definition=f"word and character edits of {self.recognizer.id} on the {self.part} "
            f"against the text, both normalised by '{rules}'; headline pooled over "
            "items, mean over items beside it",
            needs=frozenset({self.part, "text"}),
            figures=(
                FigureInfo("wer", "%", False, "word_errors", "reference_words"),
                FigureInfo("cer", "%", False, "character_errors", "reference_characters"),
            ),
            packages=(
                ("jiwer", "4."),
                *getattr(self.recognizer, "packages", ()),
                *NORMALIZER_PACKAGES.get(self.normalizer, ()),
            ),
            weights=getattr(self.recognizer, "weights", ()),
            alternative=getattr(self.recognizer, "alternative", ""),
            is_large=True,
        )

    def prepare(self) -> None:
        """Load the recogniser where it has something to load."""
        getattr(self.recognizer, "prepare", lambda: None)()

    @property
    def batch_size(self) -> int:
        """Items that the recogniser takes at once; see `BatchMetric`."""
        has_batches = hasattr(self.recognizer, "transcribe_many")
        return getattr(self.recognizer, "batch_size", 1) if has_batches else 1

    def score(self, item: Item) -> Score:
        """Rates, the edit counts behind them, and the transcript; see `Metric`."""
        samples = self._samples(item)
        in_detail = getattr(self.recognizer, "transcribe_in_detail", None)
        if in_detail is None:
            return self._scored(
                item, Transcript(self.recognizer.transcribe(samples, item.sample_rate))
            )
        return self._scored(item, in_detail(samples, item.sample_rate))

    def score_many(self, items: Sequence[Item]) -> list[Score | MetricError]:
        """Score items together, those of one sample rate at once; see `BatchMetric`."""
        found: dict[int, Score | MetricError] = {}
        by_rate: dict[int, list[tuple[int, np.ndarray]]] = {}
        for place, item in enumerate(items):
            try:
                by_rate.setdefault(item.sample_rate, []).append((place, self._samples(item)))
            except MetricError as error:
                found[place] = error
        for rate, placed in by_rate.items():
            recognizer: Any = self.recognizer
            transcripts = recognizer.transcribe_many([samples for _, samples in placed], rate)
            for (place, _), transcript in zip(placed, transcripts, strict=True):
                found[place] = self._scored(items[place], transcript)
        return [found[place] for place in range(len(items))]

    def corpus(self, items: Sequence[ScoredItem]) -> dict[str, Any]:
        """Count the items of which the recogniser may have invented words; {} if it tells none."""
        told = [item.score.details for item in items if "windows" in item.score.details]
        if not told:
            return {}
        return {"possibly_invented": sum("possibly invented" in each for each in told)}

    def _samples(self, item: Item) -> np.ndarray:
        """The waveform to recognise; refuses an item without a text, as recognition takes long."""
        if not normalize_text(item.text, self.normalizer):
            raise MetricError("the item has no reference text")
        return checked_part(item, self.part, min_duration=SHORTEST_WORD)

    def _scored(self, item: Item, found: Transcript) -> Score:
        """Score of an item's transcript."""
        words = word_edits(item.text, found.text, normalizer=self.normalizer)
        characters = character_edits(item.text, found.text, normalizer=self.normalizer)
        values: dict[str, float | None] = {
            "wer": words.rate,
            "cer": characters.rate,
            "word_errors": words.errors,
            "word_substitutions": words.substitutions,
            "word_deletions": words.deletions,
            "word_insertions": words.insertions,
            "reference_words": words.reference_length,
            "character_errors": characters.errors,
            "reference_characters": characters.reference_length,
        }
        return Score(values, {"heard": found.text, **found.details})

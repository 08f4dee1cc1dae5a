"""Word and character error rates of what a recogniser hears in a waveform."""

import re
import string
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Literal

from eval.protocols import FigureInfo, Item, MetricError, MetricInfo, Need, Recognizer, Score
from eval.sound import checked

Part = Literal["estimate", "reference"]
# Seconds; a spoken digit may last no more than a quarter of a second.
SHORTEST_WORD = 0.15
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})


def _basic(text: str) -> str:
    """Lower case; every mark but the apostrophe within a word becomes a space."""
    folded = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).lower()
    letters = "".join(c if c.isalnum() or c == "'" else " " for c in folded)
    return " ".join(re.sub(r"(?<![^\W_])'|'(?![^\W_])", " ", letters).split())


def _words_joined(text: str) -> str:
    """As `basic`, but hyphens and other marks are deleted, so "well-known" is one word."""
    folded = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).lower()
    return " ".join("".join(c for c in folded if c.isalnum() or c in "' ").split())


_ASCII_MARKS = str.maketrans("", "", string.punctuation.replace("'", ""))


def _seedtts(text: str) -> str:
    """As the seed-tts-eval protocol for English: marks deleted but ', lower case, no numbers."""
    return " ".join(text.translate(_ASCII_MARKS).lower().split())


def _whisper_english(text: str) -> str:
    """As the Whisper paper for English: numbers, contractions and spellings made alike."""
    return _whisper_normalizer()(text)


@lru_cache(maxsize=1)
def _whisper_normalizer() -> Callable[[str], str]:
    """The published rules, out of the package whisper-normalizer."""
    return import_module("whisper_normalizer.english").EnglishTextNormalizer()


NORMALIZERS: dict[str, Callable[[str], str]] = {
    "basic": _basic,
    "joined": _words_joined,
    "seedtts": _seedtts,
    "whisper_en": _whisper_english,
}
# (distribution, version prefix) pairs that a normaliser needs.
NORMALIZER_PACKAGES = {"whisper_en": (("whisper-normalizer", "0.1."),)}


def normalize_text(text: str, normalizer: str = "basic") -> str:
    """Text as it is compared, words parted by single spaces.

    Args:
        text: Any text, as published or as recognised.
        normalizer: "basic" (hyphens part words), "joined" (hyphens are deleted), "seedtts" (that
            of seed-tts-eval) or "whisper_en" (that of Whisper; needs whisper-normalizer). Only the
            last makes numbers alike. The name is part of a WER's id: it moves the number.

    Raises:
        ValueError: Unknown normaliser.
    """
    if normalizer not in NORMALIZERS:
        raise ValueError(f"expected a normalizer of {sorted(NORMALIZERS)}, got {normalizer!r}")
    return NORMALIZERS[normalizer](text)


@dataclass(frozen=True)
class EditCounts:
    """Edits that turn a reference into a hypothesis, over words or characters.

    Args:
        substitutions: Units replaced.
        deletions: Units of the reference that are missing.
        insertions: Units the reference does not have.
        reference_length: Units of the reference, at least 1.
    """

    substitutions: int
    deletions: int
    insertions: int
    reference_length: int

    @property
    def errors(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Share `errors / reference_length`; above 1 when much was inserted. Lower is better."""
        return self.errors / self.reference_length


def word_edits(transcript: str, hypothesis: str, *, normalizer: str = "basic") -> EditCounts:
    """Word edits after normalising both; an empty hypothesis deletes every word.

    Raises:
        MetricError: The transcript has no word after normalising: a rate would divide by zero.
    """
    from jiwer import process_words

    reference, heard = _checked_texts(transcript, hypothesis, normalizer)
    out = process_words(reference, heard)
    length = out.hits + out.substitutions + out.deletions
    return EditCounts(out.substitutions, out.deletions, out.insertions, length)


def character_edits(transcript: str, hypothesis: str, *, normalizer: str = "basic") -> EditCounts:
    """Character edits after normalising both, the spaces between words included.

    Raises:
        MetricError: As `word_edits`.
    """
    from jiwer import process_characters

    reference, heard = _checked_texts(transcript, hypothesis, normalizer)
    out = process_characters(reference, heard)
    length = out.hits + out.substitutions + out.deletions
    return EditCounts(out.substitutions, out.deletions, out.insertions, length)


def _checked_texts(transcript: str, hypothesis: str, normalizer: str) -> tuple[str, str]:
    """Both texts normalised."""
    reference = normalize_text(transcript, normalizer)
    if not reference:
        raise MetricError(f"the reference text has no word after normalising: {transcript!r:.60}")
    return reference, normalize_text(hypothesis, normalizer)


@dataclass(frozen=True)
class WerMetric:
    """WER and CER of one waveform of an item against its text.

    Args:
        recognizer: Hears the words.
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
        """Checks the normaliser before anything is heard."""
        if self.normalizer not in NORMALIZERS:
            known = sorted(NORMALIZERS)
            raise ValueError(f"expected a normalizer of {known}, got {self.normalizer!r}")

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        name = self.family if self.part == "estimate" else f"{self.family}_original"
        needs: frozenset[Need] = frozenset({self.part, "text"})
        return MetricInfo(
            id=f"{name}.{self.recognizer.id}.{self.normalizer}",
            definition=f"word and character edits of {self.recognizer.id} on the {self.part} "
            f"against the text, both normalised by '{self.normalizer}'; headline pooled over "
            "items, mean over items beside it",
            needs=needs,
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
        """Loads the recogniser where it has something to load."""
        getattr(self.recognizer, "prepare", lambda: None)()

    def score(self, item: Item) -> Score:
        """Rates, the edit counts behind them, and the words heard; see `Metric`."""
        waveform = item.estimate if self.part == "estimate" else item.reference
        if waveform is None:
            raise MetricError(f"expected a waveform as {self.part}, got none")
        if not normalize_text(item.text, self.normalizer):
            raise MetricError("the item has no reference text")
        samples = checked(waveform, item.sample_rate, self.part, min_duration=SHORTEST_WORD)
        heard = self.recognizer.transcribe(samples, item.sample_rate)
        words = word_edits(item.text, heard, normalizer=self.normalizer)
        characters = character_edits(item.text, heard, normalizer=self.normalizer)
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
        return Score(values, {"heard": heard})

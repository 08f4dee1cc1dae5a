"""Word and character error rates of a recogniser's transcript of a waveform."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
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
    Transcript,
)
from eval.sound import checked_part

# Seconds; a spoken digit may last no more than a quarter of a second.
SHORTEST_WORD = 0.15
# What seed-tts-eval deletes: ASCII marks but the apostrophe, and the marks of Chinese typography
# that the package zhon lists, among them the dashes, quotes and ellipsis of English.
_CHINESE_MARKS = (
    *range(0xFF01, 0xFF10),  # full-width ASCII
    *range(0xFF1A, 0xFF21),
    *range(0xFF3B, 0xFF41),
    *range(0xFF5B, 0xFF65),
    *(0x3000, 0x3001, 0x3002, 0x3003),
    *range(0x3008, 0x3012),  # brackets
    *range(0x3014, 0x3020),
    *(0x3030, 0x303E, 0x303F),
    *(0x2013, 0x2014),  # dashes
    *(0x2018, 0x2019, 0x201B, 0x201C, 0x201D, 0x201E, 0x201F),  # quotes
    *(0x2026, 0x2027, 0xFE4F, 0xFE51, 0xFE54, 0x00B7),
)
_FULL_STOP = 0xFF0E  # full width; not in the list
_SEEDTTS_MARKS = {
    code: None
    for code in (*map(ord, string.punctuation), *_CHINESE_MARKS)
    if code not in (ord("'"), _FULL_STOP)
}
# Zero-width joiners change how letters are drawn, not which word they spell.
_JOINERS = "\u200c\u200d"
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})


def _folded(text: str) -> str:
    """Lower case, one kind of apostrophe and one form of every letter."""
    return unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).lower()


def _spelled(text: str, kept: str, other: str) -> str:
    """Keep letters, digits, the vowel signs and accents after them, and `kept`; replace the rest.

    Signs of Indic and Thai vowels are no letters to Unicode, but part of words all the same.
    """
    found: list[str] = []
    in_word = False
    for character in text:
        if character in _JOINERS:
            continue
        in_word = character.isalnum() or (in_word and _is_sign(character))
        found.append(character if in_word or character in kept else other)
    return "".join(found)


def _is_sign(character: str) -> bool:
    """True if a character is a mark that combines with a letter; variation selectors are not."""
    is_selector = "\ufe00" <= character <= "\ufe0f"
    return unicodedata.category(character) in ("Mn", "Mc") and not is_selector


def _basic(text: str) -> str:
    """Lower case; every mark but the apostrophe within a word becomes a space."""
    letters = _spelled(_folded(text), "'", " ")
    # Apostrophes must have something of a word at either side.
    return " ".join(re.sub(r"(?<![^\s'])'|'(?![^\s'])", " ", letters).split())


def _words_joined(text: str) -> str:
    """As `basic`, but hyphens and other marks are deleted, so "well-known" is one word."""
    return " ".join(_spelled(_folded(text), "' ", "").split())


def _seedtts(text: str) -> str:
    """As the seed-tts-eval protocol for English: marks deleted but ', lower case, no numbers.

    The typographic apostrophe is deleted, too: "don\u2019t" becomes "dont".
    """
    return " ".join(text.translate(_SEEDTTS_MARKS).lower().split())


@lru_cache(maxsize=1)
def _whisper_rules() -> Callable[[str], str]:
    """Load the published rules from the package whisper-normalizer."""
    return import_module("whisper_normalizer.english").EnglishTextNormalizer()


NORMALIZERS: dict[str, Callable[[str], str]] = {
    "basic": _basic,
    "joined": _words_joined,
    "seedtts": _seedtts,
    # as the Whisper paper for English: numbers, contractions and spellings made alike
    "whisper_en": lambda text: _whisper_rules()(text),
}
# Names in ids where a definition changed: `seedtts` kept typographic marks before.
NORMALIZER_IDS = {"seedtts": "seedtts2"}
# (distribution, version prefix) pairs that a normaliser needs.
NORMALIZER_PACKAGES = {"whisper_en": (("whisper-normalizer", "0.1."),)}


def normalize_text(text: str, normalizer: str = "basic") -> str:
    """Normalize a text for comparison, words parted by single spaces.

    Args:
        text: Any text, as published or as recognised.
        normalizer: "basic" (hyphens part words), "joined" (hyphens are deleted), "seedtts" (that
            of seed-tts-eval) or "whisper_en" (that of Whisper; needs whisper-normalizer). Only the
            last makes numbers alike. The name is part of a WER's id: it changes the number.

    Raises:
        ValueError: Unknown normaliser.
    """
    one_of("normalizer", normalizer, sorted(NORMALIZERS))
    return NORMALIZERS[normalizer](text)


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

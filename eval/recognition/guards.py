"""What is found in a window by Whisper, and what tells of words that it may have invented."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from eval.protocols import Transcript

from .windows import Window, joined_transcripts

# Published thresholds: beyond them a window's words may be the model's own.
NO_SPEECH = 0.6
COMPRESSION = 2.4


@dataclass(frozen=True)
class RecognizedWindow:
    """What was found in a window."""

    words: str
    no_speech: float | None  # probability; None from a model without the token
    language: str
    looped: bool = False  # whether the words are those of a second search


def compression_ratio(text: str) -> float:
    """Bytes of a text over those of its zlib form; repeated words compress well."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def is_loop(text: str) -> bool:
    """Tell whether a transcript compresses beyond the published threshold."""
    return bool(text) and compression_ratio(text) > COMPRESSION


def joined_windows(windows: Sequence[Window], found: Sequence[RecognizedWindow]) -> Transcript:
    """Join what was found in the windows of one waveform, with their guards as text."""
    text, unjoined = joined_transcripts(windows, [row.words for row in found])
    details = {"windows": str(len(windows))}
    silent = [row.no_speech for row in found if row.no_speech is not None]
    suspect = sum(
        row.looped or is_loop(row.words) or (bool(row.words) and (row.no_speech or 0.0) > NO_SPEECH)
        for row in found
    )
    if silent:
        details["no-speech probability"] = f"{max(silent):.3f}"
    if found:
        details["compression ratio"] = f"{max(compression_ratio(row.words) for row in found):.2f}"
    if looped := sum(row.looped for row in found):
        details["loops searched again"] = f"{looped} of {len(windows)} windows"
    if suspect:
        details["possibly invented"] = f"{suspect} of {len(windows)} windows"
    if unjoined:
        details["joins without shared words"] = str(unjoined)
    if found:
        details["language"] = ", ".join(Counter(row.language for row in found))
    return Transcript(text, details)

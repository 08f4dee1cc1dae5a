"""Windows of long recordings for a recogniser of at most 30 s, and the joining of their words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

LONGEST = 30.0  # seconds, the length of Whisper's input
EARLIEST = 20.0  # seconds after which a window may end in a pause
SHORTEST = 5.0  # seconds left for the last window: recognisers invent words in shorter scraps
OVERLAP = 5.0  # seconds that two windows share where there is no pause to cut in
PAUSE = 0.2  # seconds
PAUSE_LEVEL = 0.1  # of a window's loud frames (90th percentile of RMS): 20 dB below
_FRAME = 0.02  # seconds


@dataclass(frozen=True)
class Window:
    """A part of a signal, in samples."""

    start: int
    end: int
    is_shared: bool  # whether its end overlaps the next window, for want of a pause


def cut_windows(signal: np.ndarray, sample_rate: int) -> list[Window]:
    """Cut a signal (T,) into windows of at most 30 s that no word crosses.

    A window ends in the quietest 0.2 s of its last 10 s where those are a pause, else it overlaps
    the next one by 5 s. No window is shorter than 5 s but that of a shorter signal.
    """
    longest, earliest, shortest, overlap = (
        round(seconds * sample_rate) for seconds in (LONGEST, EARLIEST, SHORTEST, OVERLAP)
    )
    windows, start = [], 0
    while signal.size - start > longest:
        # The end leaves enough for a last window.
        last = min(longest, signal.size - start - shortest)
        pause = _pause(signal[start : start + last], earliest, sample_rate)
        end = start + (last if pause is None else pause)
        windows.append(Window(start, end, pause is None))
        start = end - overlap if pause is None else end
    return [*windows, Window(start, signal.size, False)] if signal.size else []


def _pause(signal: np.ndarray, earliest: int, sample_rate: int) -> int | None:
    """Middle of the quietest 0.2 s from a sample on; None where that is no pause."""
    frame = round(_FRAME * sample_rate)
    count, width = signal.size // frame, round(PAUSE / _FRAME)
    power = np.square(signal[: count * frame], dtype=np.float64).reshape(count, frame).mean(axis=1)
    # (count - width + 1,): mean power of `width` frames in a row.
    smooth = np.convolve(power, np.full(width, 1.0 / width), mode="valid")
    first = -(-earliest // frame)
    # The middle one of equals, such as those of a digital silence.
    equals = first + np.flatnonzero(smooth[first:] == smooth[first:].min())
    quietest = int(equals[equals.size // 2])
    if smooth[quietest] > PAUSE_LEVEL**2 * np.quantile(power, 0.9):
        return None
    return (quietest + width // 2) * frame


def joined_transcripts(windows: Sequence[Window], texts: Sequence[str]) -> tuple[str, int]:
    """Join the texts of windows in order.

    Texts of windows that overlap are joined in the middle of their longest common run of words, of
    two words or more; a word that the edge of a window cut lies outside it.

    Returns:
        The text, and the count of overlaps without such a run, whose words may be there twice.
    """
    words: list[str] = []
    unjoined, is_shared = 0, False
    for window, text in zip(windows, texts, strict=True):
        new = text.split()
        if is_shared and words and new:
            joined = _joined(words, new)
            unjoined += joined is None
            words = [*words, *new] if joined is None else joined
        else:
            words += new
        is_shared = window.is_shared
    return " ".join(words), unjoined


def _joined(before: list[str], after: list[str], reach: int = 40) -> list[str] | None:
    """Join two lists of words at what the end of one shares with the start of the other."""
    tail, head = before[-reach:], after[:reach]
    plain = [["".join(c for c in w.lower() if c.isalnum()) for w in ws] for ws in (tail, head)]
    match = SequenceMatcher(None, *plain, autojunk=False).find_longest_match()
    if match.size < 2:
        return None
    kept = len(before) - len(tail) + match.a + match.size
    return [*before[:kept], *after[match.b + match.size :]]

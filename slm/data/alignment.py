"""Phone alignments of utterances: times of the phones, and how many codes each lasts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from codec.error_text import reason_of
from codec.files.json_lines import read_json_lines, write_json_lines
from slm.text.phone_tokenizer import (
    MAX_DURATION,
    PAUSE,
    PAUSE_ID,
    is_word_start,
    word_units,
    words_and_pauses,
)


class Unit(NamedTuple):
    """A phone or a pause of an utterance: id as in `PhoneTokenizer`, start and end in seconds."""

    unit: int
    start: float
    end: float


class Alignment(NamedTuple):
    """Units of an utterance and their durations, as aligned documents hold them.

    Attributes:
        units: (N,) int64, ids as in `PhoneTokenizer`.
        counts: (N,) int64 in [0, MAX_DURATION], codes of each; their sum is that of the utterance.
    """

    units: np.ndarray
    counts: np.ndarray


def aligned_units(
    text: str, words: Sequence[tuple[str, Sequence[tuple[str, float, float]]]], duration: float
) -> list[Unit]:
    """Units of an utterance end to end, from 0 to its duration.

    Every gap between words is a pause; a mark of the text at which the speaker went on is a pause
    of no length. A pause stands at both ends.

    Args:
        text: As it was aligned.
        words: Each word of `words_and_pauses(text)` with its phones, their starts and ends, s.
        duration: Of the utterance, s.

    Raises:
        ValueError: The words are not those of the text, or times decrease.
    """
    items = words_and_pauses(text)
    expected = [item for item in items if item != PAUSE]
    if [word for word, _ in words] != expected:
        raise ValueError(f"expected the words {expected}, got {[word for word, _ in words]}")
    units: list[Unit] = []
    now, is_pause_due, rest = 0.0, True, iter(words)  # an utterance begins with a pause
    for item in items:
        if item == PAUSE:
            is_pause_due = True
            continue
        _, phones = next(rest)
        # Aligners round times, which may end a little after the recording.
        start = min(phones[0][1], duration)
        if is_pause_due or start != now:
            units.append(Unit(PAUSE_ID, now, start))
        ids = word_units([phone for phone, _, _ in phones])
        # A phone ends where the next one begins.
        ends = [*(phone[1] for phone in phones[1:]), phones[-1][2]]
        starts = [start, *ends[:-1]]
        spans = zip(ids, starts, ends, strict=True)
        units += [Unit(unit, min(a, duration), min(b, duration)) for unit, a, b in spans]
        now, is_pause_due = units[-1].end, False
    units.append(Unit(PAUSE_ID, now, duration))
    if any(unit.end < unit.start for unit in units):
        raise ValueError(f"expected times that never decrease, got {units}")
    return units


def align_codes(
    units: Sequence[Unit], num_codes: int, frame_rate: float, shift: float = 0.0
) -> Alignment:
    """Give every code to the unit in which its middle lies; a short unit may get none.

    Units longer than `MAX_DURATION` codes become several of the same.

    Args:
        units: End to end.
        num_codes: Codes of the utterance, L.
        frame_rate: Codes a second, Hz.
        shift: Seconds that were cut off before the utterance was encoded.

    Raises:
        ValueError: No units.
    """
    if not units:
        raise ValueError("expected at least one unit, got none")
    # Code c covers [c, c + 1) / frame_rate: it belongs to the unit with its middle.
    ends = np.array([unit.end for unit in units[:-1]]) - shift
    borders = np.clip(np.ceil(ends * frame_rate - 0.5), 0, num_codes).astype(np.int64)
    counts = np.diff(np.concatenate([[0], borders, [num_codes]]))
    ids: list[int] = []
    parts: list[int] = []
    for unit, count in zip(units, counts.tolist(), strict=True):
        # There is a largest duration token: the rest becomes another unit of the same phone.
        while count > MAX_DURATION:
            ids, parts, count = [*ids, unit.unit], [*parts, MAX_DURATION], count - MAX_DURATION
        ids.append(unit.unit)
        parts.append(count)
    return Alignment(np.array(ids), np.array(parts))


def cut_near(alignment: Alignment, wanted: int, low: int, high: int) -> int | None:
    """Codes before the best place to cut an utterance in two, None where there is none.

    It is the start of a word or a pause, or of a phone where neither is within the bounds; both
    parts hold a phone.

    Args:
        alignment: Of the utterance.
        wanted: Codes that the first part had best have.
        low: Fewest codes of the first part.
        high: Most codes of the first part.
    """
    starts, spoken = _starts(alignment), np.flatnonzero(alignment.units != PAUSE_ID)
    if not len(spoken):
        return None
    unit = np.arange(len(starts))
    inside = (starts >= low) & (starts <= high) & (unit > spoken[0]) & (unit <= spoken[-1])
    for allowed in (inside & _opens(alignment), inside):
        places = starts[allowed]
        if len(places):
            return int(places[np.abs(places - wanted).argmin()])
    return None


def rest_after(alignment: Alignment, cut: int) -> Alignment:
    """The part of an alignment behind a place of `cut_near`, opened by a pause as every text is."""
    at = np.flatnonzero(_starts(alignment) == cut)
    words = at[_opens(alignment)[at]]
    first = words[0] if len(words) else at[0]
    units, counts = alignment.units[first:], alignment.counts[first:]
    if units[0] == PAUSE_ID:
        return Alignment(units, counts)
    return Alignment(np.concatenate([[PAUSE_ID], units]), np.concatenate([[0], counts]))


def _starts(alignment: Alignment) -> np.ndarray:
    """Codes before each unit, (N,)."""
    return np.cumsum(alignment.counts) - alignment.counts


def _opens(alignment: Alignment) -> np.ndarray:
    """True if each unit is a pause or begins a word, (N,) bool."""
    units = alignment.units.tolist()
    return np.array([unit == PAUSE_ID or is_word_start(unit) for unit in units])


def write_alignments(
    path: Path,
    units: Iterable[tuple[str, Sequence[Unit]]],
    scores: Mapping[str, float | None] | None = None,
) -> None:
    """Write the units of utterances by id as JSON lines, whole or not at all.

    Args:
        path: Of the file.
        units: Id and units of every utterance.
        scores: How well each fits its utterance, by id; written beside the units where given.
    """
    rows = []
    for name, each in units:
        row = {"id": name, "units": [[u.unit, round(u.start, 3), round(u.end, 3)] for u in each]}
        score = None if scores is None else scores.get(name)
        rows.append(row if score is None else {**row, "score": score})
    write_json_lines(path, rows)


def read_alignments(path: Path) -> dict[str, list[Unit]]:
    """Units by id, as `write_alignments` left them.

    Raises:
        ValueError: The file is missing or holds something else.
    """
    try:
        rows = read_json_lines(path, required=("id", "units"))
        return {row["id"]: [Unit(*unit) for unit in row["units"]] for row in rows}
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"expected alignments at {path}: {reason_of(error, path)}") from error

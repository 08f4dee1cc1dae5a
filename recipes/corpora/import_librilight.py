"""Libri-Light: chapters of audiobooks, cut at the pauses of its voice activity.

`<subset>/<speaker>/<book>/<chapter>.flac` and a `.json` of the same name with the speaker and the
spans in which there is speech (https://arxiv.org/abs/1912.07875). There are no transcripts.
lhotse makes one segment of every span and holds all of them in memory; here spans are joined to
pieces of a useful length, file by file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from codec.error_text import message_of
from codec.files import read_json
from codec.files.names import data_files

from .importing import Skip, Utterance

# A pause longer than this ends a piece, s.
LONGEST_PAUSE = 1.0
# Pieces shorter than this are left out, s.
SHORTEST = 0.5


def librilight_utterances(folder: Path, *, longest: float = 20.0) -> Iterator[Utterance | Skip]:
    """Yield pieces of at most `longest` seconds of every chapter below `folder`.

    Raises:
        ValueError: No recording below the folder, or `longest` below `SHORTEST`.
    """
    if longest < SHORTEST:
        raise ValueError(f"longest: expected at least {SHORTEST} s, got {longest}")
    chapters = data_files(folder, (".flac",))
    if not chapters:
        raise ValueError(f"{folder}: expected <subset>/<speaker>/<book>/<chapter>.flac, found none")
    for audio in chapters:
        name = audio.relative_to(folder).with_suffix("").as_posix()
        try:
            about = read_json(audio.with_suffix(".json"))
            spans = [(float(start), float(end)) for start, end in about["voice_activity"]]
            speaker = str(about["speaker"])
            # Where a span is not finite, or ends before it starts, there are no pieces.
            if not all(0 <= start <= end < math.inf for start, end in spans):
                raise ValueError(f"expected spans of seconds, got {spans}"[:200])
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            yield Skip(
                name, f"expected its .json with speaker and voice_activity: {message_of(error)}"
            )
            continue
        extra = {"source": "librilight"}
        extra |= {"snr": about["snr"]} if isinstance(about.get("snr"), int | float) else {}
        for number, (start, end) in enumerate(speech_pieces(spans, longest)):
            piece = f"{name}_{number:04d}"
            if end - start < SHORTEST:
                yield Skip(piece, f"{end - start:.2f} s of speech, below {SHORTEST} s", "short")
            else:
                part = (start, end)
                yield Utterance(piece, audio, "", speaker, "en", extra=extra, part=part)


def speech_pieces(
    spans: Sequence[tuple[float, float]], longest: float
) -> list[tuple[float, float]]:
    """Join spans of speech to pieces as long as they may be.

    A piece ends before it would pass `longest`, and at every pause of more than `LONGEST_PAUSE`. A
    span that is longer by itself is divided evenly.

    Args:
        spans: (start, end) of speech in ascending order, s.
        longest: Longest piece, s.
    """
    pieces: list[tuple[float, float]] = []
    for start, end in spans:
        # Does the span end early enough after the start of the piece that is open?
        fits = bool(pieces) and end - pieces[-1][0] <= longest
        if fits and start - pieces[-1][1] <= LONGEST_PAUSE:
            pieces[-1] = (pieces[-1][0], end)
            continue
        # ceil((end - start) / longest) even parts
        count = max(1, -int(-(end - start) // longest))
        step = (end - start) / count
        pieces += [(start + i * step, start + (i + 1) * step) for i in range(count)]
    return pieces

"""Strings of words: recordings of single words, laid end to end for every speaker.

A corpus of single words becomes one of utterances: recorded speech, nothing synthetic but the
pauses. No string of valid or test occurs in train, not even inside a longer one, and no recording
is in two splits.
"""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codec.audio import read_audio, write_audio
from codec.files.derived import Origins, digest_of, file_state
from recipes.runner.schema import StringsConfig

from .manifest import MANIFEST_NAME, SPLITS, CorpusRow, read_manifest, write_manifest

SAMPLE_RATE = 24_000
# The ends of each recording rise and fall over this long: joins make no click, s.
FADE = 0.005

Words = tuple[str, ...]


class Piece(NamedTuple):
    """A recording of a string, and the pause after it in seconds."""

    row: CorpusRow
    pause: float


def string_rows(
    rows: list[CorpusRow], settings: StringsConfig, folder: Path, *, seed: int
) -> list[CorpusRow]:
    """Make strings of a corpus's recordings, FLAC files with a manifest, unless they are there.

    Args:
        rows: Recordings of single words, each with a split.
        settings: Numbers of strings and of their words.
        folder: Destination of audio/ and manifest.jsonl.
        seed: Of texts, recordings and pauses.

    Returns:
        One row a string; `parts` of its extra fields names the recordings.

    Raises:
        ValueError: A split without recordings, a text of more than one word, or too few different
            strings.
    """
    manifest = folder / MANIFEST_NAME
    origins = Origins(folder / "origins.jsonl")
    digest = digest_of(
        [[row.id, file_state(row.audio), row.text, row.speaker, row.split] for row in rows],
        dataclasses.asdict(settings),
        seed,
    )
    if origins.is_current(manifest, digest):
        return read_manifest(manifest)
    # Strings of other recordings, or of other settings, are no part of these.
    manifest.unlink(missing_ok=True)
    wrong = next((row for row in rows if len(row.text.split()) != 1), None)
    if wrong is not None:
        raise ValueError(f"strings: expected one word a recording, got {wrong.text!r} ({wrong.id})")
    made: list[CorpusRow] = []
    sounds: dict[str, NDArray[np.float32]] = {}
    # `sounds` holds every recording once it is read: each is in several strings.
    for name, split, pieces in plan_strings(deal_known_voices(rows, settings), settings, seed):
        path = folder / "audio" / split / f"{name}.flac"
        waveform = joined(pieces, sounds)
        write_audio(path, waveform, SAMPLE_RATE)
        duration = round(len(waveform) / SAMPLE_RATE, 6)
        made.append(_string_row(name, split, path, duration, pieces))
    write_manifest(manifest, made)
    origins.note(manifest, digest)
    return made


def deal_known_voices(rows: list[CorpusRow], settings: StringsConfig) -> list[CorpusRow]:
    """Move a share of each speaker's recordings of each word from valid to test."""
    groups: dict[tuple[str, str], list[CorpusRow]] = defaultdict(list)
    for row in rows:
        if row.split == "valid":
            groups[row.speaker, row.text].append(row)
    moved = {
        row.id
        for group in groups.values()
        for row in sorted(group, key=lambda row: row.id)[: int(settings.known_in_test * len(group))]
    }
    return [replace(row, split="test") if row.id in moved else row for row in rows]


def plan_strings(
    rows: list[CorpusRow], settings: StringsConfig, seed: int
) -> Iterator[tuple[str, str, list[Piece]]]:
    """Draw name, split and pieces of each string.

    Speakers take turns, and every recording of a word is used once before any is used again.

    Raises:
        ValueError: A split without recordings, or too few different strings.
    """
    # Held-out strings first, since those of train must not contain them.
    counts = {"test": settings.test, "valid": settings.valid, "train": settings.train}
    held_out: set[Words] = set()
    for split, count in counts.items():
        random_state = random.Random(f"{seed}/{split}")
        takes = Takes([row for row in rows if row.split == split], random_state)
        if not takes.speakers:
            raise ValueError(f"strings: no recording in split {split!r}")
        for index in range(count):
            speaker = takes.speakers[index % len(takes.speakers)]
            words = _new_words(takes.words(speaker), held_out, split, settings, random_state)
            if split != "train":
                held_out.add(words)
            pauses = (settings.min_pause, settings.max_pause)
            pieces = [
                Piece(takes.take(speaker, word), random_state.uniform(*pauses)) for word in words
            ]
            yield f"{split}_{index:05d}_{speaker}", split, pieces


class Takes:
    """The recordings of a split, handed out by speaker and word in shuffled rounds."""

    def __init__(self, rows: list[CorpusRow], random_state: random.Random) -> None:
        self._rows: dict[tuple[str, str], list[CorpusRow]] = defaultdict(list)
        self._left: dict[tuple[str, str], list[CorpusRow]] = defaultdict(list)
        self._random = random_state
        for row in rows:
            self._rows[row.speaker, row.text].append(row)
        self.speakers = sorted({speaker for speaker, _ in self._rows})

    def words(self, speaker: str) -> list[str]:
        """List the words of a speaker, sorted."""
        return sorted(word for name, word in self._rows if name == speaker)

    def take(self, speaker: str, word: str) -> CorpusRow:
        """Take the next recording of a word."""
        key = (speaker, word)
        # A new round, in a new order, once every recording was used.
        if not self._left[key]:
            self._left[key] = self._random.sample(self._rows[key], len(self._rows[key]))
        return self._left[key].pop()


def joined(pieces: list[Piece], sounds: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Join the recordings of a string with their pauses, (T,); `sounds` keeps those read.

    Levels are left as they were recorded.
    """
    parts: list[NDArray[np.float32]] = []
    for piece in pieces:
        if piece.row.id not in sounds:
            sounds[piece.row.id] = faded(read_audio(piece.row.audio, SAMPLE_RATE))
        gap = np.zeros(round(piece.pause * SAMPLE_RATE), dtype=np.float32)
        parts += [sounds[piece.row.id], gap]
    return np.concatenate(parts[:-1])  # without the pause after the last


def faded(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fade the first and last `FADE` seconds of a recording (T,) in and out."""
    length = min(round(FADE * SAMPLE_RATE), len(waveform) // 2)
    ramp = np.linspace(0, 1, length, endpoint=False, dtype=np.float32)
    result = waveform.copy()
    result[:length] *= ramp
    result[len(result) - length :] *= ramp[::-1]
    return result


def _new_words(
    known: list[str],
    held_out: set[Words],
    split: str,
    settings: StringsConfig,
    random_state: random.Random,
) -> Words:
    """A string that is new in valid and test, or one of train without any of theirs in it."""
    fewest = settings.min_words if split == "train" else settings.min_held_out_words
    # By rejection: most draws are new unless nearly all strings are taken.
    for _ in range(1000):
        count = random_state.randint(fewest, settings.max_words)
        words = tuple(random_state.choice(known) for _ in range(count))
        if split != "train" and words not in held_out:
            return words
        if split == "train" and not held_out & set(runs(words, settings.min_held_out_words)):
            return words
    raise ValueError(
        f"strings.{split}: no further string of {fewest} to {settings.max_words} of "
        f"{len(known)} words that is not held out already; ask for fewer or longer ones"
    )


def runs(words: Words, shortest: int) -> Iterator[Words]:
    """Yield every run of at least `shortest` consecutive words."""
    for start in range(len(words)):
        for stop in range(start + shortest, len(words) + 1):
            yield words[start:stop]


def _string_row(
    name: str, split: str, path: Path, duration: float, pieces: list[Piece]
) -> CorpusRow:
    """The manifest's row of a string; its text has a comma at each pause."""
    assert split in SPLITS
    first = pieces[0].row
    kept = {key: first.extra[key] for key in ("source", "license") if key in first.extra}
    return CorpusRow(
        id=name,
        audio=path,
        duration=duration,
        text=", ".join(piece.row.text for piece in pieces),
        speaker=first.speaker,
        lang=first.lang,
        split=split,
        extra=kept | {"parts": [piece.row.id for piece in pieces]},
    )

"""Which recordings the demo works on: the caller's, those of a corpus, or synthetic ones.

No recording comes with the project, so what is not given and not found is spoken by eSpeak NG, and
everything that is shown of it says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from codec.audio import read_audio
from recipes.corpora.espeak import VOICES, Espeak
from recipes.corpora.espeak_sentences import make_sentences
from recipes.corpora.manifest import MANIFEST_NAME, CorpusRow, read_manifest

# Seconds of a corpus's clips: long enough to be continued, short enough to be listened to.
SHORTEST, LONGEST = 4.0, 9.0
# Seconds that are taken of a longer recording, so that the demo stays a short one.
MOST = 15.0


@dataclass(frozen=True, eq=False)
class Recording:
    """Speech to be coded.

    Attributes:
        id: File name without ending.
        waveform: (T,) float32 in [-1, 1].
        text: What is said, "" when unknown.
        origin: In words, whose it is.
        is_stranger: Whether a corpus says that training did not know the speaker. Among strangers
            are accents that throw the recogniser off, so their words are not counted.
    """

    id: str
    waveform: NDArray[np.float32]
    text: str
    origin: str
    is_stranger: bool = False


def find_recordings(
    paths: Sequence[Path], corpus: Path, sample_rate: int
) -> tuple[list[Recording], str]:
    """The recordings and a sentence on where they are from.

    Args:
        paths: Files of the caller; none lets the corpus be looked for.
        corpus: Folder with a manifest; where there is none, eSpeak NG speaks.
        sample_rate: Hz, of every waveform.

    Raises:
        ValueError: A file cannot be read, or there is neither a corpus nor eSpeak NG.
    """
    if paths:
        given = [_given(path, sample_rate) for path in paths]
        return given, f"Recordings: {', '.join(path.name for path in paths)}, as given."
    if (corpus / MANIFEST_NAME).is_file():
        found = from_corpus(corpus, sample_rate)
        if found:
            return found, f"Recordings: human speech of the corpus {corpus}, valid and test."
    return [_synthetic(sample_rate)], (
        "SYNTHETIC speech: no recording was given and no corpus found, so eSpeak NG spoke one. It "
        "is nothing that the models were made for; give a recording of your own."
    )


def from_corpus(folder: Path, sample_rate: int) -> list[Recording]:
    """A clip of a speaker that training knew and one of a stranger, where the corpus has them."""
    rows = [
        row
        for row in read_manifest(folder / MANIFEST_NAME)
        if row.lang == "en" and SHORTEST <= row.duration <= LONGEST and row.audio.is_file()
    ]
    trained = {row.speaker for row in rows if row.split == "train"}
    known = [row for row in rows if row.split == "valid" and row.speaker in trained]
    strangers = [row for row in rows if row.split == "test" and row.speaker not in trained]
    found = []
    for chosen, is_stranger in ((known, False), (strangers, True)):
        if chosen:
            row = _middle(chosen)
            kind = "unseen in" if is_stranger else "known from"
            origin = f"{row.speaker}, a speaker {kind} training"
            waveform = read_audio(row.audio, sample_rate)
            found.append(Recording(row.id, waveform, row.text, origin, is_stranger))
    return found


def _middle(rows: Sequence[CorpusRow]) -> CorpusRow:
    """The row of middle length: neither easy for being short nor hard for being long."""
    return sorted(rows, key=lambda row: (row.duration, row.id))[len(rows) // 2]


def _given(path: Path, sample_rate: int) -> Recording:
    waveform = read_audio(path, sample_rate)
    cut = waveform[: round(MOST * sample_rate)]
    origin = "given" if len(cut) == len(waveform) else f"given, its first {MOST:g} s"
    return Recording(path.stem, cut, "", origin)


def _synthetic(sample_rate: int) -> Recording:
    text = " ".join(make_sentences(2, seed=0))
    with Espeak() as espeak:
        spoken = espeak.speak(text, VOICES[0])
        waveform = soxr.resample(spoken, espeak.sample_rate, sample_rate, quality="HQ")
    return Recording("espeak", waveform.astype(np.float32), text, "SYNTHETIC, eSpeak NG")

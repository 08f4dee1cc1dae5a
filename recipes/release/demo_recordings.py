"""Recordings for the demo: the caller's, those of a corpus, or synthetic ones.

No recording is part of the project, so where none is given or found eSpeak NG makes one, which is
labelled as synthetic wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from codec.audio import read_audio
from codec.files.locations import file_of
from recipes.corpora.espeak import VOICES, Espeak
from recipes.corpora.espeak_sentences import make_sentences
from recipes.corpora.manifest import MANIFEST_NAME, read_manifest

# Seconds of a corpus's clips: long enough to be continued, short enough to play.
SHORTEST, LONGEST = 4.0, 9.0
# Seconds that are taken of a longer recording, so that the demo stays short.
MOST = 15.0


@dataclass(frozen=True, eq=False)
class Recording:
    """Speech to be coded."""

    id: str  # file name without ending
    waveform: NDArray[np.float32]  # (T,) float32 in [-1, 1]
    text: str  # transcript, "" when unknown
    origin: str  # speaker or source, in words
    # Whether the speaker is in no training clip of the corpus. The recogniser errs on some of their
    # accents, so their word errors are not counted.
    is_stranger: bool = False
    is_synthetic: bool = False  # made by eSpeak NG, which no model was made for


def find_recordings(
    paths: Sequence[Path], corpus: Path, sample_rate: int
) -> tuple[list[Recording], str]:
    """Find recordings, and describe their origin in a sentence.

    Args:
        paths: Files of the caller; where there are none, the corpus is used.
        corpus: Folder with a manifest; where there is none, eSpeak NG synthesizes a clip.
        sample_rate: Hz, of every waveform.

    Raises:
        ValueError: A file cannot be read, or there is neither a corpus nor eSpeak NG.
    """
    if paths:
        given = []
        for path in paths:
            waveform = read_audio(path, sample_rate)
            cut = waveform[: round(MOST * sample_rate)]
            origin = "given" if len(cut) == len(waveform) else f"given, its first {MOST:g} s"
            given.append(Recording(path.stem, cut, "", origin))
        return given, f"Recordings: {', '.join(path.name for path in paths)}, as given."
    if (corpus / MANIFEST_NAME).is_file():
        found = from_corpus(corpus, sample_rate)
        if found:
            return found, f"Recordings: human speech of the corpus {corpus}, valid and test."
    return [_synthetic(sample_rate)], (
        "SYNTHETIC speech of eSpeak NG: no recording was given and no corpus found. The models "
        "were not made for it; give a recording of your own."
    )


def from_corpus(folder: Path, sample_rate: int) -> list[Recording]:
    """Take a clip of a speaker of training and one of a stranger, where the corpus has them."""
    rows = [
        row
        for row in read_manifest(folder / MANIFEST_NAME)
        if row.lang == "en" and SHORTEST <= row.duration <= LONGEST and file_of(row.audio).is_file()
    ]
    trained = {row.speaker for row in rows if row.split == "train"}
    known = [row for row in rows if row.split == "valid" and row.speaker in trained]
    strangers = [row for row in rows if row.split == "test" and row.speaker not in trained]
    found = []
    for chosen, is_stranger in ((known, False), (strangers, True)):
        if chosen:
            # Of median duration: neither easy for being short nor hard for being long.
            row = sorted(chosen, key=lambda row: (row.duration, row.id))[len(chosen) // 2]
            kind = "unseen in" if is_stranger else "known from"
            origin = f"{row.speaker}, a speaker {kind} training"
            waveform = read_audio(row.audio, sample_rate)
            found.append(Recording(row.id, waveform, row.text, origin, is_stranger))
    return found


def _synthetic(sample_rate: int) -> Recording:
    """Two sentences by eSpeak NG."""
    text = " ".join(make_sentences(2, seed=0))
    with Espeak() as espeak:
        made = espeak.speak(text, VOICES[0])
        waveform = soxr.resample(made, espeak.sample_rate, sample_rate, quality="HQ")
    return Recording(
        "espeak", waveform.astype(np.float32), text, "SYNTHETIC, eSpeak NG", is_synthetic=True
    )

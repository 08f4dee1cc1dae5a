"""Forced alignment of English speech with its text, by the acoustic model inside pocketsphinx.

Two passes, as its documentation has it: words first, with their best pronunciation and the pauses
between them, then phones. Frames are 10 ms.

An alignment is a line of `<split>.alignment.jsonl`; a clip that could not be aligned is a line of
`<split>.unaligned.jsonl` with the reason. A run that was cut off goes on after its last line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from tqdm import tqdm

from codec.audio.store import AudioStore
from codec.json_lines import appending, read_json_lines, write_json_lines
from slm.data.alignment import Unit, aligned_units, read_alignments, write_alignments
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PAUSE, words_and_pauses

RATE = 16000
FRAME = 0.01  # s
PADDING = 0.2  # s of silence around clips that are cut close
# Phones longer than this are not speech but an alignment that lost its way, s.
LONGEST_PHONE = 1.0

# Word with its phones, each with start and end in seconds of the clip.
Word = tuple[str, list[tuple[str, float, float]]]
Result = tuple[str, list[Unit], str]  # id, units, and the reason where there are none


class AlignmentError(ValueError):
    """A clip that could not be aligned, with the reason."""


class Aligner:
    """Aligns waveforms with texts; an alignment depends on its own clip alone.

    Args:
        lexicon: Pronounces words that pocketsphinx's own dictionary does not hold.

    Raises:
        ValueError: pocketsphinx is not installed (extra `eval`).
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._module = _pocketsphinx()
        self.lexicon = lexicon
        self._decoder: Any = None

    def units(self, waveform: np.ndarray, sample_rate: int, text: str) -> list[Unit]:
        """Align a clip (T,), float in [-1, 1], with its text.

        Raises:
            AlignmentError: The text does not fit the audio, or has no word.
        """
        words = [item for item in words_and_pauses(text) if item != PAUSE]
        if not words:
            raise AlignmentError("no word in its text")
        if self._decoder is None:
            self._decoder = self._module.Decoder(lm=None, loglevel="FATAL", samprate=RATE)
        # Means and noise of the clips before would be those that this one begins with.
        self._decoder.reinit_feat()
        for word in words:
            self._add_word(word)
        # 16-bit samples at the model's rate, with silence around them.
        signal = np.asarray(waveform, dtype=np.float64)
        if sample_rate != RATE:
            signal = soxr.resample(signal, sample_rate, RATE, quality="HQ")
        signal = np.pad(signal, round(PADDING * RATE))
        pcm = np.round(np.clip(signal, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
        aligned = self._aligned(pcm, words)
        if [name for name, _ in aligned] != words:
            raise AlignmentError(f"aligned {len(aligned)} of {len(words)} words")
        longest = max(end - start for _, phones in aligned for _, start, end in phones)
        if longest > LONGEST_PHONE:
            raise AlignmentError(f"a phone of {longest:.2f} s")
        return aligned_units(text, aligned, len(waveform) / sample_rate)

    def _aligned(self, pcm: bytes, words: list[str]) -> list[Word]:
        """Words with their phones; times without the padding."""
        decoder = self._decoder
        try:
            decoder.set_align_text(" ".join(words))
            self._decode(pcm)
            if decoder.hyp() is None:
                raise AlignmentError("the text does not fit the audio")
            # The second pass finds the phones of the words that the first has found.
            decoder.set_alignment()
            self._decode(pcm)
            alignment = decoder.get_alignment()
        except RuntimeError as error:
            raise AlignmentError(f"the text does not fit the audio: {error}") from error
        if alignment is None:
            raise AlignmentError("no phones found")
        found = []
        for word in alignment:
            phones = [
                (phone.name, self._time(phone.start), self._time(phone.start + phone.duration))
                for phone in word
            ]
            # Pronunciations after the first end in their number: read(2).
            found.append((re.sub(r"\(\d+\)$", "", word.name), phones))
        # Silence and noise are words in brackets.
        return [(name, phones) for name, phones in found if not name.startswith(("<", "["))]

    def _decode(self, pcm: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, no_search=False, full_utt=True)
        self._decoder.end_utt()

    def _time(self, frame: int) -> float:
        return max(0.0, frame * FRAME - PADDING)

    def _add_word(self, word: str) -> None:
        """Add a word to pocketsphinx's dictionary unless it is there."""
        if self._decoder.lookup_word(word) is None:
            try:
                phones = self.lexicon.phones(word)
            except ValueError as error:
                raise AlignmentError(str(error)) from error
            self._decoder.add_word(word, " ".join(phones), True)

    def __getstate__(self) -> dict[str, Any]:
        """State without the decoder, so that an aligner can be sent to a worker process."""
        return {**self.__dict__, "_decoder": None, "_module": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _module=import_module("pocketsphinx"))


def dictionary_lines() -> list[str]:
    """Read the lines of the pronouncing dictionary inside the pocketsphinx wheel.

    Raises:
        ValueError: The package is missing.
    """
    path = _pocketsphinx().get_model_path("en-us/cmudict-en-us.dict")
    with open(path, encoding="utf-8") as lines:
        return lines.readlines()


def align_split(
    clips: AudioStore, folder: Path, aligner: Aligner, languages: list[str]
) -> dict[str, int]:
    """Align a split's clips that have a text in one of the languages.

    Args:
        clips: Waveforms and texts.
        folder: For `<split>.alignment.jsonl` and `<split>.unaligned.jsonl`.
        aligner: Of these languages.
        languages: As the rows spell them.

    Returns:
        Number of clips that are `aligned`, `failed` or `without` such a text.
    """
    split = clips.folder.name
    done, partial = folder / f"{split}.alignment.jsonl", folder / f".{split}.aligning.jsonl"
    wanted = [
        index
        for index, row in enumerate(clips.rows)
        if row["lang"] in languages and row["text"].strip()
    ]
    # Both lists are written when the last clip is done; until then `partial` keeps the results.
    if not done.is_file():
        results = list(_results(clips, wanted, aligner, partial))
        failures = [{"id": name, "reason": reason} for name, _, reason in results if reason]
        write_json_lines(folder / f"{split}.unaligned.jsonl", failures)
        write_alignments(done, [(name, units) for name, units, reason in results if not reason])
        partial.unlink(missing_ok=True)
    aligned = len(read_alignments(done))
    return {
        "aligned": aligned,
        "failed": len(wanted) - aligned,
        "without": len(clips.rows) - len(wanted),
    }


def alignments_of(folder: Path, split: str) -> dict[str, list[Unit]]:
    """Read the units of a split by clip id; {} where nothing was aligned."""
    path = folder / f"{split}.alignment.jsonl"
    return read_alignments(path) if path.is_file() else {}


def _results(
    clips: AudioStore, wanted: list[int], aligner: Aligner, partial: Path
) -> Iterator[Result]:
    """Results of the wanted clips in order, each written to `partial` as soon as it is there."""
    kept = read_json_lines(partial, torn="drop", missing_ok=True)
    for row in kept:
        yield row["id"], [Unit(*unit) for unit in row["units"]], row["reason"]
    with appending(partial) as append:
        for index in tqdm(wanted[len(kept) :], desc=f"align {clips.folder.name}", unit="clip"):
            row = clips.rows[index]
            units: list[Unit] = []
            reason = ""
            try:
                units = aligner.units(clips.waveform(index), clips.sample_rate, row["text"])
            except AlignmentError as error:
                reason = str(error)
            append({"id": row["id"], "units": units, "reason": reason})
            yield row["id"], units, reason


def _pocketsphinx() -> Any:
    """The module.

    Raises:
        ValueError: It is not installed.
    """
    try:
        return import_module("pocketsphinx")
    except ImportError as error:
        raise ValueError(
            "expected the package pocketsphinx to align speech with text: "
            "pip install 'pocketsphinx>=5.1,<5.2'"
        ) from error

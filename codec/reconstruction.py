"""Recordings through the codec: to a code file, back to a waveform, and whole folders at once."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from .audio import FORMATS, AudioError, read_audio, write_audio
from .code_file import CodeFile
from .model import HHCodec

RECORDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64")


@dataclass(frozen=True)
class Pair:
    """A recording and where its reconstruction goes."""

    source: Path
    target: Path


@dataclass
class Outcome:
    """What became of a folder of recordings.

    Attributes:
        num_done: reconstructed now.
        num_skipped: left alone because their reconstruction was there.
        duration: of those done, s.
        failed: what was wrong with each recording that could not be read, by its path.
    """

    num_done: int = 0
    num_skipped: int = 0
    duration: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)


def encode_recording(codec: HHCodec, path: Path) -> CodeFile:
    """Codes of a recording of any rate and any number of channels.

    Raises:
        AudioError: it cannot be read.
    """
    waveform = read_audio(path, codec.sample_rate)
    codes, _ = codec.encode(torch.from_numpy(waveform)[None])
    return CodeFile(
        codes=codes[0].cpu().numpy().astype(np.uint16),
        num_samples=len(waveform),
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        codec_fingerprint=codec.fingerprint,
    )


def decode_codes(codec: HHCodec, file: CodeFile) -> NDArray[np.float32]:
    """Waveform (num_samples,) of a code file.

    Raises:
        CodeFileError: another codec made it.
        ValueError: a code is not in the codebook.
    """
    file.check_codec(codec.fingerprint)
    return _decoded(codec, torch.from_numpy(file.codes.astype(np.int64))[None], file.num_samples)


def reconstruct_recording(codec: HHCodec, pair: Pair) -> float:
    """Write what the codec makes of a recording, at its own length; returns that length, s.

    Raises:
        AudioError: it cannot be read.
    """
    waveform = read_audio(pair.source, codec.sample_rate)
    codes, _ = codec.encode(torch.from_numpy(waveform)[None])
    write_audio(pair.target, _decoded(codec, codes, len(waveform)), codec.sample_rate)
    return len(waveform) / codec.sample_rate


def _decoded(codec: HHCodec, codes: torch.Tensor, num_samples: int) -> NDArray[np.float32]:
    """(1, L) codes to (num_samples,)."""
    waveform, _ = codec.decode(codes, lengths=torch.tensor([num_samples]))
    return waveform[0].cpu().numpy()


def reconstruct_all(codec: HHCodec, pairs: Iterable[Pair], *, resume: bool) -> Outcome:
    """Reconstruct recordings one after the other, with a bar on standard error.

    Args:
        codec: in eval mode.
        pairs: what to read and where to write.
        resume: leave alone what is already written (files appear only when whole).

    Returns:
        what was done and which recordings could not be read; the others are done all the same.

    Raises:
        OSError: a reconstruction could not be written.
    """
    outcome = Outcome()
    for pair in tqdm(list(pairs), desc="reconstruct", unit="file", file=sys.stderr):
        if resume and pair.target.is_file():
            outcome.num_skipped += 1
            continue
        try:
            outcome.duration += reconstruct_recording(codec, pair)
            outcome.num_done += 1
        except AudioError as error:
            outcome.failed[str(pair.source)] = str(error).removeprefix(f"{pair.source}: ")
    return outcome


def folder_pairs(source: Path, target: Path) -> tuple[list[Pair], int]:
    """Recordings of a folder tree and their places in a tree of the same shape.

    FLAC stays FLAC; everything else becomes WAV.

    Args:
        source: holds recordings, at any depth.
        target: another folder, outside `source`.

    Returns:
        the pairs in order of their path, and the number of other files, which are left alone.

    Raises:
        ValueError: there is no recording, `target` lies in `source`, or two recordings would
            be written to one file.
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"expected an output folder outside {source}, got {target}")
    files = sorted(path for path in source.rglob("*") if path.is_file())
    sources = [path for path in files if path.suffix.lower() in RECORDINGS]
    if not sources:
        raise ValueError(f"{source}: expected recordings ({' '.join(RECORDINGS)}), got none")
    taken: dict[Path, Path] = {}
    for path in sources:
        suffix = path.suffix if path.suffix.lower() in FORMATS else ".wav"
        place = target / path.relative_to(source).with_suffix(suffix)
        if place in taken:
            raise ValueError(f"{taken[place]} and {path} would both become {place}; rename one")
        taken[place] = path
    return [Pair(path, place) for place, path in taken.items()], len(files) - len(sources)

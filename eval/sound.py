"""Waveforms for metrics: read, checked and resampled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from codec.audio.io import AudioError, read_whole
from codec.files import sha256_of
from codec.files.names import composed, data_files

from .protocols import Item, MetricError, Need

# Of files that are read as audio where a folder is searched.
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
# A peak under -60 dB of full scale is inaudible, and unvoiced to the pitch tracker.
SILENCE_PEAK = 1e-3
# Float audio may overshoot 1 a little; a far larger peak means integer samples were passed.
LARGEST_PEAK = 8.0
MIN_DURATION = 0.3


@dataclass(frozen=True, eq=False)
class Sound:
    """Audio in memory."""

    waveform: np.ndarray  # (T,) float in [-1, 1]
    sample_rate: int  # Hz

    def __post_init__(self) -> None:
        if np.ndim(self.waveform) != 1:
            raise ValueError(f"expected a waveform (T,), got shape {np.shape(self.waveform)}")
        if self.sample_rate <= 0:
            raise ValueError(f"expected a positive sample rate in Hz, got {self.sample_rate}")


AudioSource = Sound | Path | str


def load_sound(source: AudioSource) -> Sound:
    """Read a file, channels averaged, or return a `Sound` as it is.

    Raises:
        MetricError: The file is missing, not audio that libsndfile reads, shorter or longer than
            its header states, or in any other way no recording that the codec would take.
    """
    if isinstance(source, Sound):
        return source
    path = Path(source)
    if not path.is_file():
        raise MetricError(f"no such audio file: {path.name}")
    try:
        return Sound(*read_whole(path))
    except AudioError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise MetricError(f"cannot read {path.name} as audio: {reason}") from error


def sound_files(folder: Path) -> dict[str, list[Path]]:
    """Find the audio files below a folder by path without suffix, accents composed; sorted."""
    found: dict[str, list[Path]] = {}
    for path in data_files(folder, SUFFIXES):
        name = composed(path.relative_to(folder).with_suffix("").as_posix())
        found.setdefault(name, []).append(path)
    return found


def the_only_file(name: str, paths: Sequence[Path]) -> Path:
    """Return the file of a name.

    Raises:
        ValueError: There are several, of which one would be scored by chance.
    """
    if len(paths) > 1:
        raise ValueError(f"expected one file for {name!r}, got {' and '.join(map(str, paths))}")
    return paths[0]


def sound_digest(source: AudioSource | None) -> str:
    """Hash the content of an audio source, 16 hex digits; "none" or "missing" without content."""
    if source is None:
        return "none"
    if isinstance(source, Sound):
        data = np.ascontiguousarray(source.waveform)
        head = f"{source.sample_rate} {data.dtype.str}".encode()
        return hashlib.sha256(head + data.tobytes()).hexdigest()[:16]
    path = Path(source)
    return sha256_of(path)[:16] if path.is_file() else "missing"


def checked(
    waveform: np.ndarray, sample_rate: int, what: str, *, min_duration: float = MIN_DURATION
) -> np.ndarray:
    """Return a waveform (T,) that can be measured as float64; errors call it `what`.

    Raises:
        MetricError: Empty, not finite, not in float range, silent, or shorter than
            `min_duration` seconds.
    """
    samples = np.asarray(waveform, dtype=np.float64)
    if samples.ndim != 1:
        raise MetricError(f"{what}: expected a waveform (T,), got shape {samples.shape}")
    if samples.size == 0:
        raise MetricError(f"{what} is empty")
    if not np.isfinite(samples).all():
        raise MetricError(
            f"{what} holds {int((~np.isfinite(samples)).sum())} NaN or infinite samples"
        )
    if samples.size < min_duration * sample_rate:
        raise MetricError(
            f"{what} is too short: expected at least {min_duration} s, "
            f"got {samples.size / sample_rate:.3f} s"
        )
    peak = float(np.abs(samples).max())
    if peak > LARGEST_PEAK:
        raise MetricError(f"{what}: expected samples in [-1, 1], got a peak of {peak:g}")
    if peak < SILENCE_PEAK:
        raise MetricError(f"{what} is silent: its peak is {peak:.1e}, below {SILENCE_PEAK:g}")
    return samples


def checked_part(item: Item, part: Need, *, min_duration: float = MIN_DURATION) -> np.ndarray:
    """Return a waveform of an item as `checked` does.

    Raises:
        MetricError: The item lacks it, or as `checked`.
    """
    waveform = getattr(item, part)
    if waveform is None:
        raise MetricError(f"expected a waveform as {part}, got none")
    return checked(waveform, item.sample_rate, part, min_duration=min_duration)


def resampled(waveform: np.ndarray, sample_rate: int, target_rate: int) -> np.ndarray:
    """Resample a waveform (T,) to about T * target_rate / sample_rate samples."""
    if sample_rate == target_rate:
        return waveform
    return soxr.resample(waveform, sample_rate, target_rate, quality="HQ")

"""Recordings that a page uploads: bounded, read once, and deleted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from codec.audio.io import audio_channels, audio_info, read_whole

# A second of the widest recording that is taken: two channels at 192 kHz.
_MOST_VALUES = 2 * 192_000


@dataclass(frozen=True, eq=False)
class Upload:
    """A recording in memory.

    Attributes:
        path: Of its file, which is gone.
        waveform: (T,) mono float32.
        sample_rate: Hz.
    """

    path: str
    waveform: NDArray[np.float32]
    sample_rate: int

    @property
    def name(self) -> str:
        """File name without suffix."""
        return Path(self.path).stem

    def at(self, sample_rate: int) -> NDArray[np.float32]:
        """The waveform (T,) at another rate, Hz, as `read_audio` gives it."""
        if sample_rate == self.sample_rate:
            return self.waveform
        made = soxr.resample(self.waveform, self.sample_rate, sample_rate, quality="VHQ")
        return np.ascontiguousarray(made, dtype=np.float32)


@dataclass(frozen=True)
class UploadLimits:
    """Bounds of a recording.

    Attributes:
        seconds: Longest duration.
        num_bytes: Largest file.
    """

    seconds: float = 30.0
    num_bytes: int = 20 << 20


def take(
    path: str | None, kept: Upload | None, limits: UploadLimits, folder: Path
) -> Upload | None:
    """Read an uploaded file and delete it; one that was read before is there in memory.

    Args:
        path: Of the file; None where there is none.
        kept: What the last call returned for the same field of the page.
        limits: Of the recording.
        folder: That holds all uploads; a file elsewhere is neither read nor deleted.

    Raises:
        ValueError: A file beyond the limits, elsewhere, or no recording; it is deleted, too.
    """
    if path is None:
        return None
    file = Path(path)
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ValueError("expected a recording that was uploaded, got another file")
    try:
        # Paths are made of contents: the same path again is the same recording.
        if kept is not None and kept.path == path:
            return kept
        return _read(file, limits)
    except ValueError as error:
        # Of a path, the visitor knows the name alone.
        raise ValueError(str(error).replace(str(file), file.name)) from error
    finally:
        file.unlink(missing_ok=True)


def _read(file: Path, limits: UploadLimits) -> Upload:
    size = file.stat().st_size if file.is_file() else 0
    if size > limits.num_bytes:
        raise ValueError(f"expected a file of at most {limits.num_bytes:,} bytes, got {size:,}")
    frames, rate = audio_info(file)
    channels = audio_channels(file)
    if frames > limits.seconds * rate:
        raise ValueError(
            f"expected a recording of at most {limits.seconds:g} s, got {frames / rate:.1f} s"
        )
    if rate * channels > _MOST_VALUES:
        raise ValueError(f"expected two channels at 192 kHz at most, got {channels} at {rate:,} Hz")
    return Upload(str(file), *read_whole(file))

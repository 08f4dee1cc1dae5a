"""Level of a recording: that of its speech where much of it is silence, else the plain RMS."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .activity import frame_length, silence_weights, speech_frames, untraced, without_clicks

# Share of silence from which on the surplus is left out of a level: codes of a recording that has
# less, which nearly every clip of a speech corpus is, are those of its plain RMS.
LEVEL_SILENCE = 0.5
OFFSET_SHARE = 0.1  # of the energy: a constant offset from there on is taken out
SHORTEST_OFFSET = 10  # frames
SILENT_RMS, SILENT_DBFS = 1e-6, -120.0


@dataclass(frozen=True)
class Level:
    """Level of a recording, full scale = 1.

    Attributes:
        rms: Of speech and as much silence as belongs to it; the plain RMS where silence is no
            more than `LEVEL_SILENCE` of the recording and there are no clicks.
        plain: RMS of the whole, offset and all.
        offset: Constant offset that is no part of the sound; 0 where it is too small to matter.
    """

    rms: float
    plain: float
    offset: float = 0.0

    @property
    def ratio(self) -> float:
        """Level of speech over the plain RMS; exactly 1 for an ordinary recording."""
        return self.rms / self.plain if self.plain > 0 else 1.0

    @property
    def is_silent(self) -> bool:
        """True if there is nothing to measure: below -120 dBFS."""
        return self.rms <= SILENT_RMS

    @property
    def dbfs(self) -> float:
        """Of `rms`, dB relative to a full-scale square wave; -120 for silence."""
        return SILENT_DBFS if self.is_silent else 20.0 * math.log10(self.rms)


class FramePowers:
    """Powers of the frames of a recording that comes in pieces.

    Args:
        sample_rate: Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.frame = frame_length(sample_rate)
        self.num_samples = 0
        self._rest: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._squares: list[NDArray[np.float64]] = []
        self._sums: list[NDArray[np.float64]] = []

    def push(self, samples: NDArray[np.floating]) -> None:
        """Take the next samples (n,)."""
        self.num_samples += len(samples)
        waiting = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(waiting) // self.frame * self.frame
        self._add(waiting[:whole])
        self._rest = np.array(waiting[whole:])  # not a view, which would keep all of the piece

    def powers(self) -> tuple[NDArray[np.float64], float]:
        """Mean squares (F,) of the frames without the recording's offset, and the offset."""
        squares, sums, counts = self._totals()
        offset = _offset(squares, sums, self.num_samples)
        centred = squares - 2.0 * offset * sums + counts * offset**2
        return np.maximum(centred, 0.0) / np.maximum(counts, 1), offset

    def level(self) -> Level:
        """Level of what came so far."""
        squares, _, counts = self._totals()
        plain = math.sqrt(float(squares.sum()) / max(1, self.num_samples))
        powers, offset = self.powers()
        limited = without_clicks(powers)
        active = speech_frames(limited)
        heard = float(counts[active].sum())
        silent = 1.0 - heard / max(1, self.num_samples)
        has_surplus = heard > 0 and silent > LEVEL_SILENCE
        # An ordinary recording keeps its plain RMS to the bit.
        if not has_surplus and offset == 0 and limited is powers:
            return Level(plain, plain)
        weights = silence_weights(active, 0.0) if has_surplus else None
        counted = counts if weights is None else counts * weights
        energy = float((limited * counted).sum())
        return Level(math.sqrt(energy / max(1.0, float(counted.sum()))), plain, offset)

    def _add(self, samples: NDArray[np.floating]) -> None:
        frames = samples.astype(np.float64).reshape(-1, self.frame)
        self._squares.append(np.square(frames).sum(axis=1))
        self._sums.append(frames.sum(axis=1))

    def _totals(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Sums of squares, sums and samples of each frame; the last may be shorter."""
        rest = self._rest.astype(np.float64)
        last = [len(rest)] if len(rest) else []
        squares = np.concatenate([*self._squares, np.square(rest).sum(keepdims=True)[: len(last)]])
        sums = np.concatenate([*self._sums, rest.sum(keepdims=True)[: len(last)]])
        counts = np.full(len(squares), float(self.frame))
        counts[len(counts) - len(last) :] = last
        return squares, sums, counts


@untraced
def measure_level(pieces: Iterable[NDArray[np.floating]], sample_rate: int) -> Level:
    """Measure the level of a recording.

    Args:
        pieces: Consecutive samples (n,), of any length.
        sample_rate: Hz.
    """
    meter = FramePowers(sample_rate)
    for piece in pieces:
        meter.push(piece)
    return meter.level()


def _offset(squares: NDArray[np.float64], sums: NDArray[np.float64], num_samples: int) -> float:
    """The mean of all samples where it holds much of their energy, else 0."""
    if len(sums) < SHORTEST_OFFSET:
        return 0.0  # of a sound so short the mean is the sound
    mean = float(sums.sum()) / max(1, num_samples)
    share = mean**2 * num_samples
    return mean if share > OFFSET_SHARE * float(squares.sum()) else 0.0

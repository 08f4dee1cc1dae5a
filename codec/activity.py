"""Speech activity: the frames of a recording that hold speech, and the level of these alone.

Active speech level after ITU-T P.56 (method B): a frame is active where the envelope, held for
200 ms after each sound, lies above a threshold 15.9 dB below the mean power of the active frames.
The threshold follows the recording, so that neither its level nor soft room noise matters. Unlike
there, sounds shorter than 80 ms that stand out of everything else, such as clicks, do not count.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

FRAME_SECONDS = 0.02
HANGOVER_SECONDS = 0.2
MARGIN_DB = 15.9  # from the threshold up to the active level
CLICK_SECONDS = 0.08  # longest sound that may be a click
CLICK_SHARE = 10.0  # times the loudest frame of everything longer
# Share of silence from which on the surplus is left out of a level: codes of a recording that has
# less, which nearly every clip of a speech corpus is, are those of its plain RMS.
LEVEL_SILENCE = 0.5
# What silence then counts as: the share of it in a dense clip.
COUNTED_SILENCE = 0.05
OFFSET_SHARE = 0.1  # of the energy: a constant offset from there on is taken out
SHORTEST_OFFSET = 10  # frames
STEADY_SECONDS = 0.6  # that noise stays within 3 dB
NOISY_SHARE = 6.0  # of loud frames over the floor: with less, speech and noise cannot be told
EDGE_SECONDS = 0.1  # of silence that is kept on either side of speech that is cut out
LONGEST_EDGE_SECONDS = 0.3  # of silence that is left as it is
SILENT_RMS, SILENT_DBFS = 1e-6, -120.0

Function = TypeVar("Function", bound=Callable[..., object])


def _untraced(function: Function) -> Function:
    """Keep torch.compile out of a function: it would trace NumPy, of which it has only a part."""

    @wraps(function)
    def run(*values: object) -> object:
        # To say so takes a second of imports, which are there once something is compiled.
        if "torch._dynamo" not in sys.modules:
            return function(*values)
        return sys.modules["torch"].compiler.disable(function)(*values)

    return run  # type: ignore[return-value]


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


@_untraced
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


def frame_length(sample_rate: int) -> int:
    """Samples of a frame."""
    return max(1, round(sample_rate * FRAME_SECONDS))


def without_clicks(
    powers: NDArray[np.float64], frame_rate: float = 1 / FRAME_SECONDS
) -> NDArray[np.float64]:
    """Powers (F,) in which sounds up to `CLICK_SECONDS` do not stand out of the longer ones.

    Returns:
        The powers themselves where none do.
    """
    longer = _longer_sounds(powers, frame_rate)
    loudest = float(longer.max(initial=0.0))
    clicks = powers > CLICK_SHARE * loudest
    # A click in digital silence is all there is.
    return np.where(clicks, longer, powers) if loudest > 0 and clicks.any() else powers


@_untraced
def silence_weights(active: NDArray[np.bool_], most_silence: float) -> NDArray[np.float32] | None:
    """Weights of frames under which silence counts as much as in an ordinary clip.

    Args:
        active: (F,) frames that hold speech.
        most_silence: Share of silence up to which no frame is weighed.

    Returns:
        (F,) 1 for speech and less for silence; None where all frames weigh the same.
    """
    count = int(active.sum())
    silent = len(active) - count
    if not count or silent <= most_silence * len(active):
        return None
    weight = COUNTED_SILENCE / (1.0 - COUNTED_SILENCE) * count / silent
    return np.where(active, 1.0, weight).astype(np.float32)


@_untraced
def speech_frames(
    powers: NDArray[np.float64], frame_rate: float = 1 / FRAME_SECONDS
) -> NDArray[np.bool_]:
    """Find the frames that hold speech, pauses of up to 200 ms after each sound included.

    Beside the threshold of P.56, which leaves out soft room noise, frames within 6 dB of the noise
    floor are none of speech, and no sound is taken for more than 10 dB above the median of the
    others, so that a knock does not hide it.

    Args:
        powers: (F,) mean squares; their scale does not matter.
        frame_rate: Frames a second.

    Returns:
        (F,); none where all is digital silence.
    """
    powers = without_clicks(powers, frame_rate)
    sounding = powers[powers > 0]
    if not len(sounding):
        return np.zeros(len(powers), dtype=np.bool_)
    loud, floor = float(np.percentile(sounding, 95)), _noise_floor(powers, frame_rate)
    if loud < NOISY_SHARE * floor:  # one stretch of one loudness: no floor shows
        return _above_threshold(powers, frame_rate)
    over = 4.0 * floor
    most = 10.0 * float(np.median(sounding[sounding > over]))
    active = _above_threshold(np.minimum(powers, most), frame_rate)
    return active & (_held(_longer_sounds(powers, frame_rate), frame_rate) > over)


def speech_stretch(
    powers: NDArray[np.float64], wanted: int, frame_rate: float = 1 / FRAME_SECONDS
) -> tuple[int, int, float]:
    """Find the first stretch of a recording that is full of speech.

    Args:
        powers: (F,) mean squares of its frames.
        wanted: Frames of the stretch, or all where there are fewer.
        frame_rate: Frames a second.

    Returns:
        Its first frame, 0 where the recording begins with speech or nearly so; the frame that it
        ends before; and the share of speech among the wanted frames.
    """
    speech = speech_frames(powers, frame_rate)
    if not speech.any():
        return 0, len(powers), 0.0
    size = min(wanted, len(powers))
    counts = np.convolve(speech, np.ones(size), "valid")
    # the first of those that hold nearly as much as the fullest
    start = int((counts >= 0.9 * counts.max()).argmax())
    margin, most = round(EDGE_SECONDS * frame_rate), round(LONGEST_EDGE_SECONDS * frame_rate)
    # Silence before the speech is left out where it is more than a breath; so is that behind it.
    lead = int(speech[start:].argmax())
    start += lead - margin if lead > most else 0
    stop = min(start + size, len(powers))
    share = float(speech[start:stop].sum()) / size
    rest = int(speech[start:stop][::-1].argmax())
    return start, stop - (rest - margin if rest > most else 0), share


def _above_threshold(powers: NDArray[np.float64], frame_rate: float) -> NDArray[np.bool_]:
    """Active frames (F,) after P.56; none where all is digital silence."""
    envelope = _longer_sounds(powers, frame_rate)
    if not len(powers) or envelope.max() <= 0:
        return np.zeros(len(powers), dtype=np.bool_)
    # 1. The envelope holds each sound for the hangover.
    envelope = _held(envelope, frame_rate)
    # 2. Thresholds from the loudest frame down, and the level of what lies above each.
    thresholds = envelope.max() * 10.0 ** (-0.05 * np.arange(400))  # by 0.5 dB
    above = len(envelope) - np.searchsorted(np.sort(envelope), thresholds)
    levels = powers.sum() / above
    # 3. The highest that is so far below its level.
    fits = levels >= thresholds * 10.0 ** (MARGIN_DB / 10.0)
    return envelope >= thresholds[int(fits.argmax())]


def _noise_floor(powers: NDArray[np.float64], frame_rate: float) -> float:
    """The 10th percentile of powers above 0, or that of steady noise beside the speech.

    Noise puts many frames within 3 dB of each other, one after another; speech never does for long.
    """
    ordered = np.sort(powers[powers > 0])
    floor, loud = np.percentile(ordered, [10, 95])
    counts = np.searchsorted(ordered, 2.0 * ordered, "right") - np.arange(len(ordered))
    densest = int(counts.argmax())
    steady = float(ordered[densest + counts[densest] // 2])
    within = (powers >= ordered[densest]) & (powers <= 2.0 * ordered[densest])
    size = max(1, round(STEADY_SECONDS * frame_rate))
    lasts = len(powers) >= size and np.convolve(within, np.ones(size), "valid").max() >= 0.8 * size
    is_noise = lasts and loud >= NOISY_SHARE * steady
    return max(float(floor), steady) if is_noise else float(floor)


def _held(envelope: NDArray[np.float64], frame_rate: float) -> NDArray[np.float64]:
    """The envelope (F,) with each sound held for the hangover."""
    held = max(1, round(HANGOVER_SECONDS * frame_rate))
    padded = np.concatenate([np.zeros(held - 1), envelope])
    return sliding_window_view(padded, held).max(axis=1)


def _longer_sounds(powers: NDArray[np.float64], frame_rate: float) -> NDArray[np.float64]:
    """Powers (F,) less what is shorter than a click: a grey-scale opening of the envelope."""
    width = max(1, round(CLICK_SECONDS * frame_rate))
    if len(powers) < 2 * width:  # a clip of a sound or two
        return powers
    # Every stretch of `width` frames lasts as long as its softest frame.
    edge = np.zeros(width - 1)
    softest = sliding_window_view(powers, width).min(axis=1)
    padded = np.concatenate([edge, softest, edge])
    return sliding_window_view(padded, width).max(axis=1)


def _offset(squares: NDArray[np.float64], sums: NDArray[np.float64], num_samples: int) -> float:
    """The mean of all samples where it holds much of their energy, else 0."""
    if len(sums) < SHORTEST_OFFSET:
        return 0.0  # of a sound so short the mean is the sound
    mean = float(sums.sum()) / max(1, num_samples)
    share = mean**2 * num_samples
    return mean if share > OFFSET_SHARE * float(squares.sum()) else 0.0

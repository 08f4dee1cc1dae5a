"""Speech activity: the frames of a recording that hold speech.

Active speech level after ITU-T P.56 (method B): a frame is active where the envelope, held for
200 ms after each sound, lies above a threshold 15.9 dB below the mean power of the active frames.
The threshold follows the recording, so that neither its level nor soft room noise matters. Unlike
there, sounds shorter than 80 ms that stand out of everything else, such as clicks, do not count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
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
# What the silence of a recording that is mostly silent counts as: its share in a dense clip.
COUNTED_SILENCE = 0.05
STEADY_SECONDS = 0.6  # that noise stays within 3 dB
NOISY_SHARE = 6.0  # of loud frames over the floor: with less, speech and noise cannot be told
EDGE_SECONDS = 0.1  # of silence that is kept on either side of speech that is cut out
LONGEST_EDGE_SECONDS = 0.3  # of silence that is left as it is

Function = TypeVar("Function", bound=Callable[..., object])


def untraced(function: Function) -> Function:
    """Keep torch.compile out of a function: it would trace NumPy, of which it has only a part."""

    @wraps(function)
    def run(*values: object) -> object:
        # To say so takes a second of imports, which are there once something is compiled.
        if "torch._dynamo" not in sys.modules:
            return function(*values)
        return sys.modules["torch"].compiler.disable(function)(*values)

    return run  # type: ignore[return-value]


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


@untraced
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


@untraced
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

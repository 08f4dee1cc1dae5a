"""Random changes of a training crop: level, spectrum, pitch, noise and rooms.

Each is drawn from a generator that the caller makes from seed, batch and row, so that a crop is
the same whatever came before it.
"""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from .config import PerturbationConfig

Samples = NDArray[np.float32]
PEAK = 0.99  # of a crop that was made louder
LOWEST_HZ = 50.0  # of what an equalizer bends
NUM_PEAKS = 3
# Zeros behind a crop that a filter of zero phase may ring into, samples.
FILTER_MARGIN = 4096
# Of the overlapping segments that a change of tempo moves, samples; the search for the best
# overlap steps by `COARSE` first.
SEGMENT, REACH, COARSE = 1024, 256, 8


class Perturbation:
    """Changes of crops by a configuration.

    Args:
        config: Which changes, and how large.
        sample_rate: Of the crops, Hz.
    """

    def __init__(self, config: PerturbationConfig, sample_rate: int) -> None:
        self.config = config
        self.sample_rate = sample_rate

    def changed_recording(self, crop: Samples, draw: np.random.Generator) -> Samples:
        """Change pitch, spectrum and level of a crop (T,), for input and target alike."""
        config = self.config
        if config.pitch > 0:
            crop = shifted(crop, float(draw.uniform(-config.pitch, config.pitch)))
        if config.equalizer > 0:
            gains = random_response(len(crop), self.sample_rate, config.equalizer, draw)
            crop = at_level_of(crop, filtered(crop, gains))
        if config.gain > 0:
            gain = 10 ** (float(draw.uniform(-config.gain, config.gain)) / 20)
            crop = crop * np.float32(min(gain, max(1.0, PEAK / _peak(crop))))
        return crop.astype(np.float32, copy=False)

    def degraded(self, crop: Samples, draw: np.random.Generator) -> Samples:
        """Give a crop (T,) a room and noise, at the level it has, for the encoder's input."""
        config, found = self.config, crop
        # Drawn whether or not it is used: a share changes which crops are noisy, not the noise.
        with_room, with_noise = draw.random(2) < (config.reverberation, config.noise)
        if with_room:
            found = reverberated(found, self.sample_rate, config.reverberation_seconds, draw)
        if with_noise:
            ratio = float(draw.uniform(*config.noise_snr))
            noise = random_noise(len(crop), self.sample_rate, draw)
            found = found + noise * np.float32(rms(crop) * 10 ** (-ratio / 20))
        return at_level_of(crop, found) if with_room or with_noise else crop


def rms(crop: NDArray[np.floating]) -> float:
    """Root mean square of samples."""
    return float(np.sqrt(np.mean(np.square(crop, dtype=np.float64))))


def _peak(crop: Samples) -> float:
    return max(float(np.abs(crop).max()), 1e-6)


def at_level_of(crop: Samples, changed: NDArray[np.floating]) -> Samples:
    """Scale changed samples to the level of a crop, silence unchanged."""
    level = rms(changed)
    gain = rms(crop) / level if level > 1e-6 else 1.0
    return (changed * gain).astype(np.float32)


def _bins(num_samples: int, sample_rate: int) -> NDArray[np.float64]:
    """Octaves over `LOWEST_HZ` of the bins that `filtered` weighs, 0 below it."""
    hz = np.fft.rfftfreq(num_samples + FILTER_MARGIN, 1 / sample_rate)
    return np.log2(np.maximum(hz, LOWEST_HZ) / LOWEST_HZ)


def random_response(
    num_samples: int, sample_rate: int, most: float, draw: np.random.Generator
) -> NDArray[np.float64]:
    """Draw a smooth frequency response: a tilt, and peaks or notches of half to two octaves.

    Args:
        num_samples: Length of the crop, samples.
        sample_rate: Hz.
        most: Bound of the tilt from end to end and of each peak, dB.
        draw: Source of chance.

    Returns:
        Gains of the bins of `filtered`.
    """
    octaves = _bins(num_samples, sample_rate)
    decibels = draw.uniform(-most, most) * (octaves / octaves[-1] - 0.5)
    for _ in range(NUM_PEAKS):
        centre, width = draw.uniform(0, octaves[-1]), draw.uniform(0.5, 2.0)
        decibels += draw.uniform(-most, most) * np.exp(-0.5 * ((octaves - centre) / width) ** 2)
    return 10 ** (decibels / 20)


def filtered(crop: Samples, gains: NDArray[np.float64]) -> Samples:
    """Weigh the spectrum of a crop by gains, without delay."""
    size = len(crop) + FILTER_MARGIN
    return np.fft.irfft(np.fft.rfft(crop, size) * gains, size)[: len(crop)].astype(np.float32)


def random_noise(num_samples: int, sample_rate: int, draw: np.random.Generator) -> Samples:
    """Draw noise of unit level: from white to a fall of 9 dB an octave, with a smooth response."""
    white = draw.standard_normal(num_samples).astype(np.float32)
    slope = -float(draw.uniform(0.0, 9.0)) * _bins(num_samples, sample_rate)
    gains = random_response(num_samples, sample_rate, 6.0, draw) * 10 ** (slope / 20)
    noise = filtered(white, gains)
    return noise / np.float32(max(rms(noise), 1e-6))


def reverberated(
    crop: Samples, sample_rate: int, seconds: tuple[float, float], draw: np.random.Generator
) -> Samples:
    """Convolve a crop with a room's response: the direct sound, and noise that decays.

    The direct sound stays at its place, so that codes and target agree in time.

    Args:
        crop: (T,).
        sample_rate: Hz.
        seconds: Bounds of the time of a fall by 60 dB.
        draw: Source of chance.

    Returns:
        (T,).
    """
    decay = float(np.exp(draw.uniform(*np.log(seconds))))
    count = max(2, round(decay * sample_rate))
    times = np.arange(count) / sample_rate
    tail = draw.standard_normal(count) * 10 ** (-3 * times / decay)
    # Walls answer after 2 to 20 ms; the tail has a share of the direct sound's energy.
    tail[: round(float(draw.uniform(0.002, 0.02)) * sample_rate)] = 0.0
    ratio = float(draw.uniform(0.0, 12.0))  # dB of direct sound over the tail
    response = tail * (10 ** (-ratio / 20) / max(float(np.sqrt(np.sum(tail**2))), 1e-9))
    response[0] = 1.0
    return oaconvolve(crop, response.astype(np.float32))[: len(crop)].astype(np.float32)


def shifted(crop: Samples, semitones: float) -> Samples:
    """Move pitch and formants of a crop (T,) at its tempo.

    The crop is stretched by overlapping segments where they agree best (WSOLA,
    https://doi.org/10.1109/ICASSP.1993.319366), then played faster or slower by as much.
    """
    factor = 2 ** (semitones / 12)
    stretched = _stretched(crop, round(len(crop) * factor))
    played = soxr.resample(stretched, len(stretched), len(crop), quality="MQ")[: len(crop)]
    return np.pad(played, (0, len(crop) - len(played)))


def _stretched(crop: Samples, length: int) -> Samples:
    """Stretch or shorten a crop to `length` samples without moving its pitch."""
    hop = SEGMENT // 2
    window = np.hanning(SEGMENT + 1)[:-1].astype(np.float32)  # halves add up to 1
    padded = np.pad(crop, (hop, SEGMENT + 2 * REACH + hop))
    count = -(-length // hop) + 1
    output = np.zeros((count + 1) * hop, dtype=np.float32)
    rate, start = len(crop) / length, 0
    for number in range(count):
        # 1. Go on where the segment before would naturally, or at the best place near the wanted.
        wanted = min(round(number * hop * rate), len(crop))
        start = wanted if number == 0 else _best_start(padded, start + hop, wanted)
        # 2. Add it with its neighbours' halves.
        output[number * hop :][:SEGMENT] += window * padded[start : start + SEGMENT]
    return output[hop : hop + length]


def _best_start(padded: Samples, natural: int, wanted: int) -> int:
    """Find the segment within `REACH` of `wanted` that is most like the one at `natural`."""
    model = padded[natural : natural + SEGMENT]
    model = np.pad(model, (0, SEGMENT - len(model)))
    low, high = max(0, wanted - REACH), wanted + REACH
    for step, reach in ((COARSE, 0), (1, COARSE)):
        if reach:
            low, high = max(low, wanted - reach), min(high, wanted + reach)
        starts = np.arange(low, high + 1, step)
        candidates = np.lib.stride_tricks.sliding_window_view(padded[low:], SEGMENT)
        rows = candidates[: high - low + 1 : step, ::step]
        scores = rows @ model[::step]
        norms = np.sqrt(np.sum(np.square(rows), axis=1)) + 1e-6
        wanted = int(starts[: len(rows)][np.argmax(scores / norms)])
    return wanted

"""Likelihood pairs built from recordings of several speakers, of which one continues as it should.

In every kind both recordings of a pair are spliced at the same time by the same crossfade, from
halves of the same loudness, so that neither the joint nor the level tells them apart: only what
follows it does.

- speaker_switch: first half of A, then a half of A from another recording; or of B, another voice
  (of the same gender where it is known).
- gender_switch: likewise, B of the other gender.
- background_splice: a faint noise through all of it; or another kind of noise from the joint on.
- reverberation_change: one room through all of it; or another from the joint on.
- shuffled_halves: first half, then the second; or the second, then the first, spliced alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import soundfile
from scipy.signal import fftconvolve, lfilter

from codec.audio.io import writing
from codec.checks import all_finite, at_least, require
from codec.files import whole_file
from eval.protocols import MetricError
from eval.sound import load_sound, resampled

from .pairs import LikelihoodPair, write_pairs

KINDS = (
    "speaker_switch",
    "gender_switch",
    "background_splice",
    "reverberation_change",
    "shuffled_halves",
)
RATE = 16000
LEVEL_DBFS = -26.0
CROSSFADE_SECONDS = 0.03
# Left out between the halves of one recording: else its own joint would be the only smooth one.
GAP_SECONDS = 0.15
HALF_SECONDS = 2.0
NOISE_SNR_DB = 12.0
PEAK = 0.95
ROOMS_SECONDS = (0.25, 0.9)


@dataclass(frozen=True)
class Recording:
    """A recording that pairs are built from."""

    path: Path  # audio of at least two halves' length
    speaker: str
    gender: str = ""  # "f" or "m"; "" where it is not known


@dataclass(frozen=True)
class PairSettings:
    """Settings of `build_pairs`."""

    kinds: Sequence[str] = KINDS
    per_kind: int = 50  # pairs of each kind, at most
    half_seconds: float = HALF_SECONDS  # length of each half
    sample_rate: int = RATE  # of the files written, Hz
    seed: int = 0  # draws recordings, noises and rooms

    def __post_init__(self) -> None:
        all_finite("", self)
        wanted = f"some of {', '.join(KINDS)}"
        require(bool(self.kinds) and set(self.kinds) <= set(KINDS), "kinds", wanted, self.kinds)
        at_least("per_kind", self.per_kind, 1)
        at_least("half_seconds", self.half_seconds, 4 * CROSSFADE_SECONDS)


def build_pairs(
    recordings: Sequence[Recording], folder: Path, settings: PairSettings | None = None
) -> list[LikelihoodPair]:
    """Write <kind>/<n>_pos.wav, <n>_neg.wav and pairs.jsonl, the same for the same seed.

    A kind for which the recordings do not suffice (no second speaker, no genders) gives no pair.

    Raises:
        ValueError: No pair of any kind could be built.
    """
    settings = settings or PairSettings()
    pairs: list[LikelihoodPair] = []
    for kind in settings.kinds:
        # A draw of its own for every kind, so that leaving one out does not change the others.
        rng = Random(f"{settings.seed}/{kind}")
        order = sorted(recordings, key=lambda r: str(r.path))
        rng.shuffle(order)
        made = 0
        for first in order:
            if made == settings.per_kind:
                break
            waves = _waves(kind, first, order, settings, rng)
            if waves is not None:
                pairs.append(_written(waves, folder, kind, made, settings, first.speaker))
                made += 1
    if not pairs:
        raise ValueError(
            f"expected recordings of {2 * settings.half_seconds} s or more, of two speakers, with "
            f"two of one of them, got {len(recordings)} that give no pair"
        )
    write_pairs(folder / "pairs.jsonl", pairs)
    return pairs


Waves = tuple[np.ndarray, np.ndarray, float]  # pos, neg, seconds of the change


def _waves(
    kind: str, first: Recording, others: Sequence[Recording], settings: PairSettings, rng: Random
) -> Waves | None:
    """Build one pair, or None where these recordings do not suffice."""
    rate = settings.sample_rate
    try:
        one, two = halves(first.path, settings)
        if kind in {"speaker_switch", "gender_switch"}:
            same, other = _partners(kind, first, others, rng)
            if same is None or other is None:
                return None
            pos, neg = (
                splice(one, halves(partner.path, settings)[1], rate) for partner in (same, other)
            )
        elif kind == "shuffled_halves":
            # Spliced at the same time, but different from the first sample on.
            return splice(one, two, rate), splice(two, one, rate), 0.0
        else:
            change = _noisy if kind == "background_splice" else _roomy
            kept, changed = change(one, two, rate, rng)
            pos, neg = (splice(kept[0], second, rate) for second in (kept[1], changed))
    except MetricError:
        return None
    return pos, neg, settings.half_seconds - CROSSFADE_SECONDS


def _partners(
    kind: str, first: Recording, others: Sequence[Recording], rng: Random
) -> tuple[Recording | None, Recording | None]:
    """Draw another recording of the same voice, and one of another voice."""
    same = [r for r in others if r.speaker == first.speaker and r.path != first.path]
    apart = [r for r in others if r.speaker != first.speaker]
    if kind == "gender_switch":
        apart = [r for r in apart if first.gender and r.gender and r.gender != first.gender]
    else:
        apart = [r for r in apart if r.gender == first.gender]
    return (rng.choice(same) if same else None), (rng.choice(apart) if apart else None)


def halves(path: Path, settings: PairSettings) -> tuple[np.ndarray, np.ndarray]:
    """Cut two stretches (N,) from the middle of a recording, one after the other, at one loudness.

    Between them 0.15 s are left out, so that the joint of a recording with itself is a splice.

    Raises:
        MetricError: Unreadable, too short, or a half that is silent.
    """
    sound = load_sound(path)
    waveform = resampled(sound.waveform, sound.sample_rate, settings.sample_rate)
    size = round(settings.half_seconds * settings.sample_rate)
    gap = round(GAP_SECONDS * settings.sample_rate)
    start = (len(waveform) - (2 * size + gap)) // 2
    if start < 0:
        raise MetricError(f"{path.name}: expected {2 * settings.half_seconds + GAP_SECONDS} s")
    parts = (waveform[start : start + size], waveform[start + size + gap :][:size])
    first, second = (levelled(part) for part in parts)
    return first, second


def levelled(waveform: np.ndarray, dbfs: float = LEVEL_DBFS) -> np.ndarray:
    """Bring a waveform (N,) to a level of its loud frames, so that pauses do not count.

    Raises:
        MetricError: It is silent.
    """
    frames = waveform[: len(waveform) // 320 * 320].reshape(-1, 320).astype(np.float64)
    power = (frames**2).mean(axis=1)
    # Loud is what lies within 40 dB of the loudest frame.
    loud = float(power[power >= 1e-4 * power.max()].mean()) if power.size else 0.0
    if loud < 1e-9:
        raise MetricError("a half is silent")
    return waveform * np.sqrt(10.0 ** (dbfs / 10.0) / loud)


def splice(first: np.ndarray, second: np.ndarray, sample_rate: int) -> np.ndarray:
    """Join two waveforms (N,) and (M,) by an equal-gain crossfade, (N + M - fade,)."""
    fade = round(CROSSFADE_SECONDS * sample_rate)
    ramp = np.linspace(0.0, 1.0, fade)
    middle = first[-fade:] * (1.0 - ramp) + second[:fade] * ramp
    return np.concatenate([first[:-fade], middle, second[fade:]])


# Both halves alike, and the second half changed.
Changed = tuple[tuple[np.ndarray, np.ndarray], np.ndarray]


def _noisy(one: np.ndarray, two: np.ndarray, rate: int, rng: Random) -> Changed:
    """Add one noise to both halves, and another to the second."""
    colours = rng.sample(sorted(NOISES), 2)
    seeds = [rng.randrange(2**31) for _ in range(2)]
    noise, other = (
        levelled(NOISES[colour](np.random.default_rng(seed), len(one) + len(two), rate))
        * 10.0 ** (-NOISE_SNR_DB / 20.0)
        for colour, seed in zip(colours, seeds, strict=True)
    )
    fade = round(CROSSFADE_SECONDS * rate)
    # The second half begins where the crossfade does, so that its noise goes on there.
    later = len(one) - fade
    kept = (one + noise[: len(one)], two + noise[later:][: len(two)])
    return kept, two + other[later:][: len(two)]


def _roomy(one: np.ndarray, two: np.ndarray, rate: int, rng: Random) -> Changed:
    """Reverberate both halves in one room, and the second in another; their order is drawn."""
    lengths = rng.sample(ROOMS_SECONDS, 2)
    ours, other = (room_response(length, rate, rng.randrange(2**31)) for length in lengths)
    first, second, changed = (
        levelled(fftconvolve(half, room)[: len(half)])
        for half, room in ((one, ours), (two, ours), (two, other))
    )
    return (first, second), changed


def room_response(decay_seconds: float, sample_rate: int, seed: int) -> np.ndarray:
    """Draw noise that falls by 60 dB in `decay_seconds` behind the direct sound, (N,)."""
    count = round(decay_seconds * sample_rate)
    times = np.arange(count) / sample_rate
    tail = np.random.default_rng(seed).standard_normal(count) * 10.0 ** (
        -3.0 * times / decay_seconds
    )
    response = 0.6 * tail / np.sqrt((tail**2).sum())
    response[0] = 1.0
    return response


def _white(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    """Hiss."""
    return rng.standard_normal(count)


def _rumble(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    """Noise below about 200 Hz."""
    pole = float(np.exp(-2.0 * np.pi * 200.0 / rate))
    return np.asarray(lfilter([1.0 - pole], [1.0, -pole], rng.standard_normal(count)))


def _hum(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    """Mains hum and its harmonics, with a little hiss."""
    phase = 2.0 * np.pi * 120.0 * np.arange(count) / rate
    tones = [np.sin(k * phase + rng.uniform(0, 2 * np.pi)) / k for k in range(1, 9)]
    return np.sum(tones, axis=0) + 0.02 * rng.standard_normal(count)


def _machine(rng: np.random.Generator, count: int, rate: int) -> np.ndarray:
    """Hiss that swells and fades seven times a second."""
    swell = 1.0 + 0.9 * np.sin(2.0 * np.pi * 7.0 * np.arange(count) / rate)
    return swell * rng.standard_normal(count)


NOISES: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "white": _white,
    "rumble": _rumble,
    "hum": _hum,
    "machine": _machine,
}


def _written(
    waves: Waves, folder: Path, kind: str, number: int, settings: PairSettings, speaker: str
) -> LikelihoodPair:
    """Write both recordings of a pair at one gain; pairs of one speaker resemble each other."""
    pos, neg, change = waves
    peak = max(np.abs(pos).max(), np.abs(neg).max())
    gain = min(1.0, PEAK / peak)
    paths = []
    for side, waveform in (("pos", pos), ("neg", neg)):
        path = folder / kind / f"{number:04d}_{side}.wav"
        with whole_file(path) as partial, writing(path):
            samples = (gain * waveform).astype(np.float32)
            soundfile.write(partial, samples, settings.sample_rate, format="WAV")
        paths.append(path)
    name, group = f"{number:04d}", speaker or None
    return LikelihoodPair(name, kind, "", paths[0], paths[1], change, change, group)

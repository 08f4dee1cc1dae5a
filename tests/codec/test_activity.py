"""Speech activity: the level of speech amid silence, clicks, noise and offsets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from codec.activity import (
    silence_weights,
    speech_frames,
    speech_stretch,
)
from codec.speech_level import FramePowers, measure_level

RATE = 24_000
Waveforms = Callable[..., np.ndarray]


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


def noise(seconds: float, dbfs: float) -> np.ndarray:
    generator = np.random.default_rng(3)
    drawn = generator.standard_normal(round(seconds * RATE))
    return (drawn * 10 ** (dbfs / 20)).astype(np.float32)


def click() -> np.ndarray:
    samples = silence(0.5)
    samples[4000:4024] = 0.95
    return samples


def dbfs(*pieces: np.ndarray) -> float:
    return measure_level(pieces, RATE).dbfs


def powers_of(waveform: np.ndarray) -> np.ndarray:
    meter = FramePowers(RATE)
    meter.push(waveform)
    return meter.powers()[0]


@pytest.mark.parametrize("seconds", [3.0, 20.0])
@pytest.mark.parametrize("between", [-np.inf, -60.0, -45.0])
def test_the_level_is_that_of_the_speech_however_long_the_silence(
    make_waveform: Waveforms, seconds: float, between: float
) -> None:
    speech = 0.4 * make_waveform(3.0)
    around = noise(seconds, between)
    assert dbfs(around, speech, around) == pytest.approx(dbfs(speech), abs=0.8)


def test_an_ordinary_recording_has_its_plain_rms_to_the_bit(make_waveform: Waveforms) -> None:
    speech = np.concatenate([silence(0.5), make_waveform(3.0), silence(0.7)])
    level = measure_level([speech], RATE)
    assert level.rms == level.plain
    assert level.ratio == 1.0
    assert level.offset == 0.0
    assert level.plain == pytest.approx(np.sqrt(np.mean(np.square(speech, dtype=np.float64))))


def test_the_level_does_not_depend_on_the_pieces(make_waveform: Waveforms) -> None:
    speech = np.concatenate([silence(4.0), make_waveform(2.0), silence(1.0)])
    whole = measure_level([speech], RATE)
    pieces = measure_level(np.split(speech, [1, 500, 40_007, 150_000]), RATE)
    assert pieces.rms == pytest.approx(whole.rms, rel=1e-12)


def test_a_click_does_not_make_soft_speech_softer(make_waveform: Waveforms) -> None:
    speech = 0.05 * make_waveform(3.0)
    assert dbfs(click(), speech) == pytest.approx(dbfs(silence(0.5), speech), abs=0.1)


def test_a_constant_offset_is_no_sound(make_waveform: Waveforms) -> None:
    speech = 0.1 * make_waveform(3.0)
    level = measure_level([speech + np.float32(0.2)], RATE)
    assert level.dbfs == pytest.approx(dbfs(speech), abs=0.1)
    assert level.offset == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("gain", [1e-3, 1e-2, 10.0, 1e4])
def test_speech_is_found_at_any_level(make_waveform: Waveforms, gain: float) -> None:
    speech = np.concatenate([noise(3.0, -60.0), make_waveform(2.0), noise(2.0, -60.0)])
    found = speech_frames(powers_of(np.float32(gain) * speech))
    np.testing.assert_array_equal(found, speech_frames(powers_of(speech)))
    # Held for 200 ms behind the speech.
    assert np.flatnonzero(found)[0] == pytest.approx(150, abs=5)
    assert np.flatnonzero(found)[-1] == pytest.approx(260, abs=10)


def test_silence_has_no_speech_and_a_level_of_its_own() -> None:
    assert not speech_frames(powers_of(silence(2.0))).any()
    assert measure_level([silence(2.0)], RATE).is_silent
    assert dbfs(silence(2.0)) == -120.0
    assert dbfs() == -120.0


def test_silence_weighs_as_in_a_dense_clip_or_as_all_else() -> None:
    active = np.repeat([False, True, False], [70, 20, 10])
    weights = silence_weights(active, 0.3)
    assert weights is not None
    assert set(weights[active]) == {1.0}
    assert weights[~active].sum() / weights.sum() == pytest.approx(0.05, abs=1e-3)
    assert silence_weights(active, 0.8) is None
    assert silence_weights(~active & active, 0.3) is None


@pytest.mark.parametrize(
    "lead",
    [silence(3.0), noise(3.0, -60.0), noise(3.0, -40.0), np.concatenate([click(), silence(1.0)])],
    ids=["silence", "hiss", "noise", "click"],
)
def test_a_stretch_begins_with_the_speech(make_waveform: Waveforms, lead: np.ndarray) -> None:
    speech = 0.5 * make_waveform(4.0)
    start, stop, share = speech_stretch(powers_of(np.concatenate([lead, speech])), 100)
    assert start == pytest.approx(50 * len(lead) / RATE, abs=12)
    assert stop - start == 100
    assert share > 0.8


def test_a_stretch_of_speech_at_the_start_is_left_where_it_is(make_waveform: Waveforms) -> None:
    speech = np.concatenate([silence(0.2), make_waveform(4.0), silence(3.0)])
    assert speech_stretch(powers_of(speech), 100)[:2] == (0, 100)
    # Silence behind what is left of the speech is cut off.
    start, stop, _ = speech_stretch(powers_of(np.concatenate([speech[:40_000], silence(5.0)])), 300)
    assert start == 0
    assert stop == pytest.approx(98, abs=5)

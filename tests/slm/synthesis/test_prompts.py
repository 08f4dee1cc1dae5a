"""Prompts that begin with something else than speech, and the ends of generated speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codec.audio import write_audio
from slm import Synthesizer
from slm.synthesis.prompts import voice_samples
from slm.synthesis.result import faded_out

RATE, HOP = 24_000, 1024
Waveforms = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def synthesizer(model_folders: tuple[Path, Path]) -> Synthesizer:
    return Synthesizer.from_pretrained(*model_folders)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


def noise(seconds: float, dbfs: float) -> np.ndarray:
    drawn = np.random.default_rng(3).standard_normal(round(seconds * RATE))
    return (drawn * 10 ** (dbfs / 20)).astype(np.float32)


def click() -> np.ndarray:
    samples = silence(1.0)
    samples[4000:4024] = 0.95
    return samples


def taken(waveform: np.ndarray, most: int = 240_000) -> np.ndarray:
    def read(first: int, count: int) -> np.ndarray:
        assert count <= most
        return waveform[first : first + count]

    return voice_samples(read, len(waveform), RATE, wanted=48 * HOP, most=most)


@pytest.mark.parametrize(
    "lead",
    [silence(3.0), noise(3.0, -60.0), noise(3.0, -40.0), click(), silence(35.0)],
    ids=["silence", "hiss", "noise", "click", "long"],
)
def test_what_stands_before_the_speech_is_passed_over(
    make_waveform: Waveforms, lead: np.ndarray
) -> None:
    speech = make_waveform(4.0)
    found = taken(np.concatenate([lead, speech]))
    # No more than 0.3 s of what was there, and then the speech.
    start = next(n for n in range(len(speech)) if speech[n] != 0)
    begin = len(lead) + len(speech) - len(found)
    assert abs(begin - len(lead) - start) <= 0.3 * RATE
    np.testing.assert_array_equal(found[-RATE:], speech[-RATE:])


def test_a_prompt_that_begins_with_speech_is_taken_from_its_start(
    make_waveform: Waveforms,
) -> None:
    speech = np.concatenate([noise(0.2, -60.0), make_waveform(3.0)])
    np.testing.assert_array_equal(taken(speech), speech)


@pytest.mark.parametrize("seconds", [0.2, 3.0, 50.0])
def test_digital_silence_before_a_prompt_changes_nothing(
    make_waveform: Waveforms, seconds: float
) -> None:
    """As editors and decoders of files leave it; to the model it is no beginning of speech."""
    speech = np.concatenate([noise(0.2, -60.0), make_waveform(3.0)])
    found = taken(np.concatenate([silence(seconds), speech]))
    # A frame lasts 20 ms: what is before the speech is less than one.
    before = len(found) - len(speech)
    assert abs(before) <= 0.02 * RATE
    np.testing.assert_array_equal(found[-3 * RATE :], speech[-3 * RATE :])


def test_digital_silence_is_refused_as_a_prompt(synthesizer: Synthesizer) -> None:
    with pytest.raises(ValueError, match="expected speech in the prompt, got digital silence"):
        synthesizer.tts("hello", prompt=silence(1.0))


def test_a_file_gives_the_voice_of_its_waveform(
    synthesizer: Synthesizer, make_waveform: Waveforms, tmp_path: Path
) -> None:
    prompt = np.concatenate([silence(50.0), make_waveform(2.0)])
    write_audio(tmp_path / "prompt.wav", prompt, RATE)
    read = synthesizer.read(tmp_path / "prompt.wav")
    of_samples, of_file = (
        synthesizer.tts("hello", prompt=given, seed=1).codes
        for given in (read, tmp_path / "prompt.wav")
    )
    np.testing.assert_array_equal(of_samples, of_file)


def test_speech_ends_in_a_fade() -> None:
    sound = np.ones(1000, dtype=np.float32)
    faded = faded_out(sound, RATE)
    np.testing.assert_array_equal(faded[:760], sound[:760])
    assert (np.diff(faded[760:]) < 0).all()
    assert faded[-1] == 0
    assert faded.dtype == np.float32
    assert faded_out(sound[:3], RATE)[-1] == 0
    assert len(faded_out(sound[:0], RATE)) == 0


def test_a_short_word_dies_away() -> None:
    synthesizer = Synthesizer.from_pretrained("hh-mini-24k", "hh-mini-slm")
    results = synthesizer.tts_batch(["Hi!", "Me."], voices=["kathleen"] * 2, seeds=[1, 1])
    for result in results:
        frames = result.waveform[: len(result.waveform) // 240 * 240].reshape(-1, 240)
        powers = np.square(frames).mean(axis=1)
        assert 10 * np.log10(powers[-2:].mean() / powers.max()) < -15
        assert len(result.waveform) == len(result.codes) * HOP

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from codec.audio import read_audio
from slm import Synthesizer
from slm.generation.config import GenerationSettings
from slm.synthesis.recordings import as_recording, with_rate

RATE = 24_000
Waveforms = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def clip(make_waveform: Waveforms) -> np.ndarray:
    return make_waveform(0.5)


def test_samples_are_taken_however_they_are_held(clip: np.ndarray) -> None:
    stereo = np.stack([clip, clip])
    forms: list[Any] = [
        clip,
        clip.astype(np.float64),
        clip.tolist(),
        torch.from_numpy(clip),
        torch.from_numpy(clip)[None],
        torch.from_numpy(clip)[None, None],
        stereo,
        stereo.T,
        (clip, RATE),
        (RATE, clip),
        (torch.from_numpy(stereo), RATE),
        {"path": "a.wav", "array": clip, "sampling_rate": RATE},
    ]
    for given in forms:
        found = as_recording(given, RATE)
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, clip, atol=1e-7)
    pcm = (clip * 32767).astype(np.int16)
    for given in (pcm, (RATE, pcm)):
        found = as_recording(given, RATE)
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, clip, atol=1e-4)


def test_a_pair_is_resampled_as_a_file_is(tmp_path: Path, make_waveform: Waveforms) -> None:
    slow = make_waveform(0.5, sample_rate=16_000)
    soundfile.write(tmp_path / "a.wav", slow, 16_000, subtype="FLOAT")
    expected = read_audio(tmp_path / "a.wav", RATE)
    found, given = as_recording((slow, 16_000), RATE), with_rate(slow, 16_000)
    assert isinstance(found, np.ndarray)
    assert given is not None
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(as_recording(given, RATE), found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros(0), r"shape \(0,\)"),
        (np.zeros((2, 2, 5)), r"shape \(2, 2, 5\)"),
        (np.array([1, 2]), "ndarray of int64"),
        ({"array": 1}, "dict"),
        ({"array": np.zeros(5), "sampling_rate": None}, "got tuple"),
        (np.array([np.nan]), "finite samples"),
        ((np.zeros(5), 0), r"a rate in 1\.\.768000 Hz, got 0"),
        ((16_000, 24_000), "tuple of int64"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_recording_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_recording(given, RATE)


@pytest.mark.parametrize(
    "given",
    [
        *(None, "a.wav", Path("a.wav"), (np.zeros(3), RATE)),
        {"array": np.zeros(3), "sampling_rate": RATE},
    ],
)
def test_a_rate_belongs_to_samples_alone(given: Any) -> None:
    with pytest.raises(ValueError, match="expected samples for prompt_rate 16000"):
        with_rate(given, 16_000)


def test_a_prompt_of_any_form_gives_the_same_speech(
    model_folders: tuple[Path, Path], tmp_path: Path, clip: np.ndarray
) -> None:
    synthesizer = Synthesizer.from_pretrained(*model_folders)
    soundfile.write(tmp_path / "a.wav", clip, RATE, subtype="FLOAT")
    options: dict[str, Any] = {"settings": GenerationSettings(temperature=0)}
    text = "the quick brown fox"
    expected = synthesizer.tts(text, prompt=clip, **options)
    forms: list[dict[str, Any]] = [
        {"prompt": tmp_path / "a.wav"},
        {"prompt": str(tmp_path / "a.wav")},
        {"prompt": torch.from_numpy(clip)},
        {"prompt": (clip, RATE)},
        {"prompt": clip, "prompt_rate": RATE},
    ]
    for form in forms:
        made = synthesizer.tts(text, **form, **options)
        np.testing.assert_array_equal(made.codes, expected.codes)
    streamed = [
        np.concatenate(list(synthesizer.stream(text, prompt=prompt, **options)))
        for prompt in (clip, (clip, RATE))
    ]
    np.testing.assert_array_equal(streamed[0], streamed[1])
    score = synthesizer.score(clip).log_likelihood
    assert synthesizer.score((RATE, clip)).log_likelihood == score
    longer = synthesizer.continue_speech(tmp_path / "a.wav", 0.2, **options)
    again = synthesizer.continue_speech(torch.from_numpy(clip), 0.2, **options)
    np.testing.assert_array_equal(longer.codes, again.codes)


def test_a_model_generates_from_tokens(model_folders: tuple[Path, Path]) -> None:
    lm = Synthesizer.from_pretrained(*model_folders).lm
    start = lm.vocabulary.code_start
    row = [start, start + 3, start + 5]
    greedy = GenerationSettings(temperature=0)
    (alone,) = lm.generate(row, greedy, max_new_tokens=4)
    assert 0 < len(alone.tokens) <= 4
    both = lm.generate([row, torch.tensor(row[:2])], greedy, max_new_tokens=4)
    assert both[0].tokens.equal(alone.tokens)
    (other,) = lm.generate(np.array([row]), greedy, max_new_tokens=4)
    assert other.tokens.equal(alone.tokens)
    for wrong, message in (
        ([0.5], r"tokens \(S,\)"),
        ([[1], []], r"tokens \(S,\)"),
        ([10**6], "tokens in 0"),
    ):
        with pytest.raises(ValueError, match=message):
            lm.generate(wrong, greedy)

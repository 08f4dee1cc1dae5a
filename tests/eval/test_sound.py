"""Checking, reading and resampling of waveforms."""

import numpy as np
import pytest
import soundfile

from eval.protocols import MetricError
from eval.sound import Sound, checked, load_sound, resampled, sound_digest

RATE = 24000
GOOD = 0.1 * np.sin(np.arange(RATE) / 20)


@pytest.mark.parametrize(
    ("waveform", "reason"),
    [
        (np.zeros(0), "clip is empty"),
        (np.zeros(RATE), "clip is silent"),
        (GOOD[:2400], r"at least 0.3 s, got 0.100 s"),
        (np.where(np.arange(RATE) == 5, np.nan, GOOD), "1 NaN"),
        (np.stack([GOOD, GOOD]), "shape"),
        (GOOD * 32768, "peak of 3276"),
    ],
)
def test_what_cannot_be_measured_is_named(waveform, reason):
    with pytest.raises(MetricError, match=reason):
        checked(waveform, RATE, "clip")


def test_good_audio_passes_unchanged():
    np.testing.assert_array_equal(checked(GOOD, RATE, "clip"), GOOD)


def test_stereo_files_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([GOOD, 0 * GOOD], axis=1), RATE)
    sound = load_sound(tmp_path / "a.wav")
    assert sound.sample_rate == RATE
    np.testing.assert_allclose(sound.waveform, GOOD / 2, atol=1e-4)


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "text.wav").write_text("no audio at all")
    with pytest.raises(MetricError, match=r"text\.wav"):
        load_sound(tmp_path / "text.wav")
    with pytest.raises(MetricError, match=r"no such audio file: gone\.wav"):
        load_sound(tmp_path / "gone.wav")


def test_a_sound_refuses_what_is_no_waveform():
    with pytest.raises(ValueError, match="shape"):
        Sound(np.zeros((2, 5)), RATE)
    with pytest.raises(ValueError, match="sample rate"):
        Sound(np.zeros(5), 0)


def test_resampling_keeps_a_tone():
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    again = resampled(tone, RATE, 16000)
    assert again.size == 16000
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(again[200:-200], expected[200:-200], atol=1e-3)


def test_digests_follow_content(tmp_path):
    assert sound_digest(Sound(GOOD, RATE)) == sound_digest(Sound(GOOD.copy(), RATE))
    assert sound_digest(Sound(GOOD, RATE)) != sound_digest(Sound(GOOD, 16000))
    assert sound_digest(None) == "none"
    assert sound_digest(tmp_path / "gone.wav") == "missing"


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_a_recording_that_was_cut_is_no_sound_to_be_measured(tmp_path, suffix):
    noise = np.random.default_rng(0).normal(scale=0.1, size=RATE)
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, noise, RATE)
    np.testing.assert_allclose(load_sound(path).waveform, soundfile.read(path)[0], atol=1e-6)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(MetricError, match=rf"cannot read a\{suffix} as audio"):
        load_sound(path)


def test_every_whole_file_is_read_as_libsndfile_reads_it(tmp_path):
    noise = np.random.default_rng(0).normal(scale=0.1, size=(RATE, 2))
    for name, subtype in (("a.wav", "FLOAT"), ("b.wav", "GSM610"), ("c.mp3", None)):
        samples = noise if subtype != "GSM610" else noise[:, 0]
        soundfile.write(tmp_path / name, samples, RATE, subtype=subtype)
        expected = soundfile.read(tmp_path / name, dtype="float32", always_2d=True)[0].mean(axis=1)
        np.testing.assert_array_equal(load_sound(tmp_path / name).waveform, expected)

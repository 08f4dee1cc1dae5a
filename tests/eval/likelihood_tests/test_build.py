"""Pairs built from recordings."""

import numpy as np
import pytest
import soundfile

from eval.likelihood_tests.build import (
    KINDS,
    LEVEL_DBFS,
    PairSettings,
    Recording,
    build_pairs,
    levelled,
    splice,
)
from eval.likelihood_tests.pairs import read_pairs
from eval.protocols import MetricError

RATE = 16000
SETTINGS = PairSettings(per_kind=2, half_seconds=0.5)


@pytest.fixture(scope="module")
def recordings(make_speech, tmp_path_factory):
    folder = tmp_path_factory.mktemp("voices")
    found = []
    for number, (speaker, gender) in enumerate([("a", "f"), ("b", "f"), ("c", "m")] * 2):
        path = folder / speaker / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, (0.1 + 0.1 * number) * make_speech(1.5, seed=number), 24000)
        found.append(Recording(path, speaker, gender))
    return found


@pytest.fixture(scope="module")
def built(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    return folder, build_pairs(recordings, folder, SETTINGS)


def test_every_kind_is_built_and_listed(built):
    folder, pairs = built
    assert {pair.suite for pair in pairs} == set(KINDS)
    assert len(pairs) == 2 * len(KINDS)
    assert read_pairs(folder / "pairs.jsonl") == pairs


def test_both_sides_have_one_length_and_one_loudness(built):
    for pair in built[1]:
        pos, neg = (soundfile.read(path)[0] for path in (pair.pos, pair.neg))
        assert pos.size == neg.size
        level = [10 * np.log10((part**2).mean()) for part in (pos, neg)]
        assert abs(level[0] - level[1]) < 3.0
        assert np.abs(pos).max() < 1.0


def test_they_are_the_same_before_the_change_and_differ_after(built):
    for pair in built[1]:
        pos, neg = (soundfile.read(path)[0] for path in (pair.pos, pair.neg))
        assert pair.change_pos is not None
        edge = round(pair.change_pos * RATE)
        np.testing.assert_array_equal(pos[:edge], neg[:edge])
        assert np.abs(pos[edge:] - neg[edge:]).max() > 1e-3


def test_the_seed_decides_every_sample(recordings, built, tmp_path):
    again = build_pairs(recordings, tmp_path / "same", SETTINGS)
    for one, two in zip(built[1], again, strict=True):
        assert one.neg.read_bytes() == two.neg.read_bytes()
    other = build_pairs(
        recordings,
        tmp_path / "other",
        PairSettings(["speaker_switch"], 2, half_seconds=0.5, seed=9),
    )
    first = [p for p in built[1] if p.suite == "speaker_switch"]
    assert any(a.neg.read_bytes() != b.neg.read_bytes() for a, b in zip(first, other, strict=True))


def test_a_joint_is_no_jump():
    first, second = np.full(4000, 0.1), np.full(4000, 0.3)
    joined = splice(first, second, RATE)
    assert joined.size == 8000 - 480
    assert np.abs(np.diff(joined)).max() < 0.001


def test_level_is_that_of_the_loud_frames(make_speech):
    speech = make_speech(1.0, sample_rate=RATE)
    padded = np.concatenate([speech, np.zeros(RATE)])
    for waveform in (speech, 0.01 * speech):
        ours = levelled(waveform)
        np.testing.assert_allclose(levelled(padded)[: speech.size], ours, rtol=0.05, atol=1e-4)
    flat = levelled(np.sin(np.arange(3200.0)))
    assert 10 * np.log10((flat**2).mean()) == pytest.approx(LEVEL_DBFS, abs=0.1)
    with pytest.raises(MetricError, match="silent"):
        levelled(np.zeros(3200))


def test_one_speaker_gives_no_switch(recordings, tmp_path):
    alone = [r for r in recordings if r.speaker == "a"]
    with pytest.raises(ValueError, match="give no pair"):
        build_pairs(alone, tmp_path, PairSettings(["gender_switch"], 1, half_seconds=0.5))


def test_short_recordings_are_passed_over(recordings, tmp_path):
    with pytest.raises(ValueError, match=r"expected recordings of 8\.0 s"):
        build_pairs(recordings, tmp_path, PairSettings(half_seconds=4.0))


@pytest.mark.parametrize("bad", [{"kinds": ["echo"]}, {"per_kind": 0}, {"half_seconds": 0.01}])
def test_wrong_settings_are_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        PairSettings(**bad)

"""Loops in codes and in audio."""

import numpy as np
import pytest

from eval.metrics.duration import looped_audio, looped_codes, runs

RATE = 16000


def test_a_block_that_comes_three_times_is_a_loop():
    lead = np.arange(100, 130)
    codes = np.concatenate([lead, np.tile(np.arange(10), 3), lead])
    marks = looped_codes(codes, 20.0)
    assert np.flatnonzero(marks).tolist() == list(range(30, 60))


def test_twice_is_no_loop_and_neither_is_a_short_one():
    assert not looped_codes(np.tile(np.arange(20), 2), 20.0).any()
    assert not looped_codes(np.tile([1, 2], 4), 20.0).any()
    assert looped_codes(np.tile([1, 2], 10), 20.0).all()


def test_frames_of_several_codebooks_must_agree_in_all():
    first = np.tile([1, 2], 20)
    assert looped_codes(np.stack([first, first]), 20.0).all()
    assert not looped_codes(np.stack([first, np.arange(40)]), 20.0).any()


def test_no_code_is_no_loop():
    assert looped_codes(np.zeros(0, np.int64), 20.0).shape == (0,)
    with pytest.raises(ValueError, match="expected codes"):
        looped_codes(np.zeros(4), 0.0)


def test_speech_that_repeats_is_found_where_it_is(make_speech):
    lead = make_speech(1.5, seed=1, sample_rate=RATE)
    word = make_speech(0.6, seed=2, sample_rate=RATE)
    stuck = np.concatenate([lead, np.tile(word, 5)])
    marks = looped_audio(stuck, RATE)
    assert marks[80:220].mean() > 0.8
    assert marks[:65].mean() < 0.1


def test_plain_speech_silence_and_a_held_tone_are_no_loops(make_speech):
    assert looped_audio(make_speech(4.0, seed=5, sample_rate=RATE), RATE).mean() < 0.05
    assert not looped_audio(np.zeros(3 * RATE), RATE).any()
    tone = 0.1 * np.sign(np.sin(2 * np.pi * 150 * np.arange(3 * RATE) / RATE))
    assert not looped_audio(tone, RATE).any()


def test_runs_are_half_open():
    assert runs(np.array([True, False, True, True])) == [(0, 1), (2, 4)]
    assert runs(np.zeros(0, dtype=bool)) == []

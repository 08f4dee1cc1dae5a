"""Windows of long recordings and the joining of their transcripts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from eval.recognition.windows import Window, cut_windows, joined_transcripts

RATE = 1000


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0.0, 0.1, round(seconds * RATE))


@pytest.mark.parametrize("seconds", [0.5, 29.0, 30.0])
def test_a_short_signal_is_one_window(seconds: float) -> None:
    signal = noise(seconds)
    assert cut_windows(signal, RATE) == [Window(0, signal.size, False)]
    assert cut_windows(signal[:0], RATE) == []


def test_a_few_samples_past_the_longest_window_are_no_window_of_their_own() -> None:
    signal = noise(30.02)
    signal[23_000:23_400] = 0.0
    assert cut_windows(signal, RATE) == [Window(0, 23_200, False), Window(23_200, 30_020, False)]


def test_windows_end_in_the_quietest_pause() -> None:
    signal = noise(70.0)
    for start in (12_000, 26_000, 50_500):
        signal[start : start + 400] *= 0.01
    windows = cut_windows(signal, RATE)
    ends = [window.end for window in windows]
    assert ends[0] == pytest.approx(26_200, abs=120)
    assert ends[1] == pytest.approx(50_700, abs=120)
    assert [window.start for window in windows[1:]] == ends[:-1]
    assert not any(window.is_shared for window in windows)


def test_speech_without_a_pause_is_cut_into_windows_that_overlap() -> None:
    for seconds in (30.02, 44.0, 61.0, 100.0):
        windows = cut_windows(noise(seconds), RATE)
        assert (windows[0].start, windows[-1].end) == (0, round(seconds * RATE))
        for window, following in itertools.pairwise(windows):
            assert window.is_shared
            assert window.end - following.start == 5 * RATE
        sizes = [window.end - window.start for window in windows]
        assert min(sizes) >= 5 * RATE
        assert max(sizes) <= 30 * RATE


def test_overlapping_words_are_joined_once_and_cut_ones_left_out() -> None:
    windows = [Window(0, 30, True), Window(25, 50, False)]
    texts = ["It was the best of times, it was the wor", "est of Times it was the worst of times"]
    assert joined_transcripts(windows, texts) == (
        "It was the best of times, it was the worst of times",
        0,
    )


def test_texts_on_either_side_of_a_pause_are_put_together_as_they_are() -> None:
    windows = [Window(0, 25, False), Window(25, 50, False)]
    assert joined_transcripts(windows, ["yes it is", "it is so"]) == ("yes it is it is so", 0)


def test_an_overlap_without_shared_words_is_counted() -> None:
    windows = [Window(0, 30, True), Window(25, 50, False)]
    assert joined_transcripts(windows, ["one two", "three four"]) == ("one two three four", 1)
    assert joined_transcripts(windows, ["", "three four"]) == ("three four", 0)

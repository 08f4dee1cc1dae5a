import numpy as np
import pytest

from slm.generation.stopping import StopRules, loop_period, silence_codes, trailing_run


def test_a_run_is_counted_from_the_end() -> None:
    assert trailing_run([7, 7, 1, 7, 8], {7, 8}) == 2
    assert trailing_run([7, 7], {7}) == 2
    assert trailing_run([], {7}) == 0


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([5] * 12, 1),
        ([5] * 11, 0),  # not long enough yet
        ([9, *[1, 2, 3, 4] * 3], 4),
        ([1, 2, 3, 4] * 2 + [1, 2, 3, 9], 0),
        ([1, 2, 3, 4, 5] * 2 + [1, 2, 3], 0),  # long enough, but not three times round
        ([1, 2, 3, 4, 5] * 3, 5),
        (list(range(40)), 0),
    ],
)
def test_a_loop_is_a_period_that_lasts(codes: list[int], expected: int) -> None:
    assert loop_period(codes, longest_period=6, longest_loop=12) == expected


def test_rules_say_why_and_can_be_switched_off() -> None:
    rules = StopRules(frozenset({3}), longest_silence=4, longest_period=2, longest_loop=8)
    assert rules.broken([1, 3, 3, 3]) == ""
    assert rules.broken([3, 3, 3, 3]) == "silence"
    assert rules.broken([1, 2] * 4) == "loop"
    off = StopRules(frozenset({3}), longest_silence=0, longest_period=0)
    assert off.broken([3] * 500) == ""
    with pytest.raises(ValueError, match="longest_loop: expected a number >= 0"):
        StopRules(longest_loop=-1)


def test_silence_codes_are_those_of_inaudible_sound() -> None:
    """A codec of two codes: quieter than -60 dBFS, or not."""

    def encode(waveform: np.ndarray) -> np.ndarray:
        frames = waveform[: len(waveform) // 100 * 100].reshape(-1, 100)
        return (np.sqrt((frames**2).mean(axis=1)) > 1e-3).astype(np.int64)

    assert silence_codes(encode, 8000) == {0}

"""Stop rules of runaway speech: silence that lasts, loops that repeat."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.checks import at_least

_QUIET_LEVELS_DBFS = (-90.0, -75.0, -65.0)
_QUIET_SECONDS = 2.0


@dataclass(frozen=True)
class StopRules:
    """Conditions that end a row which does not end by itself; lengths in codes.

    Args:
        silence_codes: Codes of silence; none switches the check off.
        longest_silence: A run of this many silence codes is runaway silence; 0 never.
        longest_period: Loops of up to this many codes are looked for; 0 looks for none.
        longest_loop: A loop is one that has gone on for this long and at least three times round.

    Raises:
        ValueError: A length is negative.
    """

    silence_codes: frozenset[int] = frozenset()
    longest_silence: int = 48
    longest_period: int = 24
    longest_loop: int = 72

    def __post_init__(self) -> None:
        for name in ("longest_silence", "longest_period", "longest_loop"):
            at_least(name, getattr(self, name), 0)

    def broken(self, codes: Sequence[int]) -> str:
        """The rule that speech so far breaks: "silence", "loop" or "" for none."""
        run = self.longest_silence
        if self.silence_codes and run and trailing_run(codes, self.silence_codes) >= run:
            return "silence"
        longest = self.longest_period
        return "loop" if longest and loop_period(codes, longest, self.longest_loop) else ""


def trailing_run(codes: Sequence[int], of: Collection[int]) -> int:
    """Number of codes at the end that belong to a set."""
    count = 0
    for code in reversed(codes):
        if code not in of:
            break
        count += 1
    return count


def loop_period(codes: Sequence[int], longest_period: int, longest_loop: int) -> int:
    """Period of the loop at the end of a sequence, 0 for none.

    A loop of period p: the last max(`longest_loop`, 3 p) codes equal those p before them.
    """
    for period in range(1, longest_period + 1):
        span = max(longest_loop, 3 * period)
        # Most periods fail at the last code, which is cheap to look at.
        if len(codes) < span or codes[-1] != codes[-1 - period]:
            continue
        # The stretch equals itself one period earlier.
        if list(codes[-span:-period]) == list(codes[-span + period :]):
            return period
    return 0


def silence_codes(
    encode: Callable[[NDArray[np.float32]], NDArray[np.int64]], sample_rate: int
) -> frozenset[int]:
    """Codes of digital silence and of inaudibly soft noise in a codec.

    Args:
        encode: Waveform (T,) to codes (L,).
        sample_rate: Hz.
    """
    # Digital silence, then the same noise at falling levels.
    generator = np.random.default_rng(0)
    noise = generator.standard_normal(round(_QUIET_SECONDS * sample_rate)).astype(np.float32)
    levels = [0.0, *(10 ** (level / 20) for level in _QUIET_LEVELS_DBFS)]
    found = [encode(np.asarray(noise * np.float32(level))) for level in levels]
    return frozenset(int(code) for codes in found for code in codes)

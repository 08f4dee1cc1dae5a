"""Arithmetic coding with integer frequencies, after Witten, Neal and Cleary 1987.

Integers alone decide what is written, so that the same frequencies give the same bytes anywhere.
https://doi.org/10.1145/214762.214771
"""

from __future__ import annotations

_BITS = 32
_TOP = (1 << _BITS) - 1
# Frequencies of an alphabet sum up to less, so that no interval becomes empty.
_QUARTER = 1 << (_BITS - 2)
_HALF = 2 * _QUARTER


class ArithmeticEncoder:
    """Writer of symbols, each given as its interval of the cumulative frequencies."""

    def __init__(self) -> None:
        self._low, self._high = 0, _TOP
        self._pending = 0  # bits that wait for the next carry to be known
        self._bits: list[int] = []

    def encode(self, start: int, frequency: int, total: int) -> None:
        """Write a symbol that takes [start, start + frequency) of [0, total)."""
        width = self._high - self._low + 1
        self._high = self._low + width * (start + frequency) // total - 1
        self._low += width * start // total
        while True:
            if self._high < _HALF:
                self._put(0)
            elif self._low >= _HALF:
                self._put(1)
                self._low, self._high = self._low - _HALF, self._high - _HALF
            elif self._low >= _QUARTER and self._high < 3 * _QUARTER:
                # Both ends lie about the middle: the bit is known once they have left it.
                self._pending += 1
                self._low, self._high = self._low - _QUARTER, self._high - _QUARTER
            else:
                return
            self._low, self._high = 2 * self._low, 2 * self._high + 1

    def finish(self) -> bytes:
        """Write what tells the last interval from others, and return all bytes."""
        self._pending += 1
        self._put(0 if self._low < _QUARTER else 1)
        bits = self._bits + [0] * (-len(self._bits) % 8)
        packed = bytes(
            sum(bit << (7 - place) for place, bit in enumerate(bits[at : at + 8]))
            for at in range(0, len(bits), 8)
        )
        # A decoder reads zeros past the end.
        return packed.rstrip(b"\0")

    def _put(self, bit: int) -> None:
        self._bits += [bit, *[1 - bit] * self._pending]
        self._pending = 0


class ArithmeticDecoder:
    """Reader of what `ArithmeticEncoder` wrote, given the same frequencies in the same order."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0
        self._low, self._high, self._value = 0, _TOP, 0
        for _ in range(_BITS):
            self._value = 2 * self._value + self._bit()

    def target(self, total: int) -> int:
        """Place of the next symbol in [0, total): its interval holds it."""
        width = self._high - self._low + 1
        return ((self._value - self._low + 1) * total - 1) // width

    def advance(self, start: int, frequency: int, total: int) -> None:
        """Read past the symbol of [start, start + frequency)."""
        width = self._high - self._low + 1
        self._high = self._low + width * (start + frequency) // total - 1
        self._low += width * start // total
        while True:
            if self._high < _HALF:
                offset = 0
            elif self._low >= _HALF:
                offset = _HALF
            elif self._low >= _QUARTER and self._high < 3 * _QUARTER:
                offset = _QUARTER
            else:
                return
            self._low, self._high = 2 * (self._low - offset), 2 * (self._high - offset) + 1
            self._value = 2 * (self._value - offset) + self._bit()

    def _bit(self) -> int:
        at, shift = divmod(self._place, 8)
        self._place += 1
        return self._data[at] >> (7 - shift) & 1 if at < len(self._data) else 0

"""Waveform while codes are still being made: windows of codes decoded with context both ways."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class BeingSpoken(Protocol):
    """A batch on its way: `Speaking`, or `AlignedSpeaking`."""

    @property
    def done(self) -> bool:
        """Whether every row has stopped."""
        ...

    def advance(self) -> None:
        """Draw one token a row."""
        ...

    def drawn(self, row: int) -> Sequence[int]:
        """Code tokens of a row so far."""
        ...


@dataclass(frozen=True)
class StreamWindow:
    """Sizes of a stream, in codes.

    Args:
        chunk: Codes whose waveform is handed out together.
        before: Codes decoded again to the left, for the decoder to hear.
        after: Codes waited for to the right.

    Raises:
        ValueError: No chunk, or a negative context.
    """

    chunk: int = 8
    before: int = 24
    after: int = 4

    def __post_init__(self) -> None:
        if self.chunk < 1 or min(self.before, self.after) < 0:
            raise ValueError(f"expected chunk >= 1 and contexts >= 0 codes, got {self}")

    @property
    def delay_codes(self) -> int:
        """Codes made before the first sound: seconds of speech = this / frame rate."""
        return self.chunk + self.after


def decode_while_speaking(
    speaking: BeingSpoken,
    decode: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    to_codes: Callable[[Iterable[int]], NDArray[np.int64]],
    *,
    given: NDArray[np.int64],
    hop_length: int,
    window: StreamWindow,
) -> Iterator[NDArray[np.float32]]:
    """Waveform chunks of a batch of one, the codes `given` not among them.

    Args:
        speaking: Of one row, not yet begun.
        decode: Codes (L,) to waveform (L * hop_length,).
        to_codes: Code tokens to codes.
        given: (G,) codes already spoken, context of the first chunk.
        hop_length: Samples a code.
        window: Sizes.
    """
    out = len(given)

    def cut(codes: NDArray[np.int64], stop: int) -> NDArray[np.float32]:
        first = max(0, out - window.before)
        last = min(len(codes), stop + window.after)
        return decode(codes[first:last])[(out - first) * hop_length : (stop - first) * hop_length]

    while not speaking.done:
        speaking.advance()
        made = len(given) + len(speaking.drawn(0))
        if speaking.done or made < out + window.delay_codes:
            continue
        codes = np.concatenate([given, to_codes(speaking.drawn(0))])
        yield cut(codes, out + window.chunk)
        out += window.chunk
    codes = np.concatenate([given, to_codes(speaking.drawn(0))])
    while out < len(codes):
        stop = min(len(codes), out + window.chunk)
        yield cut(codes, stop)
        out = stop

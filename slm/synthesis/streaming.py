"""Waveform while codes are still being made: what is drawn goes to a decoder that runs on."""

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


class RunningDecoder(Protocol):
    """Takes codes as they come and gives their waveform as it is known; `codec.StreamDecoder`."""

    def push(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Take the next codes (n,) and give what can be said now, (T,), T >= 0."""
        ...

    def finish(self) -> NDArray[np.float32]:
        """The rest (T,), T >= 0."""
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

    chunk: int = 6
    before: int = 96
    after: int = 6

    def __post_init__(self) -> None:
        if self.chunk < 1 or min(self.before, self.after) < 0:
            raise ValueError(f"expected chunk >= 1 and contexts >= 0 codes, got {self}")

    @property
    def delay_codes(self) -> int:
        """Codes made before the first sound: seconds of speech = this / frame rate."""
        return self.chunk + self.after


def decode_while_speaking(
    speaking: BeingSpoken,
    decoder: RunningDecoder,
    to_codes: Callable[[Iterable[int]], NDArray[np.int64]],
    *,
    given: NDArray[np.int64],
    hop_length: int,
) -> Iterator[NDArray[np.float32]]:
    """Waveform chunks of a batch of one, the codes `given` not among them.

    Args:
        speaking: Of one row, not yet begun.
        decoder: Of this speech alone.
        to_codes: Code tokens to codes.
        given: (G,) codes already spoken, which the decoder hears first.
        hop_length: Samples a code.
    """
    unwanted = len(given) * hop_length  # samples still to come of what was given
    for piece in _pieces(speaking, decoder, to_codes, given):
        wanted = piece[unwanted:]
        unwanted -= min(unwanted, len(piece))
        if len(wanted):
            yield wanted


def _pieces(
    speaking: BeingSpoken,
    decoder: RunningDecoder,
    to_codes: Callable[[Iterable[int]], NDArray[np.int64]],
    given: NDArray[np.int64],
) -> Iterator[NDArray[np.float32]]:
    """Waveform (T,), T >= 0, of the given codes and then of those that are drawn."""
    yield decoder.push(given)
    taken = 0
    while not speaking.done:
        speaking.advance()
        new = speaking.drawn(0)[taken:]
        taken += len(new)
        yield decoder.push(to_codes(new))
    yield decoder.finish()

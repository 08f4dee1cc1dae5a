"""Streaming synthesis: the waveform of codes while others are still being generated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec import StreamDecoder
from slm.generation.session import GenerationSession

from .result import fade_length, faded_out


@dataclass(frozen=True)
class StreamWindow:
    """Sizes of a stream, in codes.

    Args:
        chunk: Codes whose waveform is handed out together.
        before: Codes decoded again to the left, as the decoder's context.
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
        """Codes generated before the first chunk: seconds of speech = this / frame rate."""
        return self.chunk + self.after


def stream_waveform(
    session: GenerationSession[Any],
    decoder: StreamDecoder,
    to_codes: Callable[[Iterable[int]], NDArray[np.int64]],
    *,
    given: NDArray[np.int64],
    silence: NDArray[np.int64],
    hop_length: int,
    sample_rate: int,
) -> Iterator[NDArray[np.float32]]:
    """Waveform chunks of a session of one row, the codes `given` not among them.

    Args:
        session: Not yet begun.
        decoder: Of this speech alone.
        to_codes: Code tokens to codes.
        given: (G,) codes that the speech begins with; the decoder needs them as context.
        silence: (1,) code that follows the speech, so that its last sound decays; it is not
            among what is yielded.
        hop_length: Samples a code.
        sample_rate: Hz.

    Yields:
        (T,) float32, T > 0; the last ends in a fade.
    """
    taken = 0  # codes of the speech so far

    def pieces() -> Iterator[NDArray[np.float32]]:
        nonlocal taken
        yield decoder.push(given)  # context of the first new codes
        row = session.rows[0]
        while not session.done:
            session.step()
            # A step may give no code: the end, or a duration of an aligned model.
            new, taken = row.tokens[taken:], len(row.tokens)
            yield decoder.push(to_codes(new))
        yield decoder.push(silence)
        yield decoder.finish()

    unwanted = len(given) * hop_length  # samples still to come of what was given
    # What may be the end waits, for its fade.
    yielded = 0
    waiting, held = np.zeros(0, dtype=np.float32), fade_length(sample_rate)
    for piece in pieces():
        # Pieces do not end where the given codes do, so samples are counted.
        waiting = np.concatenate([waiting, piece[unwanted:]])
        unwanted -= min(unwanted, len(piece))
        # Silence is pushed last, so no more than the speech so far is there before.
        waiting = waiting[: taken * hop_length - yielded]
        if len(waiting) > held:
            yield waiting[:-held]
            yielded += len(waiting) - held
            waiting = waiting[-held:]
    if len(waiting):
        yield faded_out(waiting, sample_rate)

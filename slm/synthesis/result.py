"""What a synthesizer makes: a waveform, its codes, and how it came about."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codec.audio import write_audio


@dataclass(frozen=True)
class Synthesis:
    """Speech that was made.

    Attributes:
        waveform: (T,) float32 in [-1, 1]; for a continuation, the recording as the codec gives it
            back and what follows.
        codes: (L,) int64, of the whole waveform.
        sample_rate: Hz.
        num_given_codes: Codes at the start that were given, not made (0 for text to speech).
        truncated: Whether it was cut instead of ending by itself: runaway speech. A continuation as
            long as was asked for is not.
        log_likelihood: Of the codes that were made, nats, summed.
        seed: The one it was drawn with in the end. With it and `max_attempts=1` the same speech
            is made again; with more attempts only where it did not run away.
        stopped: "end" by itself; "limit", "silence" or "loop" where it was cut.
        rejected: Why tries were given up, the last one included where all were.
        attempt: Which of the tries it is, from 0, whose seed is the one that was asked for; of
            parts that were joined, the highest.
    """

    waveform: NDArray[np.float32]
    codes: NDArray[np.int64]
    sample_rate: int
    num_given_codes: int
    truncated: bool
    log_likelihood: float
    seed: int
    stopped: str = "end"
    rejected: tuple[str, ...] = ()
    attempt: int = 0

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.waveform) / self.sample_rate

    def save(self, path: Path | str) -> None:
        """Write a 16-bit WAV or FLAC file, whole or not at all."""
        write_audio(path, self.waveform, self.sample_rate)

"""The result of a synthesizer: a waveform, its codes, and how they were drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codec.audio import as_integers, write_audio

FADE_SECONDS = 0.01


@dataclass(frozen=True)
class Synthesis:
    """Synthetic speech.

    Attributes:
        waveform: (T,) float32 in [-1, 1], faded out at its end; for a continuation, the recording
            as the codec reconstructs it and the codes that follow.
        codes: (L,) int64, of the whole waveform.
        sample_rate: Hz.
        num_given_codes: Codes at the start that were given, not generated (0 for text to speech).
        truncated: Whether it was cut instead of ending by itself: runaway speech. A continuation as
            long as was asked for is not.
        log_likelihood: Of the codes that were generated, nats, summed.
        seed: The one it was drawn with in the end. It gives the same speech again with
            `max_attempts=1`; with more attempts only where it did not run away.
        stopped: "end" by itself; "limit", "silence" or "loop" where it was cut.
        rejected: Why attempts were rejected, the last one included where all were.
        attempt: Number of the attempt; 0 has the seed that was asked for. Of parts that were
            joined, the highest.
        counts: Codes of each unit (phone or pause) of aligned speech; none of other speech.
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
    counts: tuple[int, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.waveform) / self.sample_rate

    def save(self, path: Path | str) -> None:
        """Write a 16-bit WAV or FLAC file, whole or not at all."""
        write_audio(path, self.waveform, self.sample_rate)


def pcm_bytes(waveform: NDArray[np.float32]) -> bytes:
    """Pack samples (T,) as 16 bits each, signed and little-endian; beyond [-1, 1] are clipped.

    They are rounded as stores round them; libsndfile's files differ by one step at most.
    """
    return as_integers(waveform).tobytes()


def fade_length(sample_rate: int) -> int:
    """Samples of the fade at the end of speech."""
    return round(FADE_SECONDS * sample_rate)


def faded_out(waveform: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """(T,) samples with their last 10 ms faded to silence: no click where a sound is cut."""
    count = min(fade_length(sample_rate), len(waveform))
    falling = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, count + 1) / max(1, count))
    kept = len(waveform) - count
    faded = waveform[kept:] * falling.astype(np.float32)
    return np.concatenate([waveform[:kept], faded])

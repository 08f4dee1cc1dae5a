"""Loops in generated speech: a stretch of codes or audio that follows on itself."""

from __future__ import annotations

import numpy as np

from eval.sound import resampled

from .mel import log_mel

# A stretch counts as a loop when it is there at least that often, one after the other ...
REPEATS = 3
# ... for at least that long in all.
LOOP_SECONDS = 1.0
LONGEST_PERIOD_SECONDS = 2.0

RATE, HOP = 16000, 320
# In audio, shorter periods are those of a held vowel.
SHORTEST_PERIOD_SECONDS = 0.14
ALIKE = 0.93


def looped_codes(codes: np.ndarray, frame_rate: float) -> np.ndarray:
    """Mark the codes that lie within a loop, (L,) bool.

    A loop is a block of codes, of at most 2 s, that follows on itself so that it is there at least
    3 times and for at least 1 s. One code held for a second is one, too: silence included.

    Args:
        codes: (L,) integers, or (K, L), of which whole frames are compared.
        frame_rate: Frames a second.

    Raises:
        ValueError: Codes of another shape, or a rate that is not positive.
    """
    frames = np.atleast_2d(np.asarray(codes))
    if frames.ndim != 2 or not frame_rate > 0:
        raise ValueError(f"expected codes (L,) or (K, L), got {frames.shape} at {frame_rate} Hz")
    length = frames.shape[1]
    marks = np.zeros(length, dtype=bool)
    for period in range(1, min(round(LONGEST_PERIOD_SECONDS * frame_rate), length // REPEATS) + 1):
        # A run of frames equal to those a period later is a loop, if it covers the repeats.
        same = (frames[:, period:] == frames[:, :-period]).all(axis=0)
        shortest = max((REPEATS - 1) * period, round(LOOP_SECONDS * frame_rate) - period)
        for start, end in runs(same):
            if end - start >= shortest:
                marks[start : end + period] = True
    return marks


def looped_audio(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mark the frames of 20 ms that lie within a loop, (L,) bool, by the likeness of log-mels.

    Frames are alike when the correlation of their 40 log-mel bands is above 0.93. Silence never
    counts, nor does a steady sound: it is alike at every distance, a loop only at its period.
    """
    signal = resampled(np.asarray(waveform, dtype=np.float64), sample_rate, RATE)
    mel = log_mel(signal, RATE, n_fft=1024, hop_length=HOP, n_mels=40, floor=1e-3)  # (M, L)
    shape = mel - mel.mean(axis=0)
    norms = np.linalg.norm(shape, axis=0)
    # A flat spectrum is the floor: silence.
    unit = np.where(norms > 1.0, shape / np.maximum(norms, 1e-9), 0.0)
    rate = RATE / HOP
    length = mel.shape[1]
    marks = np.zeros(length, dtype=bool)
    longest = min(round(LONGEST_PERIOD_SECONDS * rate), length // REPEATS)
    for period in range(round(SHORTEST_PERIOD_SECONDS * rate), longest + 1):
        alike = _likeness(unit, period)
        # One frame of doubt either way, as a period need not be a whole number of frames.
        shortest = max((REPEATS - 1) * period, round(LOOP_SECONDS * rate) - period)
        for start, end in runs(alike > ALIKE):
            # A steady sound is alike at half its period, too.
            steady = _likeness(unit[:, start : end + period], period // 2).mean() > ALIKE
            if end - start >= shortest - 2 and not steady:
                marks[start : end + period] = True
    return marks


def _likeness(unit: np.ndarray, distance: int) -> np.ndarray:
    """Correlation of each frame with the one `distance` later, (L - distance,)."""
    return (unit[:, distance:] * unit[:, :-distance]).sum(axis=0)


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """List the stretches [start, end) of True in flags (L,)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]

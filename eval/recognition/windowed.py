"""Base of recognisers of at most 30 s: windows, batches, and a second search of loops of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eval.loading import LoadedMetric
from eval.protocols import Transcript
from eval.sound import resampled
from eval.weights import metric_device

from .guards import RecognizedWindow, is_loop, joined_windows
from .windows import Window, cut_windows

RATE = 16000
# Windows at once on a device of its own.
DEVICE_BATCH = 8
# Tokens in succession that the second search of a window of loops says once.
DISTINCT = 3


class WindowedRecognizer(LoadedMetric):
    """Waveform to words, window by window, none conditioned on another.

    Longer waveforms are recognised in windows of at most 30 s cut in pauses, see `cut_windows`.
    A window whose words compress beyond Whisper's published threshold, as loops of words do, is
    searched a second time, in which no three tokens in succession come twice: one loop of a hundred
    words would outweigh the errors of fifty clips. Nothing else is removed from a transcript: how
    well its words compress, how likely a window holds no speech, where the model tells it, and
    windows that were searched twice are given beside it.

    Args:
        batch_size: Windows that are recognised at once; None for what is fastest: one on a CPU and
            eight on other devices.
        search_loops_again: Whether there is a second search; without it loops stay.
    """

    def __init__(self, *, batch_size: int | None, search_loops_again: bool) -> None:
        self.search_loops_again = search_loops_again
        self._batch_size = batch_size

    @property
    def batch_size(self) -> int:
        """Windows at once."""
        if self._batch_size is not None:
            return self._batch_size
        return 1 if metric_device().type == "cpu" else DEVICE_BATCH

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> str:
        """Transcribe a waveform (T,), float in [-1, 1]."""
        return self.transcribe_many([waveform], sample_rate)[0].text

    def transcribe_in_detail(self, waveform: np.ndarray, sample_rate: int) -> Transcript:
        """Transcribe a waveform (T,), with what tells of invented words."""
        return self.transcribe_many([waveform], sample_rate)[0]

    def transcribe_many(
        self, waveforms: Sequence[np.ndarray], sample_rate: int
    ) -> list[Transcript]:
        """Transcribe waveforms (T,), float in [-1, 1], their windows in batches.

        Raises:
            ValueError: The model is missing, or does not know the language asked for.
        """
        self.prepare()
        signals = [resampled(np.asarray(w, np.float32), sample_rate, RATE) for w in waveforms]
        cut = [self._windows(signal) for signal in signals]
        parts = [
            signal[window.start : window.end]
            for signal, windows in zip(signals, cut, strict=True)
            for window in windows
        ]
        found = self._in_batches(parts)
        if self.search_loops_again:
            looped = [n for n, row in enumerate(found) if is_loop(row.words)]
            again = self._in_batches([parts[n] for n in looped], distinct=DISTINCT)
            for n, row in zip(looped, again, strict=True):
                found[n] = replace(row, looped=True)
        rows = iter(found)
        return [joined_windows(windows, [next(rows) for _ in windows]) for windows in cut]

    def _in_batches(self, parts: Sequence[np.ndarray], distinct: int = 0) -> list[RecognizedWindow]:
        """Recognise windows (T,), as many at once as `batch_size` says."""
        size = self.batch_size
        return [
            row
            for start in range(0, len(parts), size)
            for row in self._recognize(parts[start : start + size], distinct)
        ]

    def _windows(self, signal: np.ndarray) -> list[Window]:
        """Windows of a signal (T,) at 16 kHz."""
        return cut_windows(signal, RATE)

    def _recognize(self, parts: Sequence[np.ndarray], distinct: int = 0) -> list[RecognizedWindow]:
        """Recognise the windows (T,) of one batch.

        Args:
            parts: At 16 kHz.
            distinct: Tokens in succession that no transcript holds twice; 0 for no such bound.
        """
        raise NotImplementedError

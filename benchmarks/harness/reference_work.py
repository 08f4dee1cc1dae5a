"""Reference work: stated pieces of work to compare with where there is no peer.

It measures the machine: the same arithmetic as plain matrix products, spectra of the same audio, a
process that only loads torch. The ratio of ours to it is then much the same on a fast and on a slow
machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eval.scoring.speed import synthetic_pairs
from eval.sound import Sound

from .benchmark import Call

ROOT = Path(__file__).resolve().parents[2]
# Large enough to reach what the processor can, small enough that a call can be cut to size.
PRODUCT = 512


def products(macs: float) -> Call:
    """Make a call of so many multiply-adds, as products of (512, 512) matrices, at least one."""
    left, right = torch.randn(PRODUCT, PRODUCT), torch.randn(PRODUCT, PRODUCT)
    count = max(1, round(macs / PRODUCT**3))
    return lambda: [torch.mm(left, right) for _ in range(count)]


def spectra(waveforms: Sequence[NDArray[np.floating]], size: int = 1024, hop: int = 256) -> Call:
    """Make a call of magnitude spectra of waveforms (T,), windows of `size` samples every `hop`."""
    window = np.hanning(size)

    def call() -> list[float]:
        # (frames, size) views of each waveform
        frames = [np.lib.stride_tricks.sliding_window_view(w, size)[::hop] for w in waveforms]
        return [float(np.abs(np.fft.rfft(each * window, axis=1)).sum()) for each in frames]

    return call


def process(*arguments: str, environment: Mapping[str, str] | None = None) -> Call:
    """Make a call that runs Python with `arguments` in the checkout's root.

    Raises:
        OSError: When called, if the process fails.
    """
    variables = {**os.environ, **(environment or {})}

    def call() -> None:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=variables, capture_output=True, text=True
        )
        if done.returncode:
            raise OSError(f"python {' '.join(arguments)}: {done.stderr.strip()[-500:]}")

    return call


def hum(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Synthesize a voiced sound with pauses at 24 kHz, (T,) float32."""
    sound = synthetic_pairs(seconds, clip_seconds=seconds, seed=seed)[0].reference
    assert isinstance(sound, Sound)
    return sound.waveform

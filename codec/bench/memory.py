"""Resident memory of this process, and the peak of one system."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_mib(field: str) -> float | None:
    """Read the resident memory of this process, MiB; None where it cannot be asked, as on Windows.

    Args:
        field: `VmRSS` for now, `RssAnon` for now without mapped files, `VmHWM` for the highest
            since `reset_peak`. Off Linux all of them give the highest since the start.
    """
    if STATUS.is_file():
        lines = STATUS.read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024
    try:
        import resource  # of POSIX alone
    except ImportError:
        return None
    per_mib = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mib


def required_resident_mib(field: str) -> float:
    """Read the resident memory of this process, MiB, for a measurement that is nothing without it.

    Args:
        field: As of `resident_mib`.

    Raises:
        ValueError: It cannot be asked here.
    """
    found = resident_mib(field)
    if found is None:
        raise ValueError(f"expected a system that reports a process's memory, got {sys.platform}")
    return found


def reset_peak() -> None:
    """Let the highest resident memory start from now, where the system can do that."""
    try:
        CLEAR.write_text("5", encoding="utf-8")
    except OSError:
        return


def peak_memory(run: Callable[[], object], device: torch.device) -> int | None:
    """Bytes at the highest point of a call; None where there is no way to measure.

    On CUDA all that is allocated then; on the CPU, under Linux, resident memory beyond what the
    process held before.
    """
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device)
    if device.type != "cpu" or not os.access(CLEAR, os.W_OK):
        return None
    reset_peak()
    before = resident_mib("VmRSS")
    run()
    highest = resident_mib("VmHWM")
    return None if before is None or highest is None else round((highest - before) * 2**20)


def process_peak_memory() -> int | None:
    """Most bytes of memory this process has held so far; None outside Linux.

    Not `getrusage`'s figure, which a process takes over from the one that started it.
    """
    highest = resident_mib("VmHWM") if STATUS.is_file() else None
    return None if highest is None else round(highest * 2**20)


def measure_peaks(name: str, duration: float) -> dict[str, float | None]:
    """Measure the peak memory of a system; call it in a fresh process.

    Args:
        name: Of `codec.bench.codecs.SYSTEMS`.
        duration: Of the audio, s.

    Returns:
        MiB by direction: the highest resident memory while encoding or decoding, less that of the
        process with torch and the package loaded, so weights and everything in between are counted
        and the libraries are not. None where it cannot be measured.
    """
    import torch

    from .codecs import SAMPLE_RATE, SYSTEMS

    loaded = resident_mib("VmRSS")  # libraries, no weights yet

    def beyond() -> float | None:
        highest = resident_mib("VmHWM")
        return None if highest is None or loaded is None else highest - loaded

    subject = SYSTEMS[name]()
    gc.collect()  # what only building needed
    waveform = 0.1 * torch.randn(1, round(duration * SAMPLE_RATE))
    with torch.inference_mode():
        reset_peak()
        codes = subject.encode(waveform)
        peaks = {"encode": beyond()}
        reset_peak()
        subject.decode(codes)
        peaks["decode"] = beyond()
    return peaks

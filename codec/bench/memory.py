"""Resident memory of this process, and the peak of one system."""

from __future__ import annotations

import gc
import resource
import sys
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_mib(field: str) -> float:
    """Read the resident memory of this process, MiB.

    Args:
        field: `VmRSS` for now, `RssAnon` for now without mapped files, `VmHWM` for the highest
            since `reset_peak`. Off Linux all of them give the highest since the start.
    """
    if STATUS.is_file():
        lines = STATUS.read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024
    per_mib = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mib


def reset_peak() -> None:
    """Let the highest resident memory start from now, where the system can do that."""
    try:
        CLEAR.write_text("5", encoding="utf-8")
    except OSError:
        return


def measure_peaks(name: str, duration: float) -> dict[str, float]:
    """Measure the peak memory of a system; call it in a fresh process.

    Args:
        name: Of `codec.bench.codecs.SYSTEMS`.
        duration: Of the audio, s.

    Returns:
        MiB by direction: the highest resident memory while encoding or decoding, less that of the
        process with torch and the package loaded, so weights and everything in between are counted
        and the libraries are not.
    """
    import torch

    from .codecs import SAMPLE_RATE, SYSTEMS

    loaded = resident_mib("VmRSS")
    subject = SYSTEMS[name]()
    gc.collect()
    waveform = 0.1 * torch.randn(1, round(duration * SAMPLE_RATE))
    with torch.inference_mode():
        reset_peak()
        codes = subject.encode(waveform)
        peaks = {"encode": resident_mib("VmHWM") - loaded}
        reset_peak()
        subject.decode(codes)
        peaks["decode"] = resident_mib("VmHWM") - loaded
    return peaks

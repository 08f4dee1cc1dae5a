"""Pictures and sounds as data URIs, so that a report is one file."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from codec.audio.pcm import as_integers
from codec.files import whole_file
from eval.metrics.mel import FLOOR, N_MELS, SAMPLE_RATE, hz_to_mel, log_mel
from eval.sound import resampled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 130
# Of a PNG file: enough for charts and log-mels, at a third of the size.
NUM_COLORS = 64
SIZE_INCHES = (4.2, 1.7)
TICKS_HZ = (1000, 2000, 4000, 8000)


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def audio_uri(waveform: np.ndarray, sample_rate: int) -> str:
    """Encode a waveform (T,) as 16-bit FLAC in a data URI; samples beyond [-1, 1] are clipped.

    Raises:
        ValueError: A waveform that is empty, not (T,), or not finite.
    """
    samples = _finite(waveform)
    buffer = io.BytesIO()
    soundfile.write(buffer, as_integers(samples), sample_rate, format="FLAC", subtype="PCM_16")
    return _data_uri("audio/flac", buffer.getvalue())


def mel_picture_uri(
    waveform: np.ndarray,
    sample_rate: int,
    *,
    seconds: float | None = None,
    loudest: float | None = None,
) -> str:
    """Draw the log-mel of a waveform (T,) as PNG in a data URI.

    Its labels are grey on a transparent background, for light and dark pages.

    Args:
        waveform: (T,) float in [-1, 1].
        sample_rate: Hz.
        seconds: Width of the time axis; None for the length of the waveform.
        loudest: Value of the brightest colour; None for `mel_peak` of the waveform.

    Raises:
        ValueError: As `audio_uri`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    signal = resampled(_finite(waveform), sample_rate, SAMPLE_RATE)
    duration = signal.size / SAMPLE_RATE
    top = mel_peak(waveform, sample_rate) if loudest is None else loudest
    # The object interface draws without pyplot, whose global state and windows are not needed.
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.085, 0.15, 0.91, 0.83))
    extent = (0.0, duration, 0.0, float(N_MELS))
    low = float(np.log(FLOOR))
    picture = log_mel(signal)
    axes.imshow(
        picture, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=low, vmax=top
    )
    axes.set_xlim(0.0, max(duration, seconds or 0.0))
    # Rows of the picture are mel bands, so frequencies are placed by their mel values.
    bands = hz_to_mel(np.array(TICKS_HZ)) / float(hz_to_mel(SAMPLE_RATE / 2)) * N_MELS
    axes.set_yticks(bands, [f"{hz / 1000:g}k" for hz in TICKS_HZ])
    axes.tick_params(colors="#888888", labelsize=9, length=2, pad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True, metadata={"Software": None})
    return _data_uri("image/png", buffer.getvalue())


def save_png(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG in few colours, whole or not at all, and return its path."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    picture = Image.open(buffer).convert("RGB").quantize(NUM_COLORS, dither=Image.Dither.NONE)
    with whole_file(path) as partial:
        picture.save(partial, format="png", optimize=True)
    return path


def mel_peak(waveform: np.ndarray, sample_rate: int) -> float:
    """Find the largest log-mel value of a waveform (T,), at least 1 nat above the floor."""
    signal = resampled(_finite(waveform), sample_rate, SAMPLE_RATE)
    return max(float(log_mel(signal).max()), float(np.log(FLOOR)) + 1.0)


def _finite(waveform: np.ndarray) -> np.ndarray:
    """Check that a waveform (T,) is finite and not empty, and convert it to float64."""
    samples = np.asarray(waveform, dtype=np.float64)
    if samples.ndim != 1 or samples.size == 0 or not np.isfinite(samples).all():
        raise ValueError(f"expected a finite waveform (T,) with T > 0, got shape {samples.shape}")
    return samples

"""Small PNG pictures for documents: log-mels above each other, and line charts side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.files import whole_file
from eval.metrics.mel import FLOOR, N_MELS, SAMPLE_RATE, hz_to_mel, log_mel
from eval.reporting.media import TICKS_HZ, mel_peak
from eval.sound import resampled

DPI, COLORS = 80, 64
Line = tuple[Sequence[float], Sequence[float]]


def draw_mels(panels: Mapping[str, NDArray[np.float32]], rate: int, path: Path) -> Path:
    """Log-mel pictures of waveforms (T,) under their names, of one time and one colour scale.

    Args:
        panels: Waveforms in [-1, 1] by name.
        rate: Hz, of all of them.
        path: PNG to write.

    Raises:
        ValueError: No waveform, or one that is empty or not finite.
    """
    if not panels:
        raise ValueError("expected at least one waveform to draw, got none")
    figure = _figure(8.5, 1.5 * len(panels) + 0.25)
    seconds = max(len(each) for each in panels.values()) / rate
    top = max(mel_peak(each, rate) for each in panels.values())
    ticks = hz_to_mel(np.array(TICKS_HZ)) / float(hz_to_mel(SAMPLE_RATE / 2)) * N_MELS
    for index, (name, waveform) in enumerate(panels.items()):
        axes = figure.add_subplot(len(panels), 1, index + 1)
        picture = log_mel(resampled(waveform.astype(np.float64), rate, SAMPLE_RATE))
        axes.imshow(
            picture,
            origin="lower",
            aspect="auto",
            extent=(0.0, len(waveform) / rate, 0.0, float(N_MELS)),
            cmap="magma",
            vmin=float(np.log(FLOOR)),
            vmax=top,
        )
        axes.set_xlim(0.0, seconds)
        axes.set_yticks(ticks, [f"{hz / 1000:g}k" for hz in TICKS_HZ])
        axes.set_title(name, loc="left", fontsize=9, pad=3)
        axes.tick_params(labelsize=8, length=2, pad=2, labelbottom=index + 1 == len(panels))
    figure.tight_layout(pad=0.4, h_pad=0.5)
    return _save(figure, path)


def draw_curves(charts: Mapping[str, Mapping[str, Line]], path: Path) -> Path:
    """Charts beside each other, each with some lines over training steps.

    Args:
        charts: (x, y) by name of the line, by title of the chart.
        path: PNG to write.

    Raises:
        ValueError: No chart.
    """
    if not charts:
        raise ValueError("expected at least one chart to draw, got none")
    figure = _figure(3.4 * len(charts), 2.6)
    for index, (title, lines) in enumerate(charts.items()):
        axes = figure.add_subplot(1, len(charts), index + 1)
        for name, (x, y) in lines.items():
            axes.plot(x, y, label=name, linewidth=1.3)
        axes.set_title(title, loc="left", fontsize=9, pad=3)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=8, length=2, pad=2)
        axes.grid(alpha=0.3, linewidth=0.5)
        if len(lines) > 1:
            axes.legend(fontsize=8, frameon=False)
    figure.tight_layout(pad=0.4)
    return _save(figure, path)


def _figure(width: float, height: float) -> Any:
    """An empty picture of so many inches; without pyplot, whose windows are not needed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> Path:
    """Write a picture in few colours, a third of its size in all."""
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    buffer.seek(0)
    few = Image.open(buffer).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    with whole_file(path) as partial:
        few.save(partial, format="png", optimize=True)
    return path

"""Small PNG pictures for documents: log-mels above each other, and line charts side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.metrics.mel import FLOOR, N_MELS, SAMPLE_RATE, hz_to_mel, log_mel
from eval.reporting.line_chart import LineChart, Series, save_line_charts
from eval.reporting.media import TICKS_HZ, mel_peak, save_png
from eval.sound import resampled

DPI = 80
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
    return save_png(figure, path)


def draw_curves(charts: Mapping[str, Mapping[str, Line]], path: Path) -> Path:
    """Charts beside each other, each with some lines over training steps.

    Args:
        charts: (x, y) by name of the line, by title of the chart.
        path: PNG to write.

    Raises:
        ValueError: No chart.
    """
    return save_line_charts(
        [
            LineChart(title, "step", "", [Series(name, x, y) for name, (x, y) in lines.items()])
            for title, lines in charts.items()
        ],
        path,
    )


def _figure(width: float, height: float) -> Any:
    """An empty picture of so many inches; without pyplot, whose windows are not needed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure

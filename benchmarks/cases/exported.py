"""Codecs as ONNX files in onnxruntime, beside the same codec in torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness.benchmark import Benchmark, Call, Contestant, Figure
from benchmarks.harness.reference_work import hum
from codec.export.onnx_files import DECODER, ENCODER, export_onnx

from .codec import CLIP_SECONDS, DIRECTIONS, codec_for

SIZES = ("tiny", "full")  # the export alone takes a minute


def build(size: str, folder: Path) -> dict[str, Contestant]:
    """Build both directions in torch and in onnxruntime on one clip; work is seconds of audio."""
    waveform = hum(CLIP_SECONDS[size])[None]  # (1, T)
    codec = cache(lambda: codec_for(size))
    codes = cache(lambda: codec().encode(torch.from_numpy(waveform))[0])

    @cache
    def files() -> Path:
        export_onnx(codec(), folder)
        return folder

    def in_torch(direction: str) -> Call:
        if direction == "encode":
            return lambda: codec().encode(waveform)
        given = codes()
        return lambda: codec().decode(given)

    def in_onnxruntime(direction: str) -> Call:
        if direction == "encode":
            return _runner(files() / ENCODER, "waveform", waveform)
        return _runner(files() / DECODER, "codes", codes().numpy())

    kinds: dict[str, Callable[[str], Call]] = {"torch": in_torch, "onnxruntime": in_onnxruntime}
    return {
        f"{name} {direction}": Contestant(partial(make, direction), CLIP_SECONDS[size])
        for direction in DIRECTIONS
        for name, make in kinds.items()
    }


def _runner(path: Path, name: str, value: np.ndarray) -> Call:
    """A call that runs a file by one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    return lambda: session.run(None, {name: value})


BENCHMARKS = (
    Benchmark(
        "codec.onnx",
        "the shipped model as ONNX files in onnxruntime, one thread; s of audio a second is the "
        "inverse of the real-time factor",
        "s of audio",
        build,
        tuple(
            Figure(
                f"onnxruntime {direction}",
                f"torch {direction}",
                f"{direction} one clip beside the same model in torch",
                SIZES,
            )
            for direction in DIRECTIONS
        ),
    ),
)
CURVES = ()

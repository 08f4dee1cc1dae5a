"""Codecs as ONNX files in onnxruntime, beside the same codec in torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.harness.benchmark import Benchmark, Call, Contestant, Figure
from benchmarks.harness.reference_work import hum
from codec import CodecConfig, HHCodec
from codec.export.onnx_files import DECODER, ENCODER, META, export_onnx
from codec.model.encoder import MelEncoder

from .codec import CLIP_SECONDS, DIRECTIONS, SHIPPED

SIZES = ("tiny", "full")  # the export alone takes a minute


def build(size: str, folder: Path) -> dict[str, Contestant]:
    """Build both directions in torch and in onnxruntime on one clip; work is seconds of audio.

    Files that the folder holds already are those measured.
    """
    waveform = hum(CLIP_SECONDS[size])[None]  # (1, T)
    codec = cache(lambda: tiny_codec() if size == "tiny" else HHCodec.from_pretrained(SHIPPED))
    codes = cache(lambda: codec().encode(torch.from_numpy(waveform))[0])

    def files() -> Path:
        return ensure_exported(codec(), folder)

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


def tiny_codec() -> HHCodec:
    """Build a codec of a few thousand weights with parts of the shipped codec's kinds."""
    config = CodecConfig.preset("tiny")
    attention = {"attention_layers": 1, "attention_heads": 2, "attention_window": 8}
    config = replace(
        config,
        encoder=replace(
            config.encoder, speech_layers=1, speech_dim=16, speech_heads=2, **attention
        ),
        decoder=replace(config.decoder, **attention),
        vocoder=replace(config.vocoder, kind="harmonic", pitch_dim=16, pitch_layers=1),
    )
    torch.manual_seed(0)
    codec = HHCodec(config).eval()
    assert isinstance(codec.encoder, MelEncoder)
    assert codec.encoder.speech is not None
    # a new encoder does not look at the states
    nn.init.normal_(codec.encoder.speech.project.weight, std=0.1)
    codec.quantizer.initialize(torch.randn(400, config.quantizer.dim), seed=0)
    return codec


def ensure_exported(codec: HHCodec, folder: Path) -> Path:
    """Export a codec to a folder unless it holds an export already; returns the folder."""
    if not (folder / META).is_file():
        export_onnx(codec, folder)
    return folder


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
        "the default codec as ONNX files in onnxruntime, one thread; s of audio a second is the "
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

"""Codec encode and decode: ours beside Mimi, EnCodec and DAC at random weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.benchmark import SIZES, Benchmark, Call, Contestant, CostCurve, Figure
from benchmarks.harness.reference_work import hum, products
from codec import CodecConfig, HHCodec
from codec.bench.codecs import SYSTEMS, count_macs
from codec.bench.peers import SAMPLE_RATE, Subject
from codec.cli.options import DEFAULT_CODEC as SHIPPED
from codec.streaming.long_form import encode_clip

CLIP_SECONDS = {"tiny": 0.2, "small": 2.0, "full": 4.0}
FULL = ("full",)
DIRECTIONS = ("encode", "decode")


def codec_for(size: str) -> HHCodec:
    """Load the shipped codec; for the tests build one that is much smaller."""
    return HHCodec.from_pretrained(SHIPPED) if size != "tiny" else tiny_codec()


def tiny_codec() -> HHCodec:
    """Build a codec of a few thousand weights with an initialized codebook."""
    torch.manual_seed(0)
    codec = HHCodec(CodecConfig.preset("tiny")).eval()
    codec.quantizer.initialize(torch.randn(400, 8), seed=0)
    return codec


def build(size: str, folder: Path) -> dict[str, Contestant]:
    """Build both directions of every codec on one clip; work is seconds of audio."""
    waveform = torch.from_numpy(hum(CLIP_SECONDS[size]))[None]
    seconds = waveform.shape[1] / SAMPLE_RATE
    # Each codec is loaded once for both directions, and only where one of its figures is wanted.
    subject = cache(lambda name: _subject(name, size))
    contestants: dict[str, Contestant] = {}
    for direction in DIRECTIONS:
        for name in (*SYSTEMS, SHIPPED):
            make = partial(_pass, partial(subject, name), waveform, direction)
            contestants[f"{name} {direction}"] = Contestant(make, seconds)
        make = partial(_product, partial(subject, SHIPPED), waveform, direction)
        contestants[f"product {direction}"] = Contestant(make, seconds)
    return contestants


def build_length(folder: Path, direction: str) -> Callable[[float], Call]:
    """Build calls of the shipped codec on clips of so many seconds."""
    codec = cache(lambda: codec_for("full"))

    def make(seconds: float) -> Call:
        waveform = hum(seconds)  # (T,)
        if direction == "encode":
            return lambda: encode_clip(codec(), waveform)
        codes = torch.from_numpy(encode_clip(codec(), waveform).astype("int64"))[None]  # (1, L)
        return torch.inference_mode()(lambda: codec().decode(codes))

    return make


def build_batch(folder: Path) -> Callable[[float], Call]:
    """Build calls of the shipped codec on a batch of so many clips of a second."""
    codec = cache(lambda: codec_for("full"))

    def make(count: float) -> Call:
        waveforms = torch.from_numpy(hum(1.0))[None].repeat(int(count), 1)  # (B, T)
        return torch.inference_mode()(lambda: codec().encode(waveforms))

    return make


def _subject(name: str, size: str) -> Subject:
    """A codec by name; in the tests each is a tiny one of ours, so that no weights are needed."""
    if name != SHIPPED and size != "tiny":
        return SYSTEMS[name]()
    codec = codec_for(size)
    return Subject(
        codec,
        lambda waveform: codec.encode(waveform)[0],
        lambda codes: codec.decode(codes)[0],
        codec.bitrate,
    )


def _pass(subject: Callable[[], Subject], waveform: torch.Tensor, direction: str) -> Call:
    """A call that encodes a clip, or decodes its codes."""
    codec = subject()
    if direction == "encode":
        return torch.inference_mode()(lambda: codec.encode(waveform))
    with torch.inference_mode():
        codes: Any = codec.encode(waveform)
    return torch.inference_mode()(lambda: codec.decode(codes))


def _product(subject: Callable[[], Subject], waveform: torch.Tensor, direction: str) -> Call:
    """A call of plain products with the multiply-adds of that pass."""
    return products(count_macs(_pass(subject, waveform, direction)))


def _figures(direction: str) -> tuple[Figure, ...]:
    """Figures of the paper's model and the shipped one beside peers."""

    def figure(ours: str, other: str, meaning: str, sizes: tuple[str, ...] = SIZES) -> Figure:
        return Figure(f"{ours} {direction}", f"{other} {direction}", meaning, sizes)

    paper, shipped = "the paper's model beside ", "the shipped model beside "
    share = "share of the speed of a plain matrix product of as many multiply-adds"
    return (
        figure("hh_24khz", "mimi", paper + "Mimi, 8 codebooks, 1.1 kbit/s"),
        figure("hh_24khz", "encodec", paper + "EnCodec, 6 kbit/s", FULL),
        figure("hh_24khz", "dac", paper + "DAC, 24 kbit/s", FULL),
        figure(SHIPPED, "mimi", shipped + "Mimi"),
        figure(SHIPPED, "encodec", shipped + "EnCodec"),
        figure(SHIPPED, "dac", shipped + "DAC", FULL),
        figure(SHIPPED, "product", share + "; below 1, the nearer the better", ("tiny", "full")),
    )


BENCHMARKS = (
    Benchmark(
        "codec.clip",
        "encode and decode one clip; all but the shipped model with random weights",
        "s of audio",
        build,
        tuple(figure for direction in DIRECTIONS for figure in _figures(direction)),
    ),
)

_LENGTHS = {"tiny": (0.1, 0.2, 0.4, 0.8), "small": (1, 2, 4, 8), "full": (2, 4, 8, 16, 32, 64, 128)}
CURVES = (
    *(
        CostCurve(
            f"codec.{direction}.length",
            f"{direction} one clip with the shipped model",
            "s of audio",
            _LENGTHS,
            partial(build_length, direction=direction),
        )
        for direction in DIRECTIONS
    ),
    CostCurve(
        "codec.encode.batch",
        "encode clips of 1 s together",
        "clips",
        {"tiny": (1, 2, 3, 4), "full": (1, 2, 4, 8, 16, 32)},
        build_batch,
    ),
)

"""A codec in another process, in a file or copied works as the codec that it was made from."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import pytest
import torch

from codec import CodecConfig, HHCodec, Vocoder
from codec.model.config import VocoderConfig

TINY = CodecConfig.preset("tiny")
HARMONIC = VocoderConfig(
    kind="harmonic", dim=32, intermediate_dim=64, num_layers=1, pitch_dim=16, pitch_layers=1
)
WAVEFORM = 0.1 * torch.randn(1, 6000, generator=torch.Generator().manual_seed(1))


def make_codec(vocoder: VocoderConfig = TINY.vocoder) -> HHCodec:
    codec = HHCodec(replace(TINY, vocoder=vocoder)).eval()
    codec.quantizer.initialize(torch.randn(400, 8), seed=0)
    return codec.eval()


def through_torch_file(model: Any) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("vocoder", [TINY.vocoder, HARMONIC], ids=["vocos", "harmonic"])
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), through_torch_file]
)
def test_a_copy_gives_the_same_codes_and_samples(
    copied: Callable[[Any], Any], vocoder: VocoderConfig
) -> None:
    codec = make_codec(vocoder)
    codes, lengths = codec.encode(WAVEFORM)
    other = copied(codec)
    assert torch.equal(other.encode(WAVEFORM)[0], codes)
    assert torch.equal(other.decode(codes, lengths)[0], codec.decode(codes, lengths)[0])
    assert other.fingerprint == codec.fingerprint
    mel = codec.decode_mel(codes)
    assert torch.equal(copied(codec.vocoder)(mel), codec.vocoder(mel))


def test_a_vocoder_is_pickled_by_the_names_of_this_package() -> None:
    """Modules under names that only a patched `sys.modules` has cannot be unpickled elsewhere."""
    found = {type(module).__module__ for module in Vocoder(TINY.mel, TINY.vocoder).modules()}
    assert all(name.startswith(("codec.", "torch.")) for name in found)


def test_a_process_that_is_given_a_codec_encodes() -> None:
    codec = make_codec()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        codes, _ = pool.submit(codec.encode, WAVEFORM).result()
    assert torch.equal(codes, codec.encode(WAVEFORM)[0])

"""One export for all tests of it: a tiny codec with the harmonic vocoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.export.onnx_files import export_onnx


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[HHCodec, Path]:
    """The codec and the folder of its files."""
    pytest.importorskip("onnxscript", reason="torch's exporter needs it")
    config = CodecConfig.preset("tiny")
    config = replace(
        config,
        decoder=replace(config.decoder, attention_layers=1, attention_heads=2, attention_window=8),
        vocoder=replace(config.vocoder, kind="harmonic", pitch_dim=16, pitch_layers=1),
    )
    torch.manual_seed(0)
    codec = HHCodec(config).eval()
    codec.quantizer.initialize(torch.randn(400, config.quantizer.dim), seed=0)
    folder = tmp_path_factory.mktemp("exported")
    export_onnx(codec, folder)
    return codec, folder

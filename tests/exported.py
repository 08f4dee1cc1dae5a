"""One export to ONNX for all tests of it: a tiny codec with the harmonic vocoder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from codec import CodecConfig, HHCodec
from codec.export.onnx_files import META, export_onnx


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
    # Half a minute: once for all workers, whose folders lie in one.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "exported"
    with FileLock(shared / "exported.lock"):
        if not (folder / META).is_file():
            export_onnx(codec, folder)
    return codec, folder

"""One export to ONNX for all tests of it: that of the tiny codec of the benchmark of an export."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks.cases.exported import ensure_exported, tiny_codec
from codec import HHCodec


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[HHCodec, Path]:
    """The codec and the folder of its files."""
    pytest.importorskip("onnxscript", reason="torch's exporter needs it")
    codec = tiny_codec()
    # Half a minute: once for all workers, whose folders lie in one.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(shared / "exported.lock"):
        return codec, ensure_exported(codec, shared / "exported")

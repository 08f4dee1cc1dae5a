"""The Python blocks of guides and references run as they are printed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codec.audio import write_audio
from codec.bitstream.format import CodedRecording, StreamHeader
from tests.support.sources import ROOT


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_waveform: Callable[..., np.ndarray]
) -> Path:
    """A working directory with the files that the examples read."""
    write_audio(tmp_path / "in.wav", make_waveform(1.2))
    header = StreamHeader("0" * 16, 24_000, 1024, 8192)
    CodedRecording(header, np.arange(60, dtype=np.uint16), 60 * 1024).save(tmp_path / "speech.hhc")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_blocks(page: str) -> dict[str, object]:
    """Run all ```python blocks of a page in one namespace, in order."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    namespace: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page}, block {number}", "exec"), namespace)
    return namespace


@pytest.mark.large
def test_the_guide_of_the_codec(folder: Path) -> None:
    pytest.importorskip("transformers", reason="the guide shows its adapter")
    run_blocks("guides/codec.md")
    assert (folder / "out.wav").stat().st_size > 1000
    assert (folder / "my-codec" / "preprocessor_config.json").is_file()


def test_the_reference_of_the_bitstream(folder: Path) -> None:
    run_blocks("reference/bitstream.md")
    assert CodedRecording.load(folder / "beginning.hhc").codes.tolist() == list(range(50))


@pytest.mark.slow
@pytest.mark.large
def test_the_guide_of_the_language_model(folder: Path) -> None:
    run_blocks("guides/slm.md")
    assert (folder / "my-speaker" / "lm" / "voices.json").is_file()

"""What `hh-slm` writes to a disk that is full, and to a folder that cannot be written."""

from __future__ import annotations

import json
import re
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from codec.bitstream.format import CodedRecording, StreamHeader
from codec.files.derived import LOG_NAME
from slm.cli.main import main
from slm.data.token_store import TokenStore
from slm.model.config import SpeechLMConfig
from tests.support.refusing_disks import full_disk, needs_limits, read_only

pytestmark = needs_limits

# Command by what it writes; bytes beyond which nothing can be written.
SIZES = {
    "tts": 1000,
    "texts": 1000,
    "continue": 1000,
    "compress": 10,
    "export-tokens": 1000,
    "import-tokens": 50,
}


@pytest.fixture
def commands(
    models: list[str], recording: str, store: TokenStore, tmp_path: Path
) -> dict[str, tuple[list[str], str]]:
    """Words of every command without its output, and the name of that."""
    texts, codes, parquet = (tmp_path / name for name in ("t.jsonl", "c.hhc", "s.parquet"))
    texts.write_text(json.dumps({"id": "a", "text": "green hills"}) + "\n", encoding="utf-8")
    config = SpeechLMConfig.load(Path(models[3]) / "config.yaml")
    header = StreamHeader(config.codec_fingerprint, 24_000, 1024, 64)
    CodedRecording(header, np.arange(60).astype(np.uint16), 60 * 1024).save(codes)
    assert main(["export-tokens", str(store.folder), str(parquet)]) == 0
    return {
        "tts": (["tts", "green hills", *models, "--out"], "a.wav"),
        "texts": (["tts", "--file", str(texts), *models, "--out"], "spoken"),
        "continue": (["continue", recording, "--seconds", "1", *models, "--out"], "a.wav"),
        "compress": (["compress", *models[2:], str(codes)], "a.hhc"),
        "export-tokens": (["export-tokens", str(store.folder)], "a.parquet"),
        "import-tokens": (["import-tokens", str(parquet)], "store"),
    }


@pytest.mark.parametrize("refused", ["full", "read-only"])
@pytest.mark.parametrize("name", SIZES)
def test_a_disk_that_refuses_is_told_and_nothing_half_is_left(
    name: str,
    refused: str,
    commands: dict[str, tuple[list[str], str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And once there is room the same command does its work."""
    out = tmp_path / "out"
    out.mkdir()
    words, target = commands[name]
    command = [*words, str(out / target)]
    disk: AbstractContextManager[None]
    disk = full_disk(SIZES[name]) if refused == "full" else read_only(out)
    capsys.readouterr()
    with disk:
        status = main(command)
    told = capsys.readouterr().err
    assert status == 1, told
    expected = "too large|cannot be written" if refused == "full" else "Permission denied"
    assert re.search(expected, told), told
    # Listed as failed, or nothing at all.
    assert {path.name for path in made(out)} <= {"report.jsonl"}
    assert main(command) == 0, capsys.readouterr().err
    assert made(out)


def made(folder: Path) -> list[Path]:
    """Files below a folder but for the log of what they were made from."""
    return [p for p in folder.rglob("*") if p.is_file() and p.name != LOG_NAME]

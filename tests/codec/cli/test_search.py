"""`--search` of `encode` and `reconstruct`: files, folders, batches, pipes and resumed runs."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codec import HHCodec
from codec.audio.io import read_audio, write_audio
from codec.bitstream.format import CodedRecording
from codec.files.derived import LOG_NAME
from codec.model import code_search
from codec.streaming.long_form import encode_clip

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def mels_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let mels of random weights, which differ little, outweigh the distance of entries."""
    monkeypatch.setattr(code_search, "WEIGHT", 1e-3)


@pytest.fixture
def two(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> Path:
    """A folder of two recordings of as many codes."""
    for seed, name in enumerate(("a.wav", "b.wav")):
        write_audio(tmp_path / "two" / name, make_waveform(0.5, seed=seed))
    return tmp_path / "two"


def codes_of(path: Path) -> list[int]:
    return CodedRecording.load(path).codes.tolist()


def test_every_way_to_encode_makes_the_codes_of_the_search(
    codec: tuple[HHCodec, str],
    call: Call,
    two: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, folder = codec
    clip = read_audio(two / "a.wav", model.sample_rate)
    expected = encode_clip(model, clip, search=3).tolist()
    assert expected != encode_clip(model, clip).tolist()
    options = ("--codec", folder, "--search", "3")
    assert call("encode", two / "a.wav", tmp_path / "a.hhc", *options)[0] == 0
    assert codes_of(tmp_path / "a.hhc") == expected
    assert call("encode", two / "a.wav", tmp_path / "a.npy", *options)[0] == 0
    assert np.load(tmp_path / "a.npy").tolist() == expected
    for name, more in (("alone", ()), ("batch", ("--batch-size", "2"))):
        assert call("encode", two, tmp_path / name, *options, *more)[0] == 0
        assert codes_of(tmp_path / name / "a.hhc") == expected
    piped = io.TextIOWrapper(io.BytesIO((two / "a.wav").read_bytes()))
    monkeypatch.setattr(sys, "stdin", piped)
    assert call("encode", "-", tmp_path / "piped.hhc", *options)[0] == 0
    assert codes_of(tmp_path / "piped.hhc") == expected
    # What is reconstructed is what those codes decode to.
    assert call("reconstruct", two / "a.wav", tmp_path / "a.wav", *options)[0] == 0
    assert call("decode", tmp_path / "a.hhc", tmp_path / "of_codes.wav", *options[:2])[0] == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "of_codes.wav").read_bytes()


def test_a_resumed_run_makes_again_what_another_search_made(
    codec: tuple[HHCodec, str], call: Call, two: Path, tmp_path: Path
) -> None:
    target = tmp_path / "codes"

    def resumed(search: int) -> tuple[int, int]:
        argv = ("encode", two, target, "--codec", codec[1], "--resume", "--json")
        report = json.loads(call(*argv, "--search", search)[1])
        return report["num_done"], report["num_skipped"]

    assert resumed(0) == (2, 0)
    assert resumed(2) == (2, 0)
    assert resumed(2) == (0, 2)
    assert resumed(0) == (2, 0)
    # Without notes nothing tells how codes were chosen.
    (target / LOG_NAME).unlink()
    assert resumed(2) == (2, 0)


def test_only_what_encodes_can_search(
    codec: tuple[HHCodec, str], call: Call, two: Path, tmp_path: Path
) -> None:
    argv = ("--codec", codec[1], "--search")
    for command, source, search in (("decode", two, "2"), ("encode", two, "-1")):
        with pytest.raises(SystemExit, match="2"):
            call(command, source, tmp_path / "out", *argv, search)

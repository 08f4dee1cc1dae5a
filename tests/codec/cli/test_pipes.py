"""Codes in open formats and pipes on the command line."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codec.audio.io import read_audio, write_audio
from codec.bitstream.format import CodedRecording
from codec.cli.main import main
from tests.support.codecs import tiny_codec

FORMS = ("hhc", "npy", "pt", "json")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    tiny_codec().save_pretrained(folder := tmp_path_factory.mktemp("codec"))
    return str(folder)


@pytest.fixture
def recording(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> Path:
    return write_audio(tmp_path / "in.wav", make_waveform(0.3)) or tmp_path / "in.wav"


Call = Callable[..., tuple[int, bytes, str]]


@pytest.fixture
def call(
    model: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Call:
    def run(*argv: object, stdin: bytes = b"") -> tuple[int, bytes, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = main([*map(str, argv), "--codec", model])
        captured = capfdbinary.readouterr()
        return status, captured.out, captured.err.decode()

    return run


@pytest.mark.parametrize("form", FORMS)
def test_codes_of_every_form_decode_to_the_same_recording(
    call: Call, recording: Path, tmp_path: Path, form: str
) -> None:
    assert call("encode", recording, tmp_path / "in.hhc")[0] == 0
    assert call("encode", recording, tmp_path / f"other.{form}")[0] == 0
    assert call("decode", tmp_path / "in.hhc", tmp_path / "a.wav")[0] == 0
    assert call("decode", tmp_path / f"other.{form}", tmp_path / "b.wav")[0] == 0
    expected, found = read_audio(tmp_path / "a.wav"), read_audio(tmp_path / "b.wav")
    if form != "npy":  # which holds neither length nor level
        np.testing.assert_array_equal(found, expected)
    else:
        codes = CodedRecording.load(tmp_path / "in.hhc").codes
        np.testing.assert_array_equal(np.load(tmp_path / "other.npy"), codes)
        assert len(found) == len(codes) * 1024


@pytest.mark.parametrize("form", FORMS)
def test_a_recording_goes_through_pipes(
    call: Call, recording: Path, tmp_path: Path, form: str
) -> None:
    status, codes, told = call(
        "encode", "-", "-", "--format", form, "--json", stdin=recording.read_bytes()
    )
    assert status == 0
    assert json.loads(told)["num_samples"] == 7200
    call("encode", recording, tmp_path / f"in.{form}")
    assert codes == (tmp_path / f"in.{form}").read_bytes()
    status, sound, _ = call("decode", "-", "-", "--format", "flac", stdin=codes)
    assert status == 0
    assert sound.startswith(b"fLaC")
    assert call("decode", "-", tmp_path / "a.wav", stdin=codes)[0] == 0
    assert call("reconstruct", "-", tmp_path / "b.wav", stdin=recording.read_bytes())[0] == 0
    if form != "npy":
        assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_standard_output_gets_our_own_formats_unless_told(call: Call, recording: Path) -> None:
    assert call("encode", recording, "-")[1].startswith(b"\x89HHC")
    assert call("reconstruct", recording, "-")[1].startswith(b"RIFF")


def test_a_folder_becomes_codes_of_the_form_asked_for_and_is_taken_up_again(
    call: Call, recording: Path, tmp_path: Path
) -> None:
    (tmp_path / "recordings" / "deep").mkdir(parents=True)
    (tmp_path / "recordings" / "deep" / "a.wav").write_bytes(recording.read_bytes())
    argv = ("encode", tmp_path / "recordings", tmp_path / "codes", "--format", "npy", "--json")
    assert call(*argv)[0] == 0
    assert np.load(tmp_path / "codes" / "deep" / "a.npy").shape == (8,)
    status, out, _ = call(*argv, "--resume")
    assert (status, json.loads(out)["num_skipped"]) == (0, 1)
    assert call("decode", tmp_path / "codes", tmp_path / "decoded")[0] == 0
    assert (tmp_path / "decoded" / "deep" / "a.wav").is_file()


def test_in_a_folder_of_streams_other_files_are_left_alone(
    call: Call, recording: Path, tmp_path: Path
) -> None:
    call("encode", recording, tmp_path / "codes" / "a.hhc")
    (tmp_path / "codes" / "a.json").write_text('{"speaker": "ann"}')
    status, out, _ = call("decode", tmp_path / "codes", tmp_path / "decoded", "--json")
    assert (status, json.loads(out)["num_other_files"]) == (0, 1)


@pytest.mark.parametrize(
    ("argv", "stdin", "status", "message"),
    [
        (("encode", "-", "-"), b"no audio", 1, "failed: -: "),
        (("decode", "-", "-"), b"no codes", 1, "failed: -: no .hhc stream: expected codes as"),
        (("decode", "-", "-"), b"", 1, "failed: -: no .hhc stream"),
        (("encode", "-", "codes"), b"", 2, "codes: expected a name ending in .hhc or .npy"),
        (("encode", "missing.wav", "-"), b"", 2, "missing.wav: expected a file"),
        (("encode", "-", "-", "--workers", "2"), b"", 2, "no --workers with a pipe"),
        (("encode", "-", "-", "--resume"), b"", 2, "no --resume with a pipe"),
        (("encode", "in.wav", "a.npy", "--format", "pt"), b"", 2, "a name ending in .pt"),
    ],
)
def test_wrong_pipes_are_told_in_a_line(
    call: Call,
    recording: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...],
    stdin: bytes,
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(recording.parent)
    got, out, told = call(*argv, stdin=stdin)
    assert (got, out) == (status, b"")
    assert message in told


@pytest.mark.parametrize(
    ("stream", "argv", "name"), [("stdin", "- o.hhc", "input"), ("stdout", "in.wav -", "output")]
)
def test_a_pipe_that_is_closed_is_told_in_a_line(
    model: str,
    recording: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    stream: str,
    argv: str,
    name: str,
) -> None:
    monkeypatch.chdir(recording.parent)
    monkeypatch.setattr(sys, stream, None)
    assert main(["encode", *argv.split(), "--codec", model]) == 1
    assert f"expected an open standard {name}, got a closed one" in capfd.readouterr().err

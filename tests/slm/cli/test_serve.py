"""The command `hh-slm serve` as a process: its report, an answer, and what it refuses at once."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import urllib.request
from pathlib import Path
from runpy import run_module

import pytest

from slm.cli.main import main
from slm.serving.server import is_loopback, listen, url_of
from tests.support import forked


def serve(printed: Path, *arguments: str) -> None:
    """What `python -m slm serve` does, with its standard output in a file."""
    os.dup2(os.open(printed, os.O_WRONLY | os.O_CREAT), 1)
    sys.argv = ["slm", "serve", *arguments]
    run_module("slm", run_name="__main__", alter_sys=True)


def test_the_command_serves_until_it_is_ended(
    model_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    codec, lm = map(str, model_folders)
    arguments = ["--codec", codec, "--lm", lm, "--port", "0", "--threads", "1", "--json"]
    printed, errors = tmp_path / "printed.txt", tmp_path / "errors.txt"
    process = forked.start(serve, printed, *arguments, output=errors)
    try:
        while not (printed.exists() and printed.read_text().endswith("\n")):
            assert process.is_alive(), forked.printed(errors)
            time.sleep(0.05)
        line = printed.read_text()
        report = json.loads(line)
        assert report["url"].startswith("http://127.0.0.1:")
        assert (report["model"], report["voices"]) == ("lm", 1)
        body = {"model": "lm", "input": "a fox", "response_format": "wav"}
        request = urllib.request.Request(
            f"{report['url']}/v1/audio/speech",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            assert response.headers["Content-Type"] == "audio/wav"
            assert response.read(4) == b"RIFF"
    finally:
        process.terminate()
        process.join()
    assert printed.read_text() == line
    assert process.exitcode == 143


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.9.8.7", True), ("::1", True), ("0.0.0.0", False),
     ("::", False), ("192.168.0.2", False), ("a.host", False), ("", False)],
)  # fmt: skip
def test_only_this_machine_reaches_a_loopback_address(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_an_address_is_one_for_a_browser() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        listener = listen("::1", 0)
    except OSError:
        pytest.skip("needs IPv6")
    with listener:
        assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"


def test_a_port_that_is_taken_is_told_before_models_are_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port), "--lm", "no such model"]) == 1
    assert "in use" in capsys.readouterr().err


def test_an_empty_key_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HH_SLM_API_KEY", "")
    assert main(["serve", "--port", "0", "--lm", "no such model"]) == 2
    assert "expected a key" in capsys.readouterr().err


def test_an_empty_name_is_refused(
    model_folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    codec, lm = map(str, model_folders)
    assert main(["serve", "--codec", codec, "--lm", lm, "--port", "0", "--name", ""]) == 2
    assert "expected a name of the model, got an empty one" in capsys.readouterr().err


def test_a_server_without_a_key_that_others_reach_says_so(
    model_folders: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    codec, lm = map(str, model_folders)
    call = ["serve", "--codec", codec, "--lm", lm, "--port", "0", "--json"]
    assert main([*call, "--host", "0.0.0.0"]) == 0
    assert "warning: everyone who reaches this host may use it" in capsys.readouterr().err
    assert main([*call, "--host", "0.0.0.0", "--api-key", "secret"]) == 0
    assert main([*call, "--host", "127.0.0.1"]) == 0
    assert "warning" not in capsys.readouterr().err

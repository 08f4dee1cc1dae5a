"""The command `hh-slm serve` as a process: its report, an answer, and what it refuses at once."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from slm.cli.main import main

ROOT = Path(__file__).resolve().parents[3]


def test_the_command_serves_until_it_is_ended(model_folders: tuple[Path, Path]) -> None:
    codec, lm = map(str, model_folders)
    command = [sys.executable, "-m", "slm", "serve", "--codec", codec, "--lm", lm]
    command += ["--port", "0", "--threads", "1", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        report = json.loads(process.stdout.readline())
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
        process.terminate()
        assert process.stdout.read() == ""


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

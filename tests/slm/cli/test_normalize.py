import io
import json
from pathlib import Path

import pytest

from slm.cli.main import main

WRITTEN, SPOKEN = "Dr. Lee paid $5.20.", "doctor Lee paid five dollars and twenty cents."


def test_texts_of_the_call_are_printed_as_they_are_spoken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["normalize", WRITTEN, "No. 5"]) == 0
    assert capsys.readouterr().out == f"{SPOKEN}\nnumber five\n"


def test_lines_of_a_file_and_of_stdin_keep_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "texts.txt"
    path.write_text(f"{WRITTEN}\n\n5\n", "utf-8")
    assert main(["normalize", "--file", str(path)]) == 0
    assert capsys.readouterr().out == f"{SPOKEN}\n\nfive\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{WRITTEN}\n5\n"))
    assert main(["normalize"]) == 0
    assert capsys.readouterr().out == f"{SPOKEN}\nfive\n"


def test_other_languages_keep_their_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["normalize", "5 Hunde", "--language", "de"]) == 0
    assert capsys.readouterr().out == "5 Hunde\n"


def test_what_is_left_out_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["normalize", "hello \U0001f600", "--json"]) == 0
    out, err = capsys.readouterr()
    row = {"text": "hello \U0001f600", "spoken": "hello", "left_out": "\U0001f600"}
    assert json.loads(out) == {"texts": [row]}
    assert "\U0001f600" in err


def test_texts_and_a_file_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["normalize", "a", "--file", "b.txt"]) == 2
    assert "texts or --file" in capsys.readouterr().err


def test_a_closed_input_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert main(["normalize"]) == 1
    assert "expected an open standard input, got a closed one" in capsys.readouterr().err

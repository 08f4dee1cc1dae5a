import json
from pathlib import Path
from typing import Any

import pytest

from slm.cli.batch_file import read_requests
from slm.synthesis.requests import SpeechRequest

DEFAULT = SpeechRequest("", seed=5)


def written(tmp_path: Path, *rows: Any) -> Path:
    path = tmp_path / "jobs.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    return path


def test_lines_are_numbered_and_blank_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"\xef\xbb\xbfa dog\r\n\r\n green hills \r\n")
    expected = {"00001": "a dog", "00003": "green hills"}
    assert read_requests(path, DEFAULT) == {
        name: SpeechRequest(text, seed=5) for name, text in expected.items()
    }


def test_rows_say_what_they_need(tmp_path: Path) -> None:
    rows = [
        {"text": "a\u2028dog", "id": 7, "seed": 3, "voice": None},
        {"text": "b", "prompt": "p.wav", "prompt_text": "c"},
    ]
    assert read_requests(written(tmp_path, *rows), DEFAULT) == {
        "7": SpeechRequest("a\u2028dog", seed=3),
        "00002": SpeechRequest("b", prompt="p.wav", prompt_text="c", seed=5),
    }


def test_the_voice_of_the_call_is_for_rows_without_one(tmp_path: Path) -> None:
    default = SpeechRequest("", prompt="p.wav", prompt_text="c")
    rows = [{"text": "a"}, {"text": "b", "voice": "ann"}, {"text": "d", "prompt": "q.wav"}]
    assert list(read_requests(written(tmp_path, *rows), default).values()) == [
        SpeechRequest("a", prompt="p.wav", prompt_text="c"),
        SpeechRequest("b", voice="ann"),
        SpeechRequest("d", prompt="q.wav"),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": 5}, "a string as text, got 5"),
        ({"text": None}, "a string as text, got null"),
        ({"text": " "}, "a text with words"),
        ({"id": "a"}, "an object with a text"),
        ({"text": "a", "sed": 1}, "keys of"),
        (["a"], "a JSON object"),
        ({"text": "a", "seed": "x"}, "as seed, got"),
        ({"text": "a", "seed": True}, "as seed, got true"),
        ({"text": "a", "seed": 1.5}, "as seed, got 1.5"),
        ({"text": "a", "seed": 10**20}, "as seed, got 1000"),
        ({"text": "a", "id": None}, "as id, got null"),
        ({"text": "a", "id": "../b"}, "name one file each"),
        ({"text": "a", "voice": ["ann"]}, "a string as voice"),
        ({"text": "a", "prompt_text": "b"}, "got no prompt"),
        ({"text": "a", "prompt": "p.wav", "voice": "ann"}, "got both"),
    ],
)
def test_a_row_that_is_not_understood_is_named(row: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_requests(written(tmp_path, row), DEFAULT)


def test_files_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("na\u00efve".encode("latin-1"))
    with pytest.raises(ValueError, match=r"texts\.txt.*expected UTF-8"):
        read_requests(path, DEFAULT)
    path.write_text("\n\n")
    with pytest.raises(ValueError, match="expected texts in"):
        read_requests(path, DEFAULT)
    with pytest.raises(ValueError, match="name one file each, got 'a'"):
        read_requests(
            written(tmp_path, {"id": "a", "text": "b"}, {"id": "a", "text": "c"}), DEFAULT
        )


@pytest.mark.parametrize("name", ["a/b", "..", "a\\b", "a\0", "x" * 300, "\ud800", "", "B"])
def test_an_id_that_names_no_file_of_its_own_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "jobs.jsonl"
    rows = [{"text": "a", "id": "b"}, {"text": "a", "id": name}]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    with pytest.raises(ValueError, match=r"name (one|a) file each"):
        read_requests(path, DEFAULT)


def test_a_list_of_seed_tts_eval_names_prompts_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "meta.lst"
    lines = ["u1|what was said|prompts/a.wav|A dog.", "", "u2.wav||b.wav|Green hills.|true.wav"]
    path.write_text("\n".join([*lines, "u3|||In the voice of the call."]), "utf-8")
    default = SpeechRequest("", voice="ann", seed=5)
    assert read_requests(path, default) == {
        "u1": SpeechRequest("A dog.", str(tmp_path / "prompts/a.wav"), "what was said", seed=5),
        "u2": SpeechRequest("Green hills.", str(tmp_path / "b.wav"), seed=5),
        "u3": SpeechRequest("In the voice of the call.", voice="ann", seed=5),
    }


@pytest.mark.parametrize("line", ["u1|a|b.wav", "|a|b.wav|c", "u1|a|b.wav| ", "u1|a|b|c|d|e"])
def test_a_line_of_another_form_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "meta.lst"
    path.write_text(f"{line}\n", "utf-8")
    with pytest.raises(ValueError, match=r"meta\.lst:1: expected utt\|prompt_text"):
        read_requests(path, DEFAULT)


def test_a_table_is_not_read_aloud(tmp_path: Path) -> None:
    path = tmp_path / "meta.txt"
    path.write_text("utt1|Some prompt text.|p.flac|Hello.\nutt2|Another.|q.flac|Good morning.\n")
    with pytest.raises(ValueError, match=r"expected one text a line in .* got a table"):
        read_requests(path, SpeechRequest(""))
    path.write_text("Either|or.\nA text.\n")
    assert len(read_requests(path, SpeechRequest(""))) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"speed": 9}, "expected a speed in"),
        ({"speed": 9, "voice": "ann"}, "expected a speed in"),
        ({"speed": "fast"}, "expected a number as speed"),
        ({"speed": True}, "expected a number as speed"),
    ],
)
def test_a_speed_that_is_none_is_told_with_its_line(
    row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps({"text": "A dog."}) + "\n" + json.dumps({"text": "b"} | row))
    with pytest.raises(ValueError, match=rf"jobs\.jsonl:2: {message}"):
        read_requests(path, DEFAULT)

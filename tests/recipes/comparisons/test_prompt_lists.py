"""Lists of texts and prompts out of a corpus."""

import json
from pathlib import Path
from typing import Any

import pytest

from codec.files.json_lines import read_json_lines, write_json_lines
from eval.scoring.generated import read_generation
from recipes.comparisons.prompt_lists import main
from slm.cli.batch_file import read_requests
from slm.synthesis.requests import SpeechRequest


def corpus(folder: Path, texts: dict[str, list[str]], **fields: Any) -> Path:
    """A manifest of speakers and what each says; ids are `speaker-number`."""
    rows = [
        {
            "id": f"{speaker}-{number}",
            "audio": f"{speaker}-{number}.flac",
            "duration": 2.0 + number,
            "text": text,
            "speaker": speaker,
            "lang": "en",
            "split": "valid",
        }
        | fields
        for speaker, said in texts.items()
        for number, text in enumerate(said)
    ]
    write_json_lines(folder / "manifest.jsonl", rows)
    return folder


def made(capsys: pytest.CaptureFixture[str], *words: Any) -> tuple[int, str]:
    status = main([str(word) for word in words])
    return status, capsys.readouterr().err


def test_each_text_has_another_recording_of_its_speaker_as_prompt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = corpus(tmp_path, {"ann": ["One.", "Two.", "Three."], "ben": ["Four.", "Five."]})
    target = tmp_path / "list.jsonl"
    assert made(capsys, folder, target)[0] == 0
    rows = list(read_json_lines(target))
    assert [row["id"] for row in rows] == ["ann-0", "ann-1", "ann-2", "ben-0", "ben-1"]
    for row in rows:
        assert row["prompt"] != row["reference"]
        assert Path(row["prompt"]).name.startswith(row["speaker"])
        assert Path(row["reference"]).stem == row["id"]
    again = tmp_path / "again.jsonl"
    made(capsys, folder, again)
    assert again.read_bytes() == target.read_bytes()


def test_a_list_of_seed_tts_eval_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = corpus(tmp_path, {"ann": ["One\nmore.", "Two.", "Three."]})
    for name in ("list.jsonl", "meta.lst"):
        assert made(capsys, folder, tmp_path / name)[0] == 0
    texts = {str(folder / f"ann-{n}.flac"): text for n, text in enumerate(("One more.", "Two."))}
    rows = list(read_json_lines(tmp_path / "list.jsonl"))
    for line, row in zip((tmp_path / "meta.lst").read_text().splitlines(), rows, strict=True):
        name, prompt_text, prompt, text, reference = line.split("|")
        assert (name, prompt, reference) == (row["id"], row["prompt"], row["reference"])
        assert text == " ".join(row["text"].split())
        assert prompt_text == texts.get(prompt, "Three.")
    requests = read_requests(tmp_path / "meta.lst", SpeechRequest(""))
    assert [each.text for each in requests.values()] == ["One more.", "Two.", "Three."]
    barred = corpus(tmp_path, {"ann": ["One | two.", "Three."]})
    status, said = made(capsys, barred, tmp_path / "other.lst")
    assert status == 2
    assert "none with a |" in said
    assert not (tmp_path / "other.lst").exists()


def test_a_speaker_of_one_recording_and_a_text_without_words_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = corpus(tmp_path, {"ann": ["One.", "..."], "ben": ["Four."]})
    target = tmp_path / "list.jsonl"
    assert made(capsys, folder, target)[0] == 0
    assert [row["id"] for row in read_json_lines(target)] == ["ann-0"]


def test_strangers_are_one_prompt_each_with_a_text_they_never_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = corpus(tmp_path, {"ann": ["One.", "Two."], "ben": ["One.", "Three."]})
    target = tmp_path / "list.jsonl"
    assert made(capsys, folder, target, "--one-a-speaker")[0] == 0
    rows = list(read_json_lines(target))
    assert [row["speaker"] for row in rows] == ["ann", "ben"]
    assert rows[0]["text"] == "Three."
    assert rows[1]["text"] == "Two."
    assert all("reference" not in row for row in rows)


def test_both_commands_read_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = corpus(tmp_path, {"ann": ["One.", "Two."]})
    target = tmp_path / "list.jsonl"
    made(capsys, folder, target, "--json")
    requests = read_requests(target, SpeechRequest("", seed=3))
    assert requests["ann-0"] == SpeechRequest("One.", str(folder / "ann-1.flac"), seed=3)
    judged = read_generation(target, tmp_path)
    assert [each.speaker for each in judged] == ["ann", "ann"]
    assert judged[0].reference == folder / "ann-0.flac"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["list.txt"], "a file .jsonl"),
        (["list.jsonl", "--speaker", "eve"], "speakers of"),
        (["list.jsonl", "--split", "test"], "texts with a prompt each"),
        (["list.jsonl", "--min-prompt", "60"], "texts with a prompt each"),
        (["list.jsonl", "--texts", "."], "--one-a-speaker beside it"),
        (["list.jsonl", "--one-a-speaker"], "a text for each of 2 speakers"),
    ],
)
def test_what_gives_no_list_is_refused_and_writes_none(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = corpus(tmp_path / "corpus", {"ann": ["One.", "Two."], "ben": ["One.", "Two."]})
    status, errors = made(capsys, folder, tmp_path / words[0], *words[1:])
    assert status == 2
    assert expected in errors
    assert not (tmp_path / words[0]).exists()


def test_rows_for_the_judge_alone_are_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps({"id": "a", "text": "One.", "speaker": 3}) + "\n")
    with pytest.raises(ValueError, match="expected a string as speaker"):
        read_requests(path, SpeechRequest(""))

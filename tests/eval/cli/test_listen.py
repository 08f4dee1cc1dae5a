"""`hh-eval listen` and the reading of its answers by `hh-eval report`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from eval.cli.main import main

RATE = 16000


@pytest.fixture
def folders(make_speech: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """Two systems, one of them as `anchors` lays it out, and the recordings of three clips."""
    for number, name in enumerate(("recordings", "ours", "opus/audio")):
        (tmp_path / name).mkdir(parents=True)
        for clip in range(3):
            speech = make_speech(0.4, seed=clip, sample_rate=RATE) * (1 - 0.2 * number)
            soundfile.write(tmp_path / name / f"clip{clip}.wav", speech, RATE)
    return tmp_path


def made(folders: Path, *words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data of the page and the key of a test."""
    out = str(folders / "out")
    # The key of another test would be lost.
    (folders / "out" / "listen.key.json").unlink(missing_ok=True)
    runs = [f"ours={folders / 'ours'}", str(folders / "opus"), "--out", out]
    assert main(["listen", *runs, "--reference", str(folders / "recordings"), *words]) == 0
    page = (folders / "out" / "listen.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="test">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1]), json.loads((folders / "out" / "listen.key.json").read_text())


@pytest.mark.parametrize(("kind", "sounds"), [("ab", 2), ("mushra", 3)])
def test_the_page_holds_every_trial_and_names_no_system(
    kind: str, sounds: int, folders: Path
) -> None:
    test, key = made(folders, "--kind", kind, "--clips", "2")
    assert len(test["trials"]) == 2
    assert all(len(trial["stimuli"]) == sounds for trial in test["trials"])
    assert all(
        test["audio"][trial["reference"]].startswith("data:audio/flac") for trial in test["trials"]
    )
    page = (folders / "out" / "listen.html").read_text(encoding="utf-8")
    assert not re.search(r"\bours\b|\bopus\b|clip\d", page)
    assert "http" not in page.replace("http://www.w3.org", "")
    assert set(test["audio"]) == set(key["stimuli"])
    # The hidden reference has another id than the open one.
    hidden = {s for trial in test["trials"] for s in trial["stimuli"]}
    assert not hidden & {trial["reference"] for trial in test["trials"]}
    assert made(folders, "--kind", kind, "--clips", "2")[0] == test
    assert made(folders, "--kind", kind, "--clips", "2", "--seed", "1")[0]["id"] != test["id"]


def answer(folders: Path, test: dict[str, Any], listener: str, rows: list[dict[str, Any]]) -> None:
    answers = {"test": test["id"], "kind": test["kind"], "listener": listener, "answers": rows}
    (folders / "out" / f"answers-{listener}.json").write_text(json.dumps(answers))


def test_preferences_are_counted_by_system(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test, key = made(folders)
    for listener, wanted in (("ann", "ours"), ("bob", "opus")):
        rows = []
        for place, trial in enumerate(test["trials"]):
            of = {key["stimuli"][s]["system"]: s for s in trial["stimuli"]}
            choice = of[wanted] if place < 2 else None
            rows.append({"trial": trial["id"], "stimuli": trial["stimuli"], "choice": choice})
        answer(folders, test, listener, rows)
    capsys.readouterr()
    assert main(["report", str(folders / "out"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    counts = (row["first_better"], row["second_better"], row["no_difference"])
    assert (row["first"], row["second"], counts) == ("ours", "opus", (2, 2, 2))
    assert row["preference"]["value"] == 0.5
    assert "ours against opus" in (folders / "out" / "report.html").read_text(encoding="utf-8")


def test_scores_are_averaged_and_who_misses_the_reference_is_named(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test, key = made(folders, "--kind", "mushra")
    given = {"ours": 60, "opus": 40, "reference": 100}
    for listener, hidden in (("ann", 100), ("bob", 50)):
        scores = {**given, "reference": hidden}
        rows = [
            {
                "trial": trial["id"],
                "stimuli": trial["stimuli"],
                "scores": {s: scores[key["stimuli"][s]["system"]] for s in trial["stimuli"]},
            }
            for trial in test["trials"]
        ]
        answer(folders, test, listener, rows)
    capsys.readouterr()
    assert main(["report", str(folders / "out"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    means = {row["system"]: row["score"]["value"] for row in figures["rows"]}
    assert means == {"ours": 60, "opus": 40, "reference": 75}
    assert figures["unreliable"] == ["bob"]


def test_answers_to_another_test_are_refused(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test, _ = made(folders)
    assert main(["report", str(folders / "out")]) == 2
    assert "expected answers" in capsys.readouterr().err
    answer(folders, test | {"id": "other"}, "ann", [])
    assert main(["report", str(folders / "out")]) == 2
    assert "got other" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["ab", "mushra"])
def test_answers_that_the_page_cannot_have_given_are_refused(
    kind: str, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test, _ = made(folders, "--kind", kind)
    trial, other = test["trials"][:2]
    row = {"trial": trial["id"], "stimuli": trial["stimuli"]}
    if kind == "ab":
        # A sound of another trial would count for a system that was not heard.
        wrong = [{**row, "choice": choice} for choice in (other["stimuli"][0], "none", True)]
        wrong += [row, {**row, "stimuli": trial["stimuli"][:1], "choice": None}]
        thrice = [*trial["stimuli"], trial["stimuli"][0]]
        wrong += [{**row, "stimuli": thrice, "choice": None}]
        mixed = [trial["stimuli"][0], other["stimuli"][0]]
        wrong += [{**row, "stimuli": mixed, "choice": None}]
    else:
        sounds = trial["stimuli"]
        given = dict.fromkeys(sounds, 50)
        wrong = [{**row, "scores": {**given, sounds[0]: score}} for score in ("90", 101, True)]
        wrong += [{**row, "scores": {sounds[0]: 50}}, row, {"stimuli": [], "scores": {}}]
    for each in (*wrong, {"choice": None}, "a"):
        answer(folders, test, "ann", [each])  # type: ignore[list-item]
        capsys.readouterr()
        assert main(["report", str(folders / "out")]) == 2, each
        assert "answers-ann.json: answers[0]" in capsys.readouterr().err


def test_hidden_files_are_no_answers(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test, _ = made(folders)
    rows = [{"stimuli": each["stimuli"], "choice": None} for each in test["trials"]]
    answer(folders, test, "ann", rows)
    (folders / "out" / "._answers-ann.json").write_bytes(b"\0\5Mac OS X")
    assert main(["report", str(folders / "out")]) == 0
    assert "1 listeners" in (folders / "out" / "report.html").read_text(encoding="utf-8")


def test_a_test_that_cannot_be_is_the_callers_mistake(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [f"a={folders / 'ours'}", f"b={folders / 'opus'}", "--out", str(folders / "out")]
    assert main(["listen", *runs, "--kind", "mushra"]) == 2
    assert "the reference of a MUSHRA" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["listen", *runs, "--clips", "0"])
    assert "--clips: expected a whole number >= 1, got 0" in capsys.readouterr().err
    assert main(["listen", runs[0], "--out", str(folders / "out")]) == 2
    assert main(["listen", runs[0], runs[0], "--out", str(folders / "out")]) == 2


def test_a_trial_that_is_answered_twice_is_refused(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test, _ = made(folders)
    row = {"stimuli": test["trials"][0]["stimuli"], "choice": None}
    answer(folders, test, "ann", [row, {**row, "stimuli": row["stimuli"][::-1]}])
    assert main(["report", str(folders / "out")]) == 2
    assert "answers[1]: expected each trial once" in capsys.readouterr().err


def test_answers_to_other_sounds_of_the_same_names_are_refused(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test, _ = made(folders)
    stimuli = test["trials"][0]["stimuli"]
    given = {
        "test": test["id"],
        "listener": "a",
        "answers": [{"stimuli": stimuli, "choice": None}],
    }
    (folders / "out" / "a.json").write_text(json.dumps(given))
    assert main(["report", str(folders / "out")]) == 0
    # Decoded anew by another model.
    speech, rate = soundfile.read(folders / "ours" / "clip0.wav")
    soundfile.write(folders / "ours" / "clip0.wav", speech[::-1], rate)
    made(folders)
    assert main(["report", str(folders / "out")]) == 2
    assert "expected answers to test" in capsys.readouterr().err


def test_the_key_of_another_test_is_not_lost(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, key = made(folders)
    call = ["listen", str(folders / "ours"), str(folders / "opus"), "--out", str(folders / "out")]
    assert main(call) == 2
    assert "the key of another" in capsys.readouterr().err
    assert json.loads((folders / "out" / "listen.key.json").read_text()) == key
    # The same test is written again, as to give it another heading.
    call = [f"ours={folders / 'ours'}", *call[2:]]
    again = ["--reference", str(folders / "recordings"), "--title", "Once more"]
    assert main(["listen", *call, *again]) == 0
    assert json.loads((folders / "out" / "listen.key.json").read_text()) == key

"""A miniature of seed-tts-eval, spoken by the bundled models and scored."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recipes.comparisons.seed_tts import main
from recipes.comparisons.seed_tts_table import row_of, rows_of_draws, seed_tts_table

CONFIG = Path(__file__).resolve().parents[3] / "recipes" / "configs" / "seed_tts.yaml"
RATE = 24000


def write_recordings(folder: Path, make_waveform: Callable[..., np.ndarray]) -> Path:
    """Write prompts and, of half their length, references of a test set; returns its folder."""
    for name, seconds in (("prompt-wavs", 1.5), ("wavs", 0.7)):
        (folder / name).mkdir(parents=True)
        soundfile.write(folder / name / "a.wav", make_waveform(seconds), RATE)
        soundfile.write(folder / name / "b.wav", make_waveform(seconds)[::-1], RATE)
    return folder


@pytest.fixture
def meta(make_waveform: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """Two lines in the folder of the test set, one with a reference."""
    folder = write_recordings(tmp_path / "en", make_waveform)
    lines = ["u1|what was said|prompt-wavs/a.wav|A dog.|wavs/a.wav"]
    lines += ["u2|what was said|prompt-wavs/b.wav|Green hills."]
    (folder / "meta.lst").write_text("\n".join(lines) + "\n")
    return folder / "meta.lst"


@pytest.mark.large
def test_a_list_is_spoken_scored_and_tabulated(
    meta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HH_WEIGHT_WHISPER", "")
    run = tmp_path / "run"
    call = [
        str(CONFIG),
        f"lists.en={meta}",
        f"run={run}",
        "metrics='delivery,wer,speaker_sim_prompt'",
    ]
    assert main([*call, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    spoken, recorded = figures["rows"]
    assert (spoken["version"], spoken["texts"], recorded["texts"]) == ("spoken", 2, 1)
    word_errors = spoken["figures"]["wer/wer"]
    # Both aggregates of the same edits: over words, and over utterances.
    assert word_errors["aggregate"] == "pooled"
    assert word_errors["mean"] is not None
    assert spoken["seconds"] > 0.2
    assert spoken["figures"]["runaway"]["value"] == 0.0
    # A meta.lst names no speakers: whose the other prompts are is not known, and is said.
    assert "speaker_sim_prompt/speaker_sim_prompt_margin" not in spoken["figures"]
    margin = spoken["figures"]["speaker_sim_prompt/speaker_sim_prompt_margin_unnamed"]
    assert margin["pairs"] == 2
    table = (run / "seed_tts.md").read_text()
    assert "WER, mean of utterances (pocketsphinx)" in table
    assert "margin over other prompts, voices not named" in table
    assert "over clips, whose speakers are not named" in table
    assert "clips of one voice are drawn as if each were a stranger's" in table
    assert "| en | recording | 1 |" in table
    # Called again, nothing is spoken or scored anew.
    before = (run / "en" / "spoken" / "u1.wav").stat().st_mtime_ns
    assert main(call) == 0
    assert (run / "en" / "spoken" / "u1.wav").stat().st_mtime_ns == before


@dataclass(frozen=True)
class Calls:
    """What calls on one list and one run gave, by what they were called with.

    Attributes:
        run: Folder of them all.
        statuses: Exit statuses.
        figures: What was printed.
        said: What a call said while it worked.
        before: Files of the run before the list was changed.
        after: Those of these that were the same afterwards.
    """

    run: Path
    statuses: dict[str, int]
    figures: dict[str, Any]
    said: dict[str, str]
    before: dict[Path, bytes]
    after: dict[Path, bytes]


@pytest.fixture(scope="module")
def calls(
    make_waveform: Callable[..., np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Calls:
    """A list of JSON lines, where every text has a recording, spoken again and changed.

    The models are loaded for each draw, so that one run answers all that is asked of it.
    """
    folder = tmp_path_factory.mktemp("calls")
    write_recordings(folder, make_waveform)
    path, run = folder / "list.jsonl", folder / "run"
    statuses, figures, said = dict[str, int](), dict[str, Any](), dict[str, str]()

    def call(name: str, *words: str, own: str = "own") -> None:
        out, err = io.StringIO(), io.StringIO()
        line = [str(CONFIG), f"lists.{own}={path}", f"run={run}", "metrics=delivery", "--json"]
        with redirect_stdout(out), redirect_stderr(err):
            statuses[name] = main([*line, *words])
        said[name] = err.getvalue()
        figures[name] = json.loads(out.getvalue()) if statuses[name] < 2 else None

    def rows(text: str, **sounds: str) -> str:
        return "".join(
            json.dumps(
                {"id": name, "text": text, "prompt": str(folder / f"prompt-wavs/{sound}.wav")}
                | {"reference": str(folder / f"wavs/{sound}.wav"), "speaker": sound}
            )
            + "\n"
            for name, sound in sounds.items()
        )

    path.write_text("no fields\n")
    call("broken")
    path.write_text(rows("A dog.", u1="a", u2="b"))
    call("once")
    call("twice", "draws=2", "seed=0")
    before = {each: each.read_bytes() for each in run.rglob("*") if each.is_file()}
    path.write_text(rows("A cat.", u1="a", u3="none"))
    # Not even the settings of a refused call are written.
    call("changed")
    after = {each: each.read_bytes() for each in before}
    call("changed under another name", own="other")
    return Calls(run, statuses, figures, said, before, after)


def test_several_draws_of_a_list_have_a_mean(calls: Calls) -> None:
    assert (calls.statuses["once"], calls.statuses["twice"]) == (0, 0)
    first, second, mean, recorded = calls.figures["twice"]["rows"]
    assert [row["seed"] for row in (first, second, mean)] == [0, 1, None]
    assert (mean["version"], recorded["version"]) == ("spoken, mean of 2 draws", "recording")
    key = "duration_ratio"
    values = [row["figures"][key]["value"] for row in (first, second)]
    assert values[0] != values[1]
    assert mean["figures"][key]["value"] == pytest.approx(sum(values) / 2)
    assert mean["figures"][key]["each"] == values
    ratio = first["figures"]["duration_ratio"]["value"]
    assert ratio == pytest.approx(first["seconds"] / recorded["seconds"])
    table = calls.before[calls.run / "seed_tts.md"].decode()
    assert "| own | spoken, seed 1 | 2 |" in table
    assert "seconds over those recorded" in table


def test_a_prompt_that_is_missing_fails_its_own_text_alone(calls: Calls) -> None:
    assert calls.statuses["changed under another name"] == 1
    spoken, _ = calls.figures["changed under another name"]["rows"]
    assert (spoken["texts"], spoken["failed"]) == (2, 1)
    assert [path.name for path in (calls.run / "other/spoken").glob("*.wav")] == ["u1.wav"]


def test_a_list_that_has_changed_under_its_name_is_refused(calls: Calls) -> None:
    # What broke its format has made nothing, and binds nothing.
    assert (calls.statuses["broken"], calls.statuses["once"]) == (2, 0)
    assert calls.statuses["changed"] == 2
    assert "expected the list of SHA-256" in calls.said["changed"]
    assert calls.before == calls.after
    assert calls.statuses["changed under another name"] == 1
    assert calls.figures["changed under another name"]["rows"][0]["list"] == "other"


def test_a_list_of_another_form_is_the_callers_mistake(
    meta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meta.write_text("no fields\n")
    assert main([str(CONFIG), f"lists.en={meta}", f"run={tmp_path / 'run'}"]) == 2
    assert "expected utt|prompt_text" in capsys.readouterr().err
    assert main([str(CONFIG), f"run={tmp_path / 'none'}"]) == 2


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("lists={../../elsewhere: meta.lst}", "names without slashes"),
        ("lists={..: meta.lst}", "without parts"),
        ("lists={en: a.lst, EN: b.lst}", "got 'en' and 'EN'"),
        ("options=[--ou, elsewhere]", "options: expected none of"),
        ("options=[--lm=other]", "options: expected none of"),
    ],
)
def test_a_list_stays_in_the_folder_of_its_run(
    setting: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["lists.en=meta.lst"] if setting.startswith("options") else []
    assert main([str(CONFIG), f"run={tmp_path / 'run'}", *words, setting]) == 2
    assert reason in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_lengths_are_compared_over_texts_that_both_have_one_for() -> None:
    """A recording of 9 s that could not be measured made the speech of it look 10 times as long."""
    row = {"texts": 2, "figures": {}, "seconds": 5.5}
    drawn = {**row, "figures": {}, "lengths": {"a": 1.0, "b": 10.0}}
    recorded = {**row, "figures": {}, "seconds": 1.1, "lengths": {"a": 1.1}}
    spoken, _ = rows_of_draws([drawn], recorded)
    assert spoken["figures"]["duration_ratio"]["value"] == pytest.approx(1 / 1.1)


def test_a_list_that_names_its_speakers_has_a_margin_over_other_voices(tmp_path: Path) -> None:
    corpus = {"margin": {"mean": 0.2, "pairs": 3}}
    summary = {
        "n_expected": 3,
        "n_speakers": 3,
        "metrics": {"speaker_sim_prompt.x": {"figures": {}, "failures": [], "corpus": corpus}},
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (row,) = rows_of_draws([row_of("en", "spoken", tmp_path)], None)
    table = seed_tts_table({"rows": [row], "provenance": {}})
    assert "margin over other voices' prompts" in table
    assert "stranger" not in table

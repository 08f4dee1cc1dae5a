"""A miniature of seed-tts-eval, spoken by the bundled models and scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.comparisons.seed_tts import main
from recipes.comparisons.seed_tts_table import row_of, rows_of_draws, seed_tts_table

CONFIG = Path(__file__).resolve().parents[3] / "recipes" / "configs" / "seed_tts.yaml"
RATE = 24000


@pytest.fixture
def meta(make_waveform: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """Two lines in the folder of the test set, one with a reference."""
    folder = tmp_path / "en"
    for name in ("prompt-wavs", "wavs"):
        (folder / name).mkdir(parents=True)
        soundfile.write(folder / name / "a.wav", make_waveform(1.5), RATE)
        soundfile.write(folder / name / "b.wav", make_waveform(1.5)[::-1], RATE)
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


def test_several_draws_of_a_list_have_a_mean(
    meta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By JSON lines, where every text has a recording."""
    folder = meta.parent.absolute()
    rows = [
        {"id": name, "text": "A dog.", "prompt": str(folder / f"prompt-wavs/{sound}.wav")}
        | {"reference": str(folder / f"wavs/{sound}.wav"), "speaker": sound}
        for name, sound in (("u1", "a"), ("u2", "b"))
    ]
    path = tmp_path / "list.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    call = [str(CONFIG), f"lists.own={path}", f"run={tmp_path / 'run'}"]
    call += ["metrics=delivery", "--json"]
    assert main(call) == 0
    capsys.readouterr()
    assert main([*call, "draws=2", "seed=0"]) == 0
    figures = json.loads(capsys.readouterr().out)
    first, second, mean, recorded = figures["rows"]
    assert [row["seed"] for row in (first, second, mean)] == [0, 1, None]
    assert (mean["version"], recorded["version"]) == ("spoken, mean of 2 draws", "recording")
    key = "duration_ratio"
    values = [row["figures"][key]["value"] for row in (first, second)]
    assert values[0] != values[1]
    assert mean["figures"][key]["value"] == pytest.approx(sum(values) / 2)
    assert mean["figures"][key]["each"] == values
    ratio = first["figures"]["duration_ratio"]["value"]
    assert ratio == pytest.approx(first["seconds"] / recorded["seconds"])
    table = (tmp_path / "run" / "seed_tts.md").read_text()
    assert "| own | spoken, seed 1 | 2 |" in table
    assert "seconds over those recorded" in table


def test_a_prompt_that_is_missing_fails_its_own_text_alone(
    meta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with meta.open("a") as file:
        file.write("u3|words|prompt-wavs/none.wav|No voice.\n")
    call = [str(CONFIG), f"lists.en={meta}", f"run={tmp_path / 'run'}", "metrics=delivery"]
    assert main([*call, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["rows"][0]["failed"] == 1


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


def test_a_list_that_has_changed_under_its_name_is_refused(
    meta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [str(CONFIG), f"lists.en={meta}", f"run={tmp_path / 'run'}", "metrics=delivery"]
    before = meta.read_text()
    meta.write_text("no fields\n")
    # What broke its format has made nothing, and binds nothing.
    assert main(call) == 2
    meta.write_text(before)
    assert main(call) == 0
    made = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    capsys.readouterr()
    meta.write_text(before.replace("A dog.", "A cat."))
    assert main(call) == 2
    assert "expected the list of SHA-256" in capsys.readouterr().err
    assert made == {path: path.read_bytes() for path in made}
    assert main([str(CONFIG), f"lists.other={meta}", *call[2:]]) == 0


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

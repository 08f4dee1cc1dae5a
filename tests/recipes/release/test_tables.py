"""Tables of the documents: where each comes from, and what is written between its markers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from recipes.release.tables import CONFIG, SETTINGS, main, read_plan

ROOT = Path(__file__).resolve().parents[3]
PLAN = read_plan(CONFIG, SETTINGS)
DOCUMENTS = sorted({spec.document for spec in PLAN.tables})
MARKED = re.compile(r"<!-- table (\w+) -->\n(.*?)<!-- end -->", re.S)
# Documents whose every table is listed or stands below; benchmarks have a command of their own.
KEPT = sorted(
    {"README.md", "docs/results.md"}
    | {
        str(path.relative_to(ROOT).as_posix())
        for pattern in ("docs/reports/*.md", "*/pretrained/*/README.md")
        for path in ROOT.glob(pattern)
    }
    - {"docs/reports/benchmarks.md"}
)
# Settings, and figures of weights that are not shipped, by the beginning of their heads.
OTHER_TABLES = {
    "codec/pretrained/hh-mini-24k/README.md": ("| part | settings |",),
    "codec/pretrained/hh-mini-24k-v2/README.md": ("| what | losses ",),
    "docs/reports/hh_small.md": ("| phase, step |",),
    "docs/reports/perceptual.md": (
        "| state |",
        "| after minus before |",
        "| | second |",
        "| step | hours",
    ),
}


@pytest.mark.parametrize("document", KEPT)
def test_every_table_stands_between_markers_that_the_list_names(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    listed = {spec.table for spec in PLAN.tables if spec.document == document}
    assert {name for name, _ in MARKED.findall(text)} == listed
    rest = MARKED.sub("", text)
    other = OTHER_TABLES.get(document, ())
    heads = [
        line
        for line, following in zip(rest.splitlines(), rest.splitlines()[1:], strict=False)
        if following.startswith("| ---") and not line.startswith(other)
    ]
    assert heads == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_table_is_empty(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert [name for name, inner in MARKED.findall(text) if "| --- |" not in inner] == []


@pytest.mark.parametrize("name", list(PLAN.sources))
def test_every_command_names_a_module_and_settings_that_are_there(name: str) -> None:
    words = PLAN.sources[name].command.split()
    assert words[:2] == ["python", "-m"]
    module = ROOT / Path(*words[2].split("."))
    assert module.with_suffix(".py").is_file() or (module / "__main__.py").is_file()
    settings = [word for word in words if word.startswith("recipes/configs/")]
    assert all((ROOT / each).exists() for each in settings)


def figure(value: float, unit: str = "") -> dict[str, Any]:
    ends = [value - 0.01, value + 0.01]
    head = {"value": value, "unit": unit, "higher_is_better": unit != "%", "ci95": ends}
    return head | {"n_speakers": 2}


def anchors() -> dict[str, Any]:
    """Figures of two systems, and their differences."""
    compared = {"ours": "mini", "theirs": "opus_6"}
    rows = [
        {"metric": metric, "figure": name, "higher_is_better": better, "verdict": verdict}
        for metric, name, better, verdict in (
            ("stoi.pystoi04", "stoi", True, "A better"),
            ("stoi.pystoi04", "stoi_raw", True, "A better"),
            ("stoi.pystoi04", "lag_ms", None, "A better"),
            ("wer.pocketsphinx51.basic", "wer", False, "B better"),
            ("wer_original.pocketsphinx51.basic", "wer", False, "not resolved"),
            ("wer_whisper.whisper_ct2.basic", "cer", False, "B better"),
            ("pitch.swift03", "vuv_f1", True, "not resolved"),
        )
    ]
    return {
        "systems": {
            name: {
                "is_ours": name == "mini",
                "codebooks": [
                    {"codebook_size": 64, "num_tokens": 1234, "used": 50}
                    | {"perplexity": 30.4, "effective_bitrate": 120.0}
                ],
                "measured_bitrate": 305.0,
                "figures": {
                    "stoi.pystoi04/stoi": figure(0.75),
                    "pitch.swift03/vuv_f1": figure(0.9),
                    "wer.pocketsphinx51.basic/wer": figure(0.5, "%"),
                },
            }
            for name in ("mini", "opus_6")
        },
        "differences": {"mini": {"scored": {"opus_6": {**compared, "figures": rows}}}},
        "subject": {"split": "test", "clips": 3, "speakers": 2, "speakers_elsewhere": 0},
        "provenance": {"command": "c", "hardware": "h", "date": "d", "commit": "0123456789"},
    }


def ablation() -> dict[str, Any]:
    """Figures of two variants on the clips of one voice."""
    full = {"stoi": figure(0.75), "wer_mel/wer": figure(0.5, "%"), "clips": 3, "speakers": 1}
    better = {"value": 0.02, "low": 0.01, "high": 0.03}
    unsure = {"value": -0.1, "low": -0.3, "high": 0.1}
    other = {
        "stoi": figure(0.77) | {"difference": better},
        "wer_mel/wer": figure(0.4, "%") | {"difference": unsure},
    }
    return {
        "splits": {"valid-known": {"full": full, "fsq": full | other}},
        "seconds a step, least window": {"full": 0.5, "fsq": 0.6},
        "hardware": "a CPU",
        "date": "today",
        "commit": "0123456789",
    }


TABLES = """
sources:
  test: {file: anchors.json, command: "python -m make {runs} {corpus}"}
  spoken: {file: metrics.json, command: python -m speak}
  page: {file: page.md, command: python -m page}
  speech: {file: seed_tts.json, command: python -m speak_lists}
  ablation: {file: ablation.json, command: python -m vary}
tables:
  - document: doc.md
    table: test
    kind: anchors
    source: test
    intervals: false
    outcomes: true
    columns: [stoi/stoi]
    systems: {mini: mini, opus_6: Opus 6 kbit/s}
  - document: doc.md
    table: words
    kind: words
    rows: {recording: [spoken, original], Opus: [test, opus_6]}
  - document: doc.md
    table: codebook
    kind: codebook
    rows: {train: [spoken, train], test: [spoken, test], "mini, test": [test, mini]}
  - document: doc.md
    table: speech
    kind: speech
    rows: {"ann, recordings": [speech, ann, recording], ann: [speech, ann]}
  - document: doc.md
    table: variants
    kind: variants
    source: ablation
    split: valid-known
    columns: {stoi: STOI ↑, wer_mel/wer: "WER, mel ↓", seconds: seconds a step}
  - {document: other.md, table: page, kind: markdown, source: page}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Documents with old tables, figures of two runs and none of a third."""
    runs = tmp_path / "runs"
    runs.mkdir()
    (tmp_path / "tables.yaml").write_text(TABLES)
    marks = [
        f"<!-- table {name} -->\nold\n<!-- end -->\n"
        for name in ("test", "words", "codebook", "speech", "variants")
    ]
    (tmp_path / "doc.md").write_text("Before.\n\n" + "\n".join(marks))
    (tmp_path / "other.md").write_text("<!-- table page -->\nold\n<!-- end -->\n")
    (runs / "anchors.json").write_text(json.dumps(anchors()))
    use = {"num_tokens": 21240, "used": 40, "perplexity": 30.4, "effective_bitrate": 120.0}
    words = {
        "wer": 0.216,
        "wer_ci95": [0.155, 0.282],
        "wer_whisper": 0.02,
        "wer_whisper_ci95": None,
    }
    metrics = {
        "words": {"original": words},
        "codebook": {"train": use | {"codebook_size": 64}, "test": use | {"codebook_size": 64}},
    }
    (runs / "metrics.json").write_text(json.dumps(metrics))
    similarity = "speaker_sim_prompt/speaker_sim_prompt"
    plain = {"unit": "%", "ci95": None, "value": 0.2}
    rows = [
        {"list": "ann", "version": "spoken", "figures": {"wer_whisper/wer": plain}},
        {
            "list": "ann",
            "version": "spoken, mean of 2 draws",
            "figures": {
                "wer_whisper/wer": plain | {"value": 0.1, "each": [0.08, 0.12]},
                similarity: figure(0.75),
            },
        },
        {"list": "ann", "version": "recording", "figures": {"wer_whisper/wer": figure(0.04, "%")}},
    ]
    (runs / "seed_tts.json").write_text(json.dumps({"rows": rows}))
    (runs / "ablation.json").write_text(json.dumps(ablation()))
    return tmp_path


def call(folder: Path, *words: str) -> int:
    own = ["--tables", str(folder / "tables.yaml"), "--root", str(folder)]
    return main([*words, *own, f"runs={folder / 'runs'}"])


def test_each_kind_of_table_is_written_from_its_figures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(folder, "doc.md", "--json") == 0
    assert json.loads(capsys.readouterr().out)["missing"] == []
    text = (folder / "doc.md").read_text()
    assert text.startswith("Before.\n")
    assert "\nold\n" not in text
    for line in (
        "| system | kbit/s | STOI ↑ |",
        "| **mini** | 0.30 | 0.750 |",
        "2 speakers, none of them in another split; mean.",
        "- mini beside Opus 6 kbit/s: better in STOI; worse in word error rate, wer_whisper cer; "
        "not told apart in V/UV F1.",
        "| speech | WER, Whisper ↓ | WER, pocketsphinx ↓ |",
        "| recording | 2.0 % | 21.6 % (15.5 to 28.2) |",
        "| Opus | - | 50.0 % (49.0 to 51.0) |",
        "| codebook (64 codes) | train | test | mini, test |",
        "| codes seen | 21,240 | 21,240 | 1,234 |",
        "| speech | WER, Whisper ↓ | similarity to the prompt ↑ |",
        "| ann, recordings | 4.0 % (3.0 to 5.0) | - |",
        "| ann | 10.0 % (8.0, 12.0) | 0.750 (0.740 to 0.760) |",
        "| variant | STOI ↑ | WER, mel ↓ | seconds a step |",
        "| `full` | 0.750 | 50.0 % | 1.00 |",
        "| `fsq` | 0.770<br>**+0.020** (0.010 to 0.030) | 40.0 %<br>-10.0 % (-30.0 to 10.0) | 1.2",
        "valid-known: 3 clips, clips of one speaker; below each figure its paired difference from",
        "in bold type where that holds no 0. a CPU, today, trained at commit `0123456`.",
    ):
        assert line in text
    # Written again, nothing changes.
    assert call(folder, "doc.md") == 0
    assert (folder / "doc.md").read_text() == text


def test_figures_that_are_not_there_leave_their_table_and_name_the_command(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(folder) == 1
    assert "missing  other.md: page: python -m page" in capsys.readouterr().out
    assert "old" in (folder / "other.md").read_text()
    assert call(folder, "--commands", "doc.md", "corpus=speech") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        f"python -m make {folder / 'runs'} speech",
        "python -m speak",
        "python -m speak_lists",
        "python -m vary",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("kind: codebook", "kind: pie"), "kind"),
        (("source: page", "source: none"), "source"),
        (("table: codebook", "table: test"), "each once"),
        (("opus_6: Opus", "mp3: Opus"), "system"),
        (("[stoi/stoi]", "[loudness]"), "column"),
    ],
)
def test_a_list_that_cannot_be_is_refused(
    change: tuple[str, str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "tables.yaml").write_text(TABLES.replace(*change))
    assert call(folder) == 2
    assert message in capsys.readouterr().err
    assert call(folder, "nowhere.md") == 2

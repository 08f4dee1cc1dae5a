from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recipes.release.model_cards import anchors_table, band_text, draw_mels, filled, main

CARD = "# A card\n\n<!-- table test -->\nold\n<!-- end -->\n\nrest <!-- end -->\n"


def test_mel_pictures_are_small_and_of_one_scale(
    make_waveform: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    panels = {"recording": make_waveform(3.0), "reconstructed": make_waveform(2.0, seed=1)}
    path = draw_mels(panels, 24_000, tmp_path / "card" / "mels.png")
    assert path.stat().st_size < 100_000
    with Image.open(path) as picture:
        assert picture.mode == "P"
        assert picture.width == 680
    with pytest.raises(ValueError, match="at least one waveform"):
        draw_mels({}, 24_000, tmp_path / "none.png")


def test_curves_are_drawn_of_metrics_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"step": step, "split": split, "mel": 1.0 / (1 + step)}
        for step in range(5)
        for split in ("train", "valid")
    ]
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    picture = tmp_path / "curves.png"
    lines = [f"mel L1={metrics}:{split}:mel" for split in ("train", "valid")]
    assert main(["curves", str(picture), *lines]) == 0
    assert picture.stat().st_size < 50_000
    assert main(["curves", str(picture), f"pitch={metrics}:valid:pitch"]) == 2
    assert "expected rows of split 'valid' with 'pitch'" in capsys.readouterr().err
    assert main(["curves", str(picture), "pitch"]) == 2


def test_a_table_replaces_what_stands_between_its_markers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text(CARD)
    (tmp_path / "new.md").write_text("| new |\n")
    command = ["table", str(tmp_path / "README.md"), "test", str(tmp_path / "new.md")]
    expected = CARD.replace("-->\nold\n<!--", "-->\n\n| new |\n\n<!--")
    for _ in range(2):
        assert main(command) == 0
        assert (tmp_path / "README.md").read_text() == expected
    with pytest.raises(ValueError, match="<!-- table valid -->"):
        filled(CARD, "valid", "")
    command[2] = "valid"
    assert main(command) == 2


def figure(value: float, unit: str, higher: bool) -> dict[str, Any]:
    ends = [value - 0.01, value + 0.01]
    head = {"value": value, "unit": unit, "higher_is_better": higher, "ci95": ends}
    return head | {"n_speakers": 2}


def test_a_card_shows_its_columns_of_every_system() -> None:
    ours = {
        "wer.pocketsphinx51/wer": figure(0.25, "%", False),
        "stoi.pystoi04/stoi": figure(0.75, "", True),
        "stoi.pystoi04/stoi_raw": figure(0.7, "", True),
    }
    theirs = {"stoi.pystoi04/stoi": figure(0.7, "", True)}
    figures = {
        "systems": {
            "ours": {"is_ours": True, "measured_bitrate": 305.0, "figures": ours},
            "theirs": {"is_ours": False, "measured_bitrate": None, "figures": theirs},
        },
        "subject": {"split": "test", "clips": 3, "speakers": 2},
        "provenance": {"command": "c", "hardware": "h", "date": "d", "commit": "0123456789"},
    }
    assert anchors_table(figures).splitlines() == [
        "| system | kbit/s | STOI ↑ | word error rate ↓ |",
        "| --- | --- | --- | --- |",
        "| **ours** | 0.30 | 0.750 (0.740 to 0.760) | 25.0 % (24.0 to 26.0) |",
        "| theirs | - | 0.700 (0.690 to 0.710) | - |",
        "",
        "test: 3 clips, 2 speakers; mean and 95 % bootstrap interval over 2 speakers, then "
        "their clips. `c`, h, d, commit `0123456`.",
    ]


def test_similarities_are_given_with_the_band_of_their_corpus() -> None:
    """0.8 is a voice that is kept where recordings of one speaker have 0.82, and of two 0.52."""
    bands = {"same_speaker": {"mean": 0.823}, "different_speaker": {"mean": 0.518}}
    systems = {"mini": {"corpus": {"speaker_sim.resemblyzer01": bands}}, "opus_6": {}}
    said = " Recordings of one speaker have a similarity of 0.82, of two 0.52."
    assert band_text(systems, ["stoi/stoi", "speaker_sim/speaker_sim"]) == said
    assert band_text(systems, ["stoi/stoi"]) == ""
    # One speaker has no pair of two.
    alone = {"same_speaker": {"mean": 0.9}, "different_speaker": {"mean": None}}
    assert band_text({"mini": {"corpus": {"speaker_sim.x": alone}}}, ["speaker_sim/a"]) == ""

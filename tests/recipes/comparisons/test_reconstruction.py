"""Miniatures of LibriTTS and of seed-tts-eval, recoded by ours and a peer, to the tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from codec import CodecConfig, HHCodec
from recipes.comparisons.reconstruction import main
from tests.support.peers import tiny_mimi

CONFIG = Path(__file__).resolve().parents[3] / "recipes" / "configs" / "reconstruction.yaml"
RATE = 24000


@pytest.fixture
def folder(make_waveform: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """Two subsets of LibriTTS, a list of seed-tts-eval and a tiny codec."""
    for subset, count in (("test-clean", 2), ("test-other", 1)):
        for number in range(count):
            clip = tmp_path / "LibriTTS" / subset / f"{number}" / "12" / f"{number}_12_0.wav"
            clip.parent.mkdir(parents=True)
            soundfile.write(clip, make_waveform(0.8, seed=number), RATE)
            for kind in ("original", "normalized"):
                clip.with_name(f"{clip.stem}.{kind}.txt").write_text("Some words.")
    seed = tmp_path / "seed"
    (seed / "prompt-wavs").mkdir(parents=True)
    soundfile.write(seed / "prompt-wavs" / "p.wav", make_waveform(0.8, seed=5), RATE)
    line = "words that were said|prompt-wavs/p.wav|words to say\n"
    (seed / "meta.lst").write_text(f"u1|{line}u2|{line}")
    torch.manual_seed(0)
    HHCodec(CodecConfig.preset("tiny")).eval().save_pretrained(tmp_path / "ours")
    return tmp_path


def call(folder: Path, *words: str) -> list[str]:
    sets = [
        f"sets.test_clean.folder={folder / 'LibriTTS' / 'test-clean'}",
        f"sets.test_other.folder={folder / 'LibriTTS' / 'test-other'}",
        f"sets.seed.folder={folder / 'seed' / 'meta.lst'}",
    ]
    own = [f"codec={folder / 'ours'}", f"run={folder / 'run'}", "threads=1", "metrics=[stoi]"]
    return [str(CONFIG), *sets, *own, "where_ready=[utmos22]", *words]


def test_every_layout_is_recoded_scored_and_tabulated(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HH_WEIGHT_UTMOS22_STRONG", "")
    pytest.importorskip("transformers")
    tiny_mimi().save_pretrained(folder / "mimi")
    peers = [f"{{mimi_2: {{kind: mimi, source: {folder / 'mimi'}, num_codebooks: 2}}"]
    peers += [f"gone: {{kind: dac, source: {folder / 'none'}}}}}"]
    words = call(folder, f"tokenizers={','.join(peers)}", "--json")
    config = folder / "own.yaml"
    # Peers of the file are those of a full run: here others take their place.
    text = CONFIG.read_text().split("# Near our bit rate")[0]
    config.write_text(text)
    assert main([str(config), *words[1:]]) == 0
    figures = json.loads(capsys.readouterr().out)
    clips = {name: each["subject"]["clips"] for name, each in figures["sets"].items()}
    # Both lines of the list have one prompt, which is one recording.
    assert clips == {"test_clean": 2, "test_other": 1, "seed": 1}
    assert set(figures["left_out"]) == {"utmos22", "gone"}
    systems: dict[str, Any] = figures["sets"]["test_clean"]["systems"]
    assert list(systems) == ["ours", "mimi_2", "original"]
    assert len(systems["mimi_2"]["codebooks"]) == 2
    books = systems["ours"]["codebooks"]
    assert books[0]["used"] <= books[0]["num_tokens"]
    table = (folder / "run" / "reconstruction.md").read_text()
    assert "test_clean: 2 clips" in table
    assert "| **mimi_2** | 2 |" in table
    assert "Left out: utmos22: weight file" in table


def test_a_set_that_is_not_there_is_refused_before_any_clip_is_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = call(folder, f"sets.test_clean.folder={folder / 'nowhere'}", "tokenizers={}")
    assert main(words) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not (folder / "run").exists()
    assert main([str(CONFIG), f"run={folder / 'run'}"]) == 2
    # A set is a folder of the run.
    assert main(call(folder, f"sets.a//b.folder={folder}")) == 2
    assert "'a//b'" in capsys.readouterr().err

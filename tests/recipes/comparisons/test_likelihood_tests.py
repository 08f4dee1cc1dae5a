"""Pairs of a corpus, scored by an untrained codec and language model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from codec import CodecConfig, HHCodec
from recipes.comparisons.likelihood_tests import command
from slm import TextTokenizer
from tests.support.builders import new_lm

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    codec = HHCodec(CodecConfig.preset("tiny")).eval()
    sentences = [f"the {a} {b} sat" for a in ("big", "old", "red") for b in ("cat", "dog", "fox")]
    tokenizer = TextTokenizer.train(sentences, folder / "text", vocab_size=40)
    lm = new_lm(codec, tokenizer)
    codec.save_pretrained(folder / "codec")
    lm.save_pretrained(folder / "lm", tokenizer)
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for n in range(4):
        clip = 0.1 * rng.standard_normal(16000).astype(np.float32)
        soundfile.write(folder / f"{n}.wav", clip, 16000)
        row = {"id": str(n), "audio": f"{n}.wav", "duration": 1.0, "text": "", "lang": "en"}
        rows.append(row | {"speaker": "ab"[n % 2], "gender": "fm"[n % 2], "split": "test"})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def test_a_corpus_is_built_scored_and_judged_and_again(
    models: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    call = [
        str(ROOT / "recipes" / "configs" / "likelihood_tests.yaml"),
        *(f"corpus={corpus}", f"codec={models / 'codec'}", f"lm={models / 'lm'}", f"run={run}"),
        *(
            "per_kind=2",
            "half_seconds=0.4",
            "kinds=gender_switch,speaker_switch,shuffled_halves",
            "--json",
        ),
    ]
    assert command(call) == 0
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert printed["kinds_without_pairs"] == ["speaker_switch"]
    assert "no pair of speaker_switch" in captured.err
    assert (printed["n_expected"], printed["n_ok"]) == (4, 4)
    assert printed["suites"]["gender_switch"]["all"]["length"]["ties"] == 2
    assert (run / "report.html").is_file()
    scores = (run / "scores.jsonl").read_bytes()
    row = json.loads(scores.splitlines()[0])
    assert len(row["log_likelihoods"]) == -(-round(row["seconds"] * 24000) // 1024)
    assert command(call) == 0
    assert (run / "scores.jsonl").read_bytes() == scores
    # A corpus that was corrected gives other pairs, which are scored.
    pairs = {path: path.read_bytes() for path in sorted((run / "pairs").rglob("*.wav"))}
    clip = 0.1 * np.random.default_rng(9).standard_normal(16000).astype(np.float32)
    soundfile.write(corpus / "0.wav", clip, 16000)
    assert command(call) == 0
    changed = [path for path, content in pairs.items() if path.read_bytes() != content]
    rows = [json.loads(line) for line in (run / "scores.jsonl").read_bytes().splitlines()]
    assert changed
    assert sorted(row["path"] for row in rows[len(scores.splitlines()) :]) == [*map(str, changed)]
    capsys.readouterr()
    (run / "models.json").write_text('{"codec": "another"}')
    assert command(call) == 2
    assert "delete it" in capsys.readouterr().err


def test_neither_corpus_nor_pairs_is_refused(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(ROOT / "recipes" / "configs" / "likelihood_tests.yaml")
    call = [config, f"codec={models / 'codec'}", f"lm={models / 'lm'}", f"run={tmp_path / 'r'}"]
    assert command(call) == 2
    assert "corpus=FOLDER or pairs=FILE" in capsys.readouterr().err


def test_a_mistyped_model_does_not_bind_the_folder(
    models: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [str(ROOT / "recipes" / "configs" / "likelihood_tests.yaml")]
    call += [f"corpus={corpus}", f"codec={models / 'codec'}", f"run={tmp_path / 'run'}"]
    call += ["per_kind=1", "half_seconds=0.4", "kinds=gender_switch", "--json"]
    assert command([*call, f"lm={tmp_path / 'lm'}"]) == 2
    assert command([*call, f"lm={models / 'lm'}"]) == 0
    capsys.readouterr()

"""Words and pseudo-words of a corpus, spoken alike by a stand-in for Kokoro."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import soundfile

from eval.likelihood_tests.pairs import read_pairs
from recipes.comparisons.word_pairs import command
from slm.text.lexicon import Lexicon
from tests.support.kokoro import Session, onnx_runtime, write_model

pytest.importorskip("espeakng_loader")
ROOT = Path(__file__).parents[3]
WORDS = {"paper": "P EY P ER", "window": "W IH N D OW", "summer": "S AH M ER", "cat": "K AE T"}
OTHERS = {
    "taper": "T EY P ER",
    "hammer": "HH AE M ER",
    "minnow": "M IH N OW",
    "pepper": "P EH P ER",
}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setitem(sys.modules, "onnxruntime", onnx_runtime())
    Lexicon.learn({w: p.split() for w, p in (WORDS | OTHERS).items()}).save(tmp_path / "lm")
    (tmp_path / "corpus").mkdir()
    rows = []
    for number, text in enumerate(
        ["The paper, a window!", "paper summer window cat", "summer cat"]
    ):
        row = {"id": str(number), "audio": f"{number}.wav", "duration": 1.0, "text": text}
        rows.append({**row, "speaker": "a", "lang": "en", "split": "train"})
    rows.append({**rows[0], "id": "de", "lang": "de", "text": "hammer hammer"})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "corpus/manifest.jsonl").write_text(lines, encoding="utf-8")
    return [
        str(ROOT / "recipes/configs/word_pairs.yaml"),
        f"corpus={tmp_path / 'corpus'}",
        f"model={write_model(tmp_path / 'kokoro')}",
        f"lexicon={tmp_path / 'lm'}",
        f"run={tmp_path / 'words'}",
        "voices=[af_one,bf_four]",
        "least_phones=4",
    ]


def test_both_of_a_pair_are_spoken_by_one_voice_from_phones_of_one_number(
    call: list[str], tmp_path: Path
) -> None:
    assert command(call) == 0
    pairs = read_pairs(tmp_path / "words/pairs.jsonl")
    # "cat" is too short, "hammer" is of another language, and others occur in no transcript.
    assert {pair.id.split("_")[-1] for pair in pairs} <= {"paper", "window", "summer"}
    assert {pair.part for pair in pairs} == {"af_one", "bf_four"}
    for pair in pairs:
        assert soundfile.info(pair.pos).frames == soundfile.info(pair.neg).frames
    tokens = [inputs["tokens"][0].tolist() for inputs in Session.calls]
    assert len(tokens) == 2 * len(pairs)
    for one, other in zip(tokens[::2], tokens[1::2], strict=True):
        assert sum(a != b for a, b in zip(one, other, strict=True)) == 1


def test_a_call_that_was_cut_off_speaks_what_is_missing(call: list[str], tmp_path: Path) -> None:
    assert command(call) == 0
    manifest = (tmp_path / "words/pairs.jsonl").read_bytes()
    lost = read_pairs(tmp_path / "words/pairs.jsonl")[0].neg
    before = lost.read_bytes()
    lost.unlink()
    Session.calls.clear()
    assert command(call) == 0
    assert len(Session.calls) == 1
    assert lost.read_bytes() == before
    assert (tmp_path / "words/pairs.jsonl").read_bytes() == manifest
    assert command([*call, "seed=1"]) == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("voices=[af_nobody]", "voices: expected some of af_one"),
        ("voices=[]", "voices: expected a voice or more"),
        ("least_count=9", "corpus: expected words that occur 9 times in the split train"),
        ("split=tests", "split: expected one of train, valid, test"),
        ("speed=9", "speed: expected 0.5 to 2"),
        ("per_voice=0", "per_voice"),
    ],
)
def test_settings_that_give_no_pairs_are_refused(
    override: str, message: str, call: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command([*call, override]) == 2
    assert message in capsys.readouterr().err
    assert Session.calls == []

"""Word errors of a run's model as a recogniser."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from codec import HHCodec
from codec.audio.store import AudioStoreWriter
from codec.files.json_lines import read_json_lines
from recipes.comparisons.transcribe import compared, main
from recipes.runner.config import ConfigError, load_config
from slm import TextTokenizer, TokenStoreWriter
from tests.support.builders import new_codec, new_lm, write_whisper

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "recipes/configs/transcribe_mini.yaml"
ROWS = [{"id": f"u{n}", "text": "seven green hills", "speaker": f"s{n % 2}"} for n in range(4)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder of a run whose model has random weights, with four recordings of valid."""
    codec: HHCodec = new_codec()
    tokenizer = TextTokenizer.train(["seven green hills"] * 2, tmp_path / "text", vocab_size=24)
    lm = new_lm(codec, tokenizer, max_seq_len=64, transcribes=True)
    lm.config = replace(lm.config, codec_fingerprint=codec.code_fingerprint)
    lm.save_pretrained(tmp_path / "train_slm/model", tokenizer)
    writer = TokenStoreWriter(
        tmp_path / "encode_corpus/valid",
        codec_fingerprint=codec.code_fingerprint,
        codebook_size=codec.codebook_size,
        frame_rate=codec.frame_rate,
    )
    sound = AudioStoreWriter(tmp_path / "prepare/valid", codec.sample_rate)
    generator = np.random.default_rng(0)
    extra = [
        {"id": "u0+256", "base_id": "u0", "text": "a copy", "speaker": "s0"},
        {"id": "silent", "text": "", "speaker": "s0"},
        {"id": "long", "text": "too long", "speaker": "s0"},
    ]
    for row in [*ROWS, *extra]:
        count = 70 if row["id"] == "long" else 20
        writer.add(generator.integers(0, codec.codebook_size, count), row)
        waveform = generator.normal(0, 0.1, 24000).astype(np.float32)
        sound.add(waveform, dict(row))
    writer.close()
    sound.close()
    return tmp_path


def call(run: Path, *options: str) -> list[str]:
    return [str(CONFIG), "corpus=none", f"run={run}", "threads=1", "--beam", "1", *options]


def test_texts_figures_and_table_are_written(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(call(run, "--json")) == 0
    figures = json.loads(capsys.readouterr().out)
    # Copies and recordings without a text do not count; one is too long for the model.
    assert (figures["recordings"], figures["left_out"], figures["speakers"]) == (4, 1, 2)
    own = figures["systems"]["language_model"]["wer"]
    assert own["count"] == 4
    assert own["groups"] == 2
    assert own["low"] <= own["value"] <= own["high"]
    texts = read_json_lines(run / "transcribe/valid.jsonl")
    assert [row["id"] for row in texts] == ["u0", "u1", "u2", "u3"]
    assert all(isinstance(row["language_model"], str) for row in texts)
    assert "| the language model, from codes |" in (run / "transcribe/valid.md").read_text()


def test_whisper_transcribes_the_same_recordings_where_its_folder_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "whisper").mkdir()
    # Set for this test alone: the option leaves it in the environment.
    monkeypatch.setenv("HH_WEIGHT_WHISPER", "")
    folder = write_whisper(tmp_path / "whisper")
    assert main(call(run, "--limit", "2", "--weight", f"whisper={folder}")) == 0
    figures = json.loads((run / "transcribe/valid.json").read_text())
    assert set(figures["systems"]) == {"language_model", "whisper"}
    assert set(figures["wer_difference"]) == {"value", "low", "high"}
    assert "whisper" in read_json_lines(run / "transcribe/valid.jsonl")[0]


def test_rates_are_pooled_over_recordings_and_compared_in_pairs() -> None:
    texts = {"language_model": ["seven green hills"] * 4, "whisper": ["seven green"] * 4}
    figures = compared(ROWS, texts, "basic")
    assert figures["systems"]["language_model"]["wer"]["value"] == 0
    assert figures["systems"]["whisper"]["wer"]["value"] == pytest.approx(1 / 3)
    assert figures["wer_difference"]["value"] == pytest.approx(-1 / 3)


def test_a_model_that_was_not_trained_to_transcribe_is_refused_in_a_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec = new_codec()
    tokenizer = TextTokenizer.load(run / "train_slm/model")
    torch.manual_seed(0)
    new_lm(codec, tokenizer).save_pretrained(run / "train_slm/model", tokenizer)
    assert main(call(run)) == 2
    assert "trained to transcribe" in capsys.readouterr().err


def test_phones_are_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match="kind = phones, which spell no words"):
        load_config(CONFIG, ["train_text.kind=phones"])


def test_a_folder_of_whisper_that_is_not_there_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table was written without Whisper, and nothing said why."""
    monkeypatch.setenv("HH_WEIGHT_WHISPER", str(run / "gone"))
    assert main(call(run)) == 2
    assert "there is no such folder" in capsys.readouterr().err
    assert not (run / "transcribe").exists()

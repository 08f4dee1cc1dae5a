"""Tokenizers compared on speech: phones, codecs trained for it, a budget, what is not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.audio import write_audio
from recipes.adaptability.codecs import recipe_of
from recipes.adaptability.config import AdaptConfig
from recipes.adaptability.corpus import check_rate
from recipes.adaptability.tokenizers import TokenizerConfig
from recipes.comparisons.adapt import main
from recipes.corpora.espeak import VOICES, Espeak
from recipes.runner.config import load_settings
from slm.model.speech_lm import pretrained_folder
from slm.text.lexicon import LEXICON_NAME, Lexicon

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "recipes/configs"
TEXTS = ("The old man found a red boat.", "A bell was ringing last night.", "She saw the sea.")
# A dictionary of a hundred thousand words takes seconds to read and write.
WORDS = {
    **{"the": "DH AH", "old": "OW L D", "man": "M AE N", "found": "F AW N D", "a": "AH"},
    **{"red": "R EH D", "boat": "B OW T", "bell": "B EH L", "was": "W AA Z", "last": "L AE S T"},
    **{"ringing": "R IH NG IH NG", "night": "N AY T", "she": "SH IY", "saw": "S AO", "sea": "S IY"},
}
YAML = """
sources: [reader]
tokenizers:
  ours: {{kind: hh, source: {codec}}}
  own: {{kind: trained, source: {recipe}}}
  km8: {{kind: kmeans, codebook_size: 8, stack: 4}}
  absent: {{kind: hh, source: {codec}-of-another-day, optional: true}}
preset: tiny
overrides: {{dim: 32, num_layers: 1}}
text: phones
text_start: {words}
prompt_seconds: [0.3, 0.5]
row_seconds: 9.0
batch_size: 1
steps: 40
budget: 0.1
warmup_steps: 20
validate_every: 2
resynthesize: 2
generate: 2
resynthesis_metrics: [mel_l1]
"""
RECIPE = """
corpus: espeak
run: runs/own
codec: {preset: tiny}
train_codec:
  phases:
    codec:
      train: [encoder, quantizer, decoder]
      steps: 40
      batch_size: 2
      crop_codes: 8
      warmup_steps: 20
      quantize_from: 20
      weights: {mel: 1.0, vq: 1.0}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    HHCodec(CodecConfig.preset("tiny")).eval().save_pretrained(tmp_path / "codec")
    (tmp_path / "own.yaml").write_text(RECIPE)
    path = tmp_path / "adapt.yaml"
    (tmp_path / "words").mkdir()
    Lexicon(WORDS).save(tmp_path / "words")
    folders = {"codec": tmp_path / "codec", "words": tmp_path / "words"}
    path.write_text(YAML.format(**folders, recipe=tmp_path / "own.yaml"))
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Each text twice in train and once in valid by a reader, and once in train by another."""
    folder, rows = tmp_path / "corpus", list[dict[str, Any]]()
    with Espeak() as espeak:
        for split, texts in (("train", TEXTS * 2), ("valid", TEXTS), ("test", TEXTS[:1])):
            for number, text in enumerate(texts):
                waveform = espeak.speak(text, VOICES[0])
                path = f"audio/{split}{number}.wav"
                (folder / "audio").mkdir(parents=True, exist_ok=True)
                write_audio(folder / path, waveform, espeak.sample_rate)
                about = {"duration": len(waveform) / espeak.sample_rate, "split": split}
                source = "other" if split == "test" else "reader"
                who = {"speaker": "s", "lang": "en", "source": source}
                rows.append({"id": f"{split}{number}", "audio": path, "text": text, **about, **who})
    rows.append({**rows[0], "id": "other", "source": "other"})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_codecs_are_trained_and_spoken_with_within_one_budget(
    config: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "adapt"
    call = [str(config), f"corpus={corpus}", f"run={run}", "threads=1"]
    assert main([*call, "--json"]) == 0
    said = capsys.readouterr()
    assert "left out absent" in said.err
    found = json.loads(said.out)
    results = {result["name"]: result for result in found["results"]}
    assert set(results) == {"ours", "own", "km8"}
    assert found["left_out"].keys() == {"absent"}
    # Six clips of the reader, not the seventh, of another source.
    assert "6 training clips" in found["title"]
    assert "budget 0.1" in found["title"]
    for result in results.values():
        assert [row["step"] for row in result["curve"]] == [2, 4]
        # Codes, and for every phone itself and its duration.
        rate = result["tokens_per_second"]
        assert result["tokens_of_ten_seconds"] > 10 * rate
        assert result["seconds_of_ten_seconds"] > 0
        assert result["generation"]["runaway"]["value"] == 0
    # Of 40 steps a tenth, and the codec is bound to the comparison's clips.
    lines = (run / "own/codec/train_codec/codec/metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 4
    markdown = (run / "adapt.md").read_text()
    assert "given phones and durations" in markdown
    assert "2 clips, 95 % intervals over clips of one speaker" in markdown
    assert "Left out: absent" in markdown
    assert main([*call, "budget=0.2"]) == 2
    assert "budget" in capsys.readouterr().err


def test_a_dry_run_names_what_is_missing_and_writes_nothing(
    config: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "adapt"
    call = [str(config), f"corpus={corpus}", f"run={run}", "--dry-run", "--json"]
    assert main(call) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["tokenizers"]["absent"]["status"] == "left out"
    assert plan["steps"] == 4
    assert main([*call, "tokenizers.absent.optional=false"]) == 2
    assert "absent: " in capsys.readouterr().out
    assert main([*call, "tokenizers.own.source=none.yaml"]) == 2
    assert not run.exists()


def test_a_tokenizer_that_is_not_there_is_refused_before_any_work(
    config: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "adapt"
    call = [str(config), f"corpus={corpus}", f"run={run}", "tokenizers.absent.optional=false"]
    assert main(call) == 2
    assert "absent: " in capsys.readouterr().err
    assert not run.exists()


def test_sources_that_the_corpus_lacks_are_refused(
    config: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(config), f"corpus={corpus}", f"run={tmp_path / 'r'}", "sources=[other]"]) == 2
    assert "some with clips of train and valid" in capsys.readouterr().err


class Fast:
    """Eight codebooks, of which a phone's codes pass the bounds of generation."""

    name, fingerprint = "fast", "fast"
    sample_rate, frame_rate, num_codebooks, codebook_size = 24000, 75.0, 8, 4
    tokens_per_second = 600.0

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        return np.zeros((8, -(-len(waveform) // 320)), np.int64)

    def decode(self, codes: np.ndarray, num_samples: int) -> np.ndarray:
        return np.zeros(num_samples, np.float32)


def test_more_tokens_a_second_than_phones_allow_are_refused() -> None:
    with pytest.raises(ValueError, match="fast: expected at most 60 tokens a second"):
        check_rate(Fast())


def test_the_recipe_on_speech_compares_five_tokenizers_on_phones(tmp_path: Path) -> None:
    words = [f"run={tmp_path}", f"corpus={tmp_path}", "budget=0.01"]
    config = load_settings(AdaptConfig, CONFIGS / "adapt_speech.yaml", words)
    assert config.text_start is not None
    assert (pretrained_folder(config.text_start) / LEXICON_NAME).is_file()
    needed = [name for name, each in config.tokenizers.items() if not each.optional]
    assert len(needed) >= 5
    kinds = {config.tokenizers[name].kind for name in needed}
    assert kinds == {"hh", "trained", "kmeans"}
    recipes = {}
    for name in needed:
        source = config.tokenizers[name].source
        if config.tokenizers[name].kind == "trained":
            assert source is not None
            recipes[name] = recipe_of(config, str(ROOT / source), tmp_path / name)
    weights = {name: each.train_codec.phases["fitted"] for name, each in recipes.items()}
    # They differ by one setting each.
    plain = weights["slm_vq"]
    assert plain.weights.semantic > 0 == weights["no_distillation"].weights.semantic
    alike = replace(plain, weights=replace(plain.weights, semantic=0.0))
    assert alike == weights["no_distillation"]
    assert weights["fsq_8192"] == plain
    assert plain.steps == 4


def test_a_codec_of_a_recipe_needs_its_file() -> None:
    with pytest.raises(ValueError, match="source"):
        TokenizerConfig(kind="trained")


def test_voices_that_are_heard_in_valid_alone_follow_another_clip_of_theirs(
    config: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = corpus / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        row["speaker"] = {"valid": "new"}.get(row["split"], row["speaker"])
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = tmp_path / "adapt"
    call = [str(config), f"corpus={corpus}", f"run={run}", "threads=1", "--only", "km8"]
    assert main(call) == 0
    made = [
        json.loads(line)
        for line in (run / "km8/generation/generation.jsonl").read_text().splitlines()
    ]
    assert made
    assert {item["speaker"] for item in made} == {"new"}
    assert all(item["prompt"].startswith("valid") for item in made)
    assert all(item["prompt"] != item["id"] for item in made)
    capsys.readouterr()
    # With one clip of each there is nothing to follow, which is told.
    for number, row in enumerate(rows):
        row["speaker"] = row["speaker"] if row["split"] == "train" else str(number)
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([*call[:2], f"run={tmp_path / 'again'}", *call[3:]]) == 0
    assert "no speech of texts" in capsys.readouterr().err

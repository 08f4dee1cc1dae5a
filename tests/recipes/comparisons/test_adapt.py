from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.audio.store import AudioStore, AudioStoreWriter
from codec.files import write_json
from codec.runtime.run_lock import locked
from recipes.adaptability.codes import encode_splits, ngram_figures
from recipes.adaptability.config import AdaptConfig
from recipes.adaptability.tokenizers import TokenizerConfig
from recipes.comparisons import adapt
from recipes.comparisons.adapt import is_done, main
from recipes.runner.config import load_settings

YAML = """
tokenizers:
  ours: {{kind: hh, source: {codec}}}
  km8: {{kind: kmeans, codebook_size: 8, stack: 8}}
preset: tiny
overrides: {{dim: 32, num_layers: 1}}
text_vocab: 24
prompt_seconds: [0.1, 0.2]
row_seconds: 2.0
batch_size: 2
steps: 6
warmup_steps: 2
validate_every: 3
resynthesize: 2
generate: 2
resynthesis_metrics: [mel_l1]
words: [digits]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    HHCodec(CodecConfig.preset("tiny")).eval().save_pretrained(tmp_path / "codec")
    path = tmp_path / "adapt.yaml"
    path.write_text(YAML.format(codec=tmp_path / "codec"), encoding="utf-8")
    return path


def test_two_tokenizers_are_trained_on_the_same_speech_and_compared(
    config: Path,
    make_corpus: Callable[..., tuple[Path, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus, _ = make_corpus(counts=(8, 4, 1))
    run = tmp_path / "adapt"
    call = [str(config), f"corpus={corpus}", f"run={run}"]
    assert main([*call, "--only", "km8"]) == 0
    first = (run / "km8" / "result.json").read_text()
    capsys.readouterr()
    assert main([*call, "--json"]) == 0
    results = {r["name"]: r for r in json.loads(capsys.readouterr().out)["results"]}
    assert (run / "km8" / "result.json").read_text() == first
    assert set(results) == {"ours", "km8"}
    ours, km8 = results["ours"], results["km8"]
    # 0.5 s are 12 codes of 23.4 Hz, and 6 of half that rate.
    assert (ours["tokens_per_second"], km8["tokens_per_second"]) == (24.0, 12.0)
    assert km8["raw_bitrate"] == 36.0
    for result in results.values():
        assert result["audio_seconds_trained"] == pytest.approx(24.0, rel=0.35)
        assert [row["step"] for row in result["curve"]] == [3, 6]
        last = result["curve"][-1]
        assert last["bits_per_second"] == pytest.approx(result["bits_per_second"])
        assert last["audio_seconds"] == pytest.approx(result["audio_seconds_trained"])
        assert result["resynthesis"]["mel_l1"]["value"] > 0
        assert 0 <= result["generation"]["runaway"]["value"] <= 1
        assert result["generation"]["wer"]["value"] >= 0
        record = run / result["name"] / "generation/generation.jsonl"
        assert len(record.read_text(encoding="utf-8").splitlines()) == 2
        assert result["share_removed"] == pytest.approx(
            1 - result["bits_per_second"] / result["raw_bitrate"]
        )
    ratio = ours["audio_seconds_trained"] / km8["audio_seconds_trained"]
    assert ratio == pytest.approx(1.0, rel=0.15)
    assert "| km8 |" in (run / "adapt.md").read_text()
    assert main([*call, "tokenizers.km8.stack=4"]) == 2
    assert "give the tokenizer another name" in capsys.readouterr().err


def test_a_row_that_cannot_hold_a_clip_is_refused(
    config: Path,
    make_corpus: Callable[..., tuple[Path, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus, _ = make_corpus(counts=(2, 1, 1))
    call = [str(config), f"corpus={corpus}", f"run={tmp_path / 'r'}", "row_seconds=0.3"]
    assert main([*call, "--only", "km8"]) == 2
    assert "row_seconds: expected rows that hold the longest document" in capsys.readouterr().err
    assert main([*call, "--only", "none"]) == 2
    assert "--only: expected some of" in capsys.readouterr().err


def test_a_corpus_without_transcripts_is_compared_by_likelihood_alone(
    config: Path, make_corpus: Callable[..., tuple[Path, Any]], tmp_path: Path
) -> None:
    corpus, records = make_corpus(counts=(4, 2, 1))
    lines = [json.dumps({**record, "text": ""}) + "\n" for record in records]
    (corpus / "manifest.jsonl").write_text("".join(lines), encoding="utf-8")
    run = tmp_path / "silent"
    assert main([str(config), f"corpus={corpus}", f"run={run}", "--only", "km8"]) == 0
    result = json.loads((run / "km8" / "result.json").read_text())
    assert result["bits_per_second_given_text"] is None
    assert result["generation"] is None
    assert result["bits_per_second"] > 0


class Constant:
    """Two codebooks of constant codes: nothing to learn and nothing kept."""

    name, fingerprint = "constant", "constant"
    sample_rate, frame_rate, num_codebooks, codebook_size = 24000, 10.0, 2, 4
    tokens_per_second = 20.0

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        return np.zeros((2, -(-len(waveform) // 2400)), np.int64)

    def decode(self, codes: np.ndarray, num_samples: int) -> np.ndarray:
        return np.zeros(num_samples, np.float32)


def test_a_constant_tokenizer_costs_next_to_nothing(tmp_path: Path) -> None:
    """The pitfall named below the table: fewest bits, and no speech."""
    audio = {}
    for split in ("train", "valid"):
        with AudioStoreWriter(tmp_path / split, 24000) as writer:
            for n in range(40):
                row = {"id": f"{split}{n}", "text": "", "speaker": "a"}
                writer.add(np.full(24000, 0.1, np.float32), row)
        audio[split] = AudioStore(tmp_path / split)
    encoded = encode_splits(Constant(), audio, tmp_path / "codes")
    assert encoded.stores["train"].codebook_size == 8
    assert encoded.stores["train"].codes(0)[:4].tolist() == [0, 4, 0, 4]
    assert encoded.figures["raw_bitrate"] == 40.0
    figures = ngram_figures(encoded, 0.0)
    # The unigram spends a bit on the codebook of a token, which the bigram predicts.
    assert figures["unigram_bits_per_second"] == pytest.approx(20.0, rel=0.02)
    assert figures["bigram_bits_per_second"] < 1.0


def test_texts_of_other_languages_are_spoken_in_their_own(tmp_path: Path) -> None:
    """Their numbers were written out in English, in training and in generation."""
    audio = {}
    for split in ("train", "valid"):
        with AudioStoreWriter(tmp_path / split, 24_000) as writer:
            row = {"id": split, "text": "5 Hunde", "speaker": "a", "lang": "de", "duration": 0.5}
            writer.add(np.zeros(12_000, dtype=np.float32), row)
        audio[split] = AudioStore(tmp_path / split)
    encoded = encode_splits(Constant(), audio, tmp_path / "codes")
    assert [row["lang"] for row in encoded.stores["train"].rows] == ["de"]


def test_a_result_of_a_codec_that_was_trained_anew_since_is_refused(tmp_path: Path) -> None:
    def saved(seed: int) -> str:
        torch.manual_seed(seed)
        codec = HHCodec(CodecConfig.preset("tiny")).eval()
        codec.save_pretrained(tmp_path / "codec")
        return codec.fingerprint

    settings = TokenizerConfig(kind="hh", source=str(tmp_path / "codec"))
    folder = tmp_path / "ours"
    assert not is_done(settings, "ours", folder)
    first = saved(1)
    write_json(folder / "result.json", {"settings": vars(settings), "fingerprint": first})
    assert is_done(settings, "ours", folder)
    second = saved(2)
    with pytest.raises(
        ValueError, match=f"expected a result of codec {second}, got one of {first}"
    ):
        is_done(settings, "ours", folder)


def test_a_tokenizer_that_fails_does_not_keep_the_others_from_being_compared(
    config: Path,
    make_corpus: Callable[..., tuple[Path, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus, _ = make_corpus(counts=(8, 4, 1))
    run = tmp_path / "adapt"
    compare = adapt.compare_one

    def failing(config: Any, name: str, *rest: Any) -> None:
        if name == "ours":
            raise RuntimeError("out of memory")
        compare(config, name, *rest)

    monkeypatch.setattr(adapt, "compare_one", failing)
    settings = load_settings(AdaptConfig, str(config), [f"corpus={corpus}", f"run={run}"])
    with pytest.raises(RuntimeError, match="out of memory"):
        adapt.run_adapt(settings)
    assert "ours: failed: out of memory" in capsys.readouterr().err
    assert (run / "km8" / "result.json").is_file()
    assert "| km8 |" in (run / "adapt.md").read_text()


def test_a_tokenizer_that_another_process_works_on_does_not_keep_the_others_from_being_compared(
    config: Path,
    make_corpus: Callable[..., tuple[Path, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus, _ = make_corpus(counts=(8, 4, 1))
    run = tmp_path / "adapt"
    settings = load_settings(AdaptConfig, str(config), [f"corpus={corpus}", f"run={run}"])
    with locked(run / "ours"), pytest.raises(ValueError, match="in use by process"):
        adapt.run_adapt(settings)
    assert "ours: failed: " in capsys.readouterr().err
    assert (run / "km8" / "result.json").is_file()

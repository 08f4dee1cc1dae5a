"""What the stage that trains the language model makes of its settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.runner.config import load_config
from recipes.runner.schema import Config
from recipes.runner.stages import settings_of
from recipes.train_slm import build_lm, packed_rows, training_settings
from slm import TextTokenizer, TokenStore, TokenStoreWriter

SMOKE = Path(__file__).resolve().parents[2] / "recipes/configs/smoke.yaml"


def config_with(*overrides: str) -> Config:
    return load_config(SMOKE, ["corpus=x", "run=y", *(f"train_slm.{o}" for o in overrides)])


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    writer = TokenStoreWriter(
        tmp_path / "store", codec_fingerprint="c", codebook_size=32, frame_rate=23.4375
    )
    for item in range(4):
        writer.add(np.arange(20), {"id": str(item), "text": "seven green hills", "speaker": "s"})
    writer.close()
    return TokenStore(tmp_path / "store")


@pytest.fixture
def tokenizer(tmp_path: Path) -> TextTokenizer:
    return TextTokenizer.train(["seven green hills"] * 2, tmp_path / "text", vocab_size=24)


def test_further_fields_of_training_and_documents_reach_them(
    store: TokenStore, tokenizer: TextTokenizer
) -> None:
    config = config_with(
        "training.optimizer=muon",
        "training.schedule=wsd",
        "documents.interleave_probability=1.0",
        "documents.interleave_codes=5",
    )
    settings = training_settings(config)
    assert (settings.optimizer, settings.schedule) == ("muon", "wsd")
    lm = build_lm(config, store, tokenizer)
    rows = packed_rows(config, store, tokenizer, lm, "train")
    assert rows.settings.interleave_codes == 5
    valid = packed_rows(config, store, tokenizer, lm, "valid")
    assert valid.settings.interleave_probability == 0


def test_a_field_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r"train_slm\.training: .*\['optimiser'\]"):
        training_settings(config_with("training.optimiser=muon"))


def test_a_text_model_gives_its_sizes_and_weights(
    store: TokenStore, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    given = transformers.LlamaConfig(vocab_size=tokenizer.vocab_size, **sizes, **heads)
    theirs = transformers.LlamaForCausalLM(given)
    theirs.save_pretrained(tmp_path / "llama")
    tokenizer.save(tmp_path / "llama").rename(tmp_path / "llama/tokenizer.model")
    lm = build_lm(config_with(f"start={tmp_path / 'llama'}"), store, tokenizer)
    assert (lm.config.dim, lm.config.num_layers, lm.config.kv_heads) == (32, 1, 1)
    start = lm.vocabulary.text_start
    pieces = lm.embedding.weight[start : lm.vocabulary.code_start]
    assert torch.equal(pieces, theirs.model.embed_tokens.weight)


def test_another_checkpoint_to_go_on_from_is_none_of_the_settings_results_depend_on() -> None:
    config = config_with("resume_from=kept.ckpt")
    assert config.train_slm.resume_from == "kept.ckpt"
    assert settings_of(config, "train_slm") == settings_of(config_with(), "train_slm")

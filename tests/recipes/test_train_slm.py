from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.files import write_json
from recipes.runner.config import ConfigError, load_config
from recipes.runner.schema import Config
from recipes.runner.stages import StageError, check_settings, settings_of
from recipes.train_slm import build_lm, main, packed_rows, training_settings
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


def test_a_model_says_that_it_was_trained_to_transcribe(
    store: TokenStore, tokenizer: TextTokenizer
) -> None:
    assert not build_lm(config_with(), store, tokenizer).config.transcribes
    config = config_with("documents.transcribe_probability=0.5")
    lm = build_lm(config, store, tokenizer)
    assert lm.config.transcribes
    for split, expected in (("train", 0.5), ("valid", 0.0)):
        rows = packed_rows(config, store, tokenizer, lm, split)
        assert rows.settings.transcribe_probability == expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.optimiser=muon", r"train_slm\.training\.optimiser: .*'optimizer'"),
        ("training.optimizer=sgd", r"train_slm\.training\..*adamw"),
        ("documents.interleave_codes=many", r"train_slm\.documents\.interleave_codes: .*'many'"),
        ("documents.interleave_codes=0", r"train_slm\.documents\..*interleave_codes.* 1"),
        ("training.max_steps=500", r"train_slm\.training\.max_steps: .*train_slm\.steps sets it"),
        ("training.learning_rate=1", r"learning_rate: .*since train_slm\.learning_rate sets it"),
        ("documents.lookahead=2", r"train_slm\.documents\.lookahead: .*overrides"),
    ],
)
def test_a_wrong_nested_setting_is_named_before_any_work(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_with(override)


def test_a_folder_made_when_nested_settings_were_open_mappings_is_gone_on_with(
    tmp_path: Path,
) -> None:
    overrides = ("training.optimizer=muon", "documents.shares.a=0.5")
    config = config_with(*overrides)
    config.run = str(tmp_path)
    settings = settings_of(config, "train_slm")
    nested = ("train_slm.training", "train_slm.documents")
    before = {key: value for key, value in settings.items() if not key.startswith(nested)}
    before |= {"train_slm.training": ["optimizer"], "train_slm.training.optimizer": "muon"}
    before |= {"train_slm.documents": ["shares"], "train_slm.documents.shares": ["a"]}
    before |= {"train_slm.documents.shares.a": 0.5}
    write_json(tmp_path / "train_slm/settings.json", before)
    check_settings(config, "train_slm", settings)
    before["train_slm.training.optimizer"] = "adamw"
    write_json(tmp_path / "train_slm/settings.json", before)
    with pytest.raises(StageError, match=r"training\.optimizer: 'adamw' -> 'muon'"):
        check_settings(config, "train_slm", settings)


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


@pytest.fixture
def encoded(tmp_path: Path) -> tuple[Config, HHCodec]:
    """A run up to its token stores, which are of its codec."""
    torch.manual_seed(0)
    codec = HHCodec(CodecConfig.preset("tiny")).eval()
    codec.save_pretrained(tmp_path / "run/train_codec/model")
    for split in ("train", "valid", "test"):
        write_store(tmp_path / "run/encode_corpus" / split, codec, codec.code_fingerprint)
    TextTokenizer.train(["seven green hills"] * 2, tmp_path / "run/train_text", vocab_size=24)
    return load_config(SMOKE, ["corpus=x", "threads=1", f"run={tmp_path / 'run'}"]), codec


def write_store(folder: Path, codec: HHCodec, fingerprint: str) -> None:
    writer = TokenStoreWriter(
        folder,
        codec_fingerprint=fingerprint,
        codebook_size=codec.codebook_size,
        frame_rate=codec.frame_rate,
    )
    writer.add(np.arange(20), {"id": "a", "text": "seven green hills", "speaker": "s"})
    writer.close()


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_tokens_of_another_codec_are_refused_in_any_split(
    encoded: tuple[Config, HHCodec], split: str
) -> None:
    config, codec = encoded
    folder = Path(config.run) / "encode_corpus" / split
    shutil.rmtree(folder)
    write_store(folder, codec, "0" * 16)
    with pytest.raises(ValueError, match=f"{split} holds codes of codec 0{{16}}, expected"):
        main(config)
    assert not (Path(config.run) / "train_slm").exists()


@pytest.mark.parametrize("name", ["codes-00000.u16", "codes-00000.rows.jsonl"])
def test_a_store_in_which_a_bit_has_changed_is_not_trained_on(
    encoded: tuple[Config, HHCodec], name: str
) -> None:
    config, _ = encoded
    path = Path(config.run) / "encode_corpus/train" / name
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"got others or none: {name}"):
        main(config)
    assert not (Path(config.run) / "train_slm").exists()

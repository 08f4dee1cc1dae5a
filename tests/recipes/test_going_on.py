"""Training that goes on from a speech language model, and text models that are taken over."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codec import HHCodec
from codec.audio.store import AudioStoreWriter
from recipes import train_slm, train_text
from recipes.runner.config import load_config
from recipes.runner.schema import Config
from slm import SpeechLM, TextTokenizer, TokenStoreWriter
from slm.model.code_embeddings import code_tables, standardised
from slm.model.code_init import init_codes_from_codebook
from slm.synthesis.voices import default_voice, load_voices, save_voices
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PhoneTokenizer
from slm.text.tokenizer import load_tokenizer
from tests.support.builders import SENTENCE, new_codec, new_lm

SMOKE = Path(__file__).resolve().parents[2] / "recipes/configs/smoke.yaml"
TEXTS = ["seven green hills", "the quick brown fox"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run up to its text model: codec, stores of two speakers and the model to start from."""
    codec = new_codec().eval()
    codec.save_pretrained(tmp_path / "run/train_codec/model")
    tokenizer = TextTokenizer.train([SENTENCE] * 2, tmp_path / "text")
    sizes = {"code_table": 8, "codebook_dim": codec.codebook.shape[1]}
    lm = new_lm(codec, tokenizer, max_seq_len=160, codes_per_character=0.6, **sizes)
    init_codes_from_codebook(lm, codec.codebook)
    lm.save_pretrained(tmp_path / "model", tokenizer)
    voices = {"ann": np.arange(10), "own": np.arange(5)}
    save_voices(tmp_path / "model", voices, codec.fingerprint, "ann")
    for split in ("train", "valid", "test"):
        write_store(tmp_path / "run/encode_corpus" / split, codec)
        with AudioStoreWriter(tmp_path / "run/prepare" / split, 24_000) as writer:
            writer.add(np.zeros(100, np.float32), {"id": "a", "text": TEXTS[0], "lang": "en"})
    return tmp_path / "run"


def write_store(folder: Path, codec: HHCodec) -> None:
    writer = TokenStoreWriter(
        folder,
        codec_fingerprint=codec.code_fingerprints,
        codebook_size=codec.codebook_size,
        frame_rate=codec.frame_rate,
    )
    for item in range(6):
        codes = np.arange(item, item + 50) % codec.codebook_size
        writer.add(codes, {"id": str(item), "text": TEXTS[item % 2], "speaker": "own"})
    writer.close()


def config_of(run: Path, *overrides: str) -> Config:
    given = [f"run={run}", "corpus=x", "threads=1", "train_slm.seq_len=128"]
    given += ["train_slm.steps=2", "train_slm.warmup_steps=1"]
    given += [f"{stage}.start={run.parent / 'model'}" for stage in ("train_slm", "train_text")]
    given += ["train_slm.preset=base", *overrides]
    return load_config(SMOKE, given)


def trained(run: Path, *overrides: str) -> SpeechLM:
    config = config_of(run, *overrides)
    train_text.main(config)
    folder = train_slm.main(config)
    return SpeechLM.from_pretrained(folder / "model", fold=False)


def test_a_model_goes_on_with_its_sizes_text_model_and_voices(run: Path) -> None:
    start = SpeechLM.from_pretrained(run.parent / "model", fold=False)
    lm = trained(run, "train_slm.overrides={dropout: 0.1, temperature: 0.5}")
    assert lm.config.dim == start.config.dim  # not the preset's
    assert (lm.config.dropout, lm.config.temperature) == (0.1, 0.5)
    assert lm.config.codes_per_character == 0.6
    assert lm.config.code_table == 8
    # The codes' places are those of training, not made anew from the codebook.
    moved = [
        float((value - start.state_dict()[name]).abs().max())
        for name, value in lm.state_dict().items()
        if value.is_floating_point()
    ]
    assert 0 < max(moved) < 0.1
    folder = run / "train_slm/model"
    assert load_tokenizer(folder).fingerprint == start.vocabulary.text_fingerprint
    voices = load_voices(folder, lm.config.codec_fingerprint)
    assert voices["ann"].tolist() == list(range(10))
    assert len(voices["own"]) == 50  # of the new recordings
    assert default_voice(folder) == "own"


def test_a_longer_row_or_prompt_than_the_model_had_is_written_into_its_config(run: Path) -> None:
    lm = trained(run, "train_slm.seq_len=192", "train_slm.max_prompt_codes=40")
    assert (lm.config.max_seq_len, lm.config.max_prompt_codes) == (192, 40)


def test_adapters_are_merged_into_the_model_that_is_saved(run: Path) -> None:
    pytest.importorskip("peft")
    start = SpeechLM.from_pretrained(run.parent / "model", fold=False)
    lm = trained(run, "train_slm.lora.rank=2")
    before, after = start.state_dict(), lm.state_dict()
    assert set(before) == set(after)
    assert torch.equal(before["decoder.final_norm.g"], after["decoder.final_norm.g"])
    name = "decoder.layers.0.1.to_q.weight"
    assert not torch.equal(before[name], after[name])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train_slm.overrides={num_layers: 5}", "expected its own sizes"),
        ("train_slm.overrides={layers: 5}", r"fields of SpeechLMConfig, got \['layers'\]"),
        ("train_text.start=null", "take over its own: train_text.start"),
        ("train_text.kind=phones", "train_text.kind: expected pieces, as of start"),
    ],
)
def test_what_does_not_belong_to_the_model_is_refused(
    run: Path, override: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trained(run, override)


def test_a_model_of_another_codec_is_refused(run: Path) -> None:
    path = run.parent / "model/config.yaml"
    lines: list[Any] = path.read_text().splitlines()
    changed = ["codec_fingerprint: other" if "codec_" in line else line for line in lines]
    path.write_text("\n".join(changed))
    with pytest.raises(ValueError, match=r"expected a model of codec .*, got 'other'"):
        trained(run)


def other_codec(run: Path) -> HHCodec:
    """Another codec in the place of the run's, with stores of its codes."""
    torch.manual_seed(5)
    codec = new_codec()
    codec.quantizer.initialize(torch.randn(400, codec.config.quantizer.dim), seed=5)
    codec.eval().save_pretrained(run / "train_codec/model")
    for split in ("train", "valid", "test"):
        shutil.rmtree(run / "encode_corpus" / split)
        write_store(run / "encode_corpus" / split, codec)
    return codec


def test_a_model_of_another_codec_goes_on_with_the_vectors_of_the_new_one(run: Path) -> None:
    codec = other_codec(run)
    with pytest.raises(ValueError, match=r"expected a model of codec"):
        trained(run)
    lm = trained(run, "train_slm.start_other_codec=true")
    assert lm.config.codec_fingerprint == codec.code_fingerprint
    start = SpeechLM.from_pretrained(run.parent / "model", fold=False)
    for table, before in zip(code_tables(lm), code_tables(start), strict=True):
        assert torch.equal(table.features, standardised(codec.codebook))
        assert not torch.equal(table.features, before.features)
        kept, given = table.skip.weight.flatten(), before.skip.weight.flatten()
        assert torch.cosine_similarity(kept, given, dim=0) > 0.9  # a new table's is about 0
    # Codes of the former codec are no voices of this one.
    assert list(load_voices(run / "train_slm/model", codec.code_fingerprint)) == ["own"]


def test_a_model_without_code_tables_cannot_go_on_with_another_codec(run: Path) -> None:
    model = SpeechLM.from_pretrained(run.parent / "model")
    tokenizer = load_tokenizer(run.parent / "model")
    shutil.rmtree(run.parent / "model")
    sizes = replace(model.config, code_table=0, codebook_dim=0)
    SpeechLM(sizes).save_pretrained(run.parent / "model", tokenizer)
    other_codec(run)
    with pytest.raises(ValueError, match=r"expected code tables, .*got 'plain weights'"):
        trained(run, "train_slm.start_other_codec=true")


def test_the_lexicon_of_a_model_is_taken_as_it_is(tmp_path: Path) -> None:
    tokenizer = PhoneTokenizer(Lexicon({"zorb": ("Z", "AO", "R", "B")}))
    tokenizer.save(tmp_path / "model")
    config = load_config(
        SMOKE, [f"run={tmp_path}", "corpus=x", f"train_text.start={tmp_path / 'model'}"]
    )
    config.train_text.kind = "phones"
    found = train_text.taken(config, tmp_path / "train_text")
    assert isinstance(found, PhoneTokenizer)
    assert Lexicon.load(tmp_path / "train_text").words == tokenizer.lexicon.words


def test_a_text_model_is_not_taken_over_for_clips_without_texts(run: Path) -> None:
    with AudioStoreWriter(run / "prepare/train", 24_000) as writer:
        writer.add(np.zeros(100, np.float32), {"id": "a", "text": " ", "lang": "en"})
    with pytest.raises(ValueError, match="train_text: expected clips of train with a text"):
        train_text.main(config_of(run))

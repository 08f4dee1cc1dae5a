"""Samples that a language model in training speaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from codec import CodecConfig, HHCodec
from recipes.runner.config import Config
from recipes.runner.stages import stage_folder
from recipes.spoken_samples import SampleSpeaker
from recipes.train_slm import build_lm, packed_rows, training_settings
from slm import TextTokenizer, TokenStore, TokenStoreWriter
from slm.model.speech_lm import SpeechLM
from slm.training.fit import fit_speech_lm

TEXTS = ("seven green hills", "a red boat", "")


@pytest.fixture
def codec() -> HHCodec:
    torch.manual_seed(0)
    codec = HHCodec(CodecConfig.preset("tiny"))
    codec.quantizer.enable()
    return codec.eval()


@pytest.fixture
def stores(tmp_path: Path, codec: HHCodec) -> dict[str, TokenStore]:
    made = {}
    for split in ("train", "valid"):
        folder = tmp_path / "run" / "encode_corpus" / split
        writer = TokenStoreWriter(
            folder,
            codec_fingerprint=codec.code_fingerprint,
            codebook_size=codec.codebook_size,
            frame_rate=codec.frame_rate,
        )
        for item, text in enumerate(TEXTS):
            codes = np.arange(30) % codec.codebook_size
            writer.add(codes, {"id": str(item), "text": text, "speaker": "s", "lang": "en"})
        writer.close()
        made[split] = TokenStore(folder)
    return made


@pytest.fixture
def config(make_config: Callable[..., Config]) -> Config:
    sizes = ["preset=tiny", "seq_len=128", "steps=2", "warmup_steps=1", "validate_every=1"]
    sizes += ["samples=2", "batch_size=1"]
    return make_config("x", *(f"train_slm.{each}" for each in sizes))


@pytest.fixture
def tokenizer(tmp_path: Path) -> TextTokenizer:
    return TextTokenizer.train(list(TEXTS[:2]), tmp_path / "text", vocab_size=24)


@pytest.fixture
def lm(config: Config, stores: dict[str, TokenStore], tokenizer: TextTokenizer) -> SpeechLM:
    return build_lm(config, stores["train"], tokenizer)


def test_samples_leave_the_model_and_the_random_state_alone(
    config: Config,
    codec: HHCodec,
    tokenizer: TextTokenizer,
    stores: dict[str, TokenStore],
    lm: SpeechLM,
) -> None:
    speaker = SampleSpeaker(config, codec, tokenizer, stores)
    lm.train()
    before, state = {k: v.clone() for k, v in lm.state_dict().items()}, torch.get_rng_state()
    first, again = speaker(lm, 10), speaker(lm, 20)
    assert lm.training
    assert all(torch.equal(value, before[name]) for name, value in lm.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert [each.text for each in first] == list(TEXTS[:2])
    assert all(np.array_equal(a.waveform, b.waveform) for a, b in zip(first, again, strict=True))
    folder = stage_folder(config, "train_slm") / "samples"
    rows = [json.loads(line) for line in (folder / "10" / "items.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == list(TEXTS[:2])
    for row, sample in zip(rows, first, strict=True):
        assert (folder / "10" / f"{row['id']}.flac").is_file() == bool(len(sample.waveform))


def test_training_with_samples_is_training_without(
    config: Config,
    codec: HHCodec,
    tokenizer: TextTokenizer,
    stores: dict[str, TokenStore],
    tmp_path: Path,
) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    models = []
    for speak in (None, SampleSpeaker(config, codec, tokenizer, stores)):
        lm = build_lm(config, stores["train"], tokenizer)
        rows = packed_rows(config, stores["train"], tokenizer, lm, "train")
        folder = tmp_path / ("with" if speak else "without")
        settings = replace(training_settings(config), tensorboard=bool(speak), bf16=False)
        options = {"accelerator": "cpu", "progress": False, "speak": speak}
        fit_speech_lm(lm, rows, folder, settings=settings, **options)
        models.append(lm.state_dict())
    without, trained = models
    assert all(torch.equal(value, without[name]) for name, value in trained.items())
    events = accumulators.EventAccumulator(str(tmp_path / "with" / "tensorboard"))
    events.Reload()
    assert "train/loss" in events.Tags()["scalars"]
    assert {"spoken/0/text/text_summary", "spoken/1/text/text_summary"} <= set(
        events.Tags()["tensors"]
    )


def test_word_errors_are_validated_where_a_recogniser_is_named(
    config: Config,
    codec: HHCodec,
    tokenizer: TextTokenizer,
    stores: dict[str, TokenStore],
    lm: SpeechLM,
) -> None:
    pytest.importorskip("pocketsphinx")
    config.train_slm.sample_recogniser = "words"
    config.evaluate.words = ["seven", "green", "hills"]
    samples = SampleSpeaker(config, codec, tokenizer, stores)(lm, 1)
    assert all(each.word_error_rate is not None for each in samples)


def test_a_split_without_texts_that_can_be_read_is_refused(
    config: Config, codec: HHCodec, tokenizer: TextTokenizer, stores: dict[str, TokenStore]
) -> None:
    config.train_text.kind, config.train_text.languages = "phones", ["de"]
    with pytest.raises(ValueError, match=r"train_slm\.samples: expected texts"):
        SampleSpeaker(config, codec, tokenizer, stores)

"""A tiny corpus of patterned codes, its text model, and a tiny language model over both."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import slm.engines.engine
from codec import CodecConfig, HHCodec
from slm.data.config import DocumentSettings
from slm.data.packed_dataset import PackedDataset
from slm.data.token_store import TokenStore
from slm.data.vocabulary import Vocabulary
from slm.engines.cuda_graphs import GraphEngine
from slm.engines.native_build import is_available
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM
from slm.synthesis.voices import save_voices
from slm.text.sentencepiece_tokenizer import TextTokenizer
from tests.support.builders import CODEBOOK_SIZE, FINGERPRINT, SENTENCE, new_lm, write_corpus


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return write_corpus(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    return TextTokenizer.train([SENTENCE] * 2, tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="session")
def vocabulary(tokenizer: TextTokenizer) -> Vocabulary:
    return Vocabulary(tokenizer.vocab_size, CODEBOOK_SIZE, tokenizer.fingerprint)


@pytest.fixture
def make_lm(vocabulary: Vocabulary) -> Callable[..., SpeechLM]:
    """A maker of tiny models in eval mode, by default with weights so large that outputs differ."""

    def make(gain: float = 4.0, seed: int = 0, **overrides: object) -> SpeechLM:
        torch.manual_seed(seed)
        config = SpeechLMConfig.preset(
            "tiny",
            **{
                "vocabulary": vocabulary.to_dict(),
                "codec_fingerprint": FINGERPRINT,
                "frame_rate": 23.4375,
                "max_seq_len": 160,
                **overrides,
            },
        )
        lm = SpeechLM(config)
        with torch.no_grad():
            for parameter in lm.parameters():
                parameter.mul_(gain)
        return lm.eval()

    return make


@pytest.fixture
def lm(make_lm: Callable[..., SpeechLM]) -> SpeechLM:
    return make_lm()


@pytest.fixture
def make_rows(
    store: TokenStore, tokenizer: TextTokenizer, vocabulary: Vocabulary
) -> Callable[..., PackedDataset]:
    """A maker of packed rows over the tiny corpus."""

    def make(
        prompt_probability: float = 0.5,
        text_loss_weight: float = 0.0,
        documents: dict[str, Any] | None = None,
        **options: int,
    ) -> PackedDataset:
        return PackedDataset(
            [store],
            tokenizer,
            vocabulary,
            seq_len=options.get("seq_len", 128),
            batch_size=options.get("batch_size", 2),
            seed=options.get("seed", 0),
            settings=DocumentSettings(
                **{
                    "prompt_probability": prompt_probability,
                    "min_prompt_codes": 8,
                    "max_prompt_codes": 16,
                    "text_loss_weight": text_loss_weight,
                    **(documents or {}),
                }
            ),
        )

    return make


@pytest.fixture(scope="session")
def codec() -> HHCodec:
    torch.manual_seed(0)
    return HHCodec(CodecConfig.preset("tiny")).eval()


@pytest.fixture(scope="session")
def model_folders(
    codec: HHCodec, tokenizer: TextTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Folders of a codec and of a language model that belong together, with one voice."""
    folder = tmp_path_factory.mktemp("models")
    overrides = {"max_seq_len": 160, "codes_per_character": 0.6, "max_prompt_codes": 12}
    lm = new_lm(codec, tokenizer, **overrides)
    codec.save_pretrained(folder / "codec")
    lm.save_pretrained(folder / "lm", tokenizer)
    save_voices(folder / "lm", {"ann": np.arange(10)}, codec.fingerprint)
    return folder / "codec", folder / "lm"


@pytest.fixture(autouse=True)
def _untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes compiled steps where there are any: a busy machine would decide otherwise."""
    monkeypatch.setattr(slm.engines.engine, "faster_engine", lambda *_: "native")


def replayed(run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """In place of a CUDA graph: runs anew, into the same memory."""
    result = run()

    def replay() -> torch.Tensor:
        return result.copy_(run())

    return replay


@pytest.fixture(params=["torch", "native", "graphs"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Has everything in the test generate by this engine; graphs are run without recording."""
    if request.param == "native" and not is_available():
        pytest.skip("no C++ compiler")
    monkeypatch.setattr(slm.engines.engine, "best_engine", lambda *_: request.param)
    monkeypatch.setattr(slm.engines.engine, "GraphEngine", partial(GraphEngine, record=replayed))
    return request.param

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from slm.data.config import DocumentSettings
from slm.data.documents import prefix_tokens
from slm.data.packed_dataset import PackedDataset
from slm.data.token_store import TokenStore, TokenStoreWriter
from slm.data.vocabulary import Vocabulary
from slm.generation.config import GenerationSettings
from slm.generation.generate import TokenRequest, generate
from slm.model.speech_lm import SpeechLM
from slm.text.sentencepiece_tokenizer import TextTokenizer
from slm.training.config import TrainingSettings
from slm.training.fit import fit_speech_lm

VOICES, WIDTH = 4, 16


def voice_of(codes: np.ndarray) -> np.ndarray:
    return codes // WIDTH


def test_a_prompt_decides_the_voice_of_the_speech(
    make_lm: Callable[..., SpeechLM],
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    tmp_path: Path,
) -> None:
    """A voice is a range of codes here; the text says nothing about it, only the prompt does."""
    generator = np.random.default_rng(0)
    writer = TokenStoreWriter(
        tmp_path / "store",
        codec_fingerprint="codec-of-the-tests",
        codebook_size=64,
        frame_rate=23.4375,
    )
    for item in range(40):
        voice = item % VOICES
        codes = voice * WIDTH + generator.integers(WIDTH, size=20)
        writer.add(codes, {"id": f"u{item}", "text": "green hills", "speaker": f"s{voice}"})
    writer.close()
    store = TokenStore(tmp_path / "store")
    settings = DocumentSettings(prompt_probability=1.0, min_prompt_codes=4, max_prompt_codes=8)
    rows = PackedDataset(
        [store], tokenizer, vocabulary, seq_len=160, batch_size=4, settings=settings
    )
    lm = make_lm(gain=1.0)
    training = TrainingSettings(max_steps=40, learning_rate=5e-3, warmup_steps=4)
    fit_speech_lm(lm, rows, tmp_path / "run", settings=training, accelerator="cpu", progress=False)
    wanted = np.arange(8) % VOICES
    text = tokenizer.encode("green hills")
    prompts = [
        torch.from_numpy(
            prefix_tokens(vocabulary, text, voice * WIDTH + generator.integers(WIDTH, size=6))
        )
        for voice in wanted
    ]
    requests = [TokenRequest(prompt, 15, 15, seed) for seed, prompt in enumerate(prompts)]
    made = generate(lm, requests, GenerationSettings())
    spoken = np.stack([voice_of(vocabulary.token_to_code(row.tokens.numpy())) for row in made])
    # Chance is a quarter.
    assert (spoken == wanted[:, None]).mean() > 0.9

"""New language models for the codes of a token store, as trainings begin with them."""

from __future__ import annotations

from typing import Any

import torch

from slm import SpeechLM, SpeechLMConfig, TokenStore, Vocabulary
from slm.text.tokenizer import Tokenizer


def new_speech_lm(
    preset: str, train: TokenStore, tokenizer: Tokenizer | None, seed: int, **sizes: Any
) -> SpeechLM:
    """Build a language model; its random weights depend on the seed and the sizes alone.

    Args:
        preset: Of `SpeechLMConfig`.
        train: Store of the codes.
        tokenizer: Text model; None for codes without text.
        seed: Of the weights.
        sizes: Fields of `SpeechLMConfig` in place of the preset's.

    Raises:
        ValueError: No such preset or field, or sizes that do not go together.
    """
    vocabulary = Vocabulary(
        text_size=tokenizer.vocab_size if tokenizer else 1,
        codebook_size=train.codebook_size,
        text_fingerprint=tokenizer.fingerprint if tokenizer else "",
    )
    config = SpeechLMConfig.preset(
        preset,
        vocabulary=vocabulary.to_dict(),
        codec_fingerprint=train.codec_fingerprint,
        frame_rate=train.frame_rate,
        **sizes,
    )
    torch.manual_seed(seed)
    return SpeechLM(config)

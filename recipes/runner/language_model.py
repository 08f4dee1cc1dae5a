"""Language models of a run: new ones for the codes of a token store, and those it is bound to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from codec.files import read_json, write_json
from slm import SpeechLM, SpeechLMConfig, Synthesizer, TokenStore, Vocabulary
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


def bind_models(run: Path, synthesizer: Synthesizer) -> None:
    """Bind a folder to its models: what others made must not be mixed in.

    Raises:
        ValueError: The folder is of another codec or language model, whatever their names.
    """
    # A language model has no fingerprint of its weights: their absolute sum tells them apart.
    weights = sum(p.detach().double().abs().sum().item() for p in synthesizer.lm.parameters())
    own = {"codec": synthesizer.codec.fingerprint, "lm_weights_abs_sum": f"{weights:.9g}"}
    path = run / "models.json"
    if not path.is_file():
        write_json(path, own)
    elif (before := read_json(path)) != own:
        raise ValueError(f"{run}: expected what models {own} make, got that of {before}; delete it")

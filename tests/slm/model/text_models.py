"""Tiny text models of transformers, and speech models of their sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM
from tests.support.builders import LLAMA3_SCALING

transformers = pytest.importorskip("transformers")
TEXT_SIZE = 40
SIZES = {
    "vocab_size": TEXT_SIZE,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
}
LLAMA3 = {**LLAMA3_SCALING, "rope_theta": 500000.0}
DEFAULT = {"rope_type": "default", "rope_theta": 10000.0}


def text_model(folder: Path, kind: str, rope: dict[str, Any], tied: bool = False) -> Any:
    """A random text model of `transformers`, saved, its gains away from one."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        **SIZES, rope_parameters=rope, tie_word_embeddings=tied
    )
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(3.0) if parameter.ndim > 1 else parameter.add_(
                0.3 * torch.randn_like(parameter)
            )
            assert name
    model.save_pretrained(folder)
    return model


def speech_lm(text_size: int = TEXT_SIZE, **sizes: Any) -> SpeechLM:
    torch.manual_seed(1)
    given = {"dim": 32, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "dim_head": 16}
    return SpeechLM(
        SpeechLMConfig(
            vocabulary=Vocabulary(text_size, 24).to_dict(),
            codec_fingerprint="x",
            frame_rate=23.4375,
            max_seq_len=64,
            **{**given, **sizes},
        )
    ).eval()

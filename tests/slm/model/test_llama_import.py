"""Speech models that begin as a text model of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig
from slm.model.llama_import import import_llama, llama_sizes
from tests.slm.model.text_models import DEFAULT, LLAMA3, TEXT_SIZE, speech_lm, text_model

transformers = pytest.importorskip("transformers")
# The sizes in the config.json that each of these text models is published with, and their
# feed-forward width.
PUBLISHED: dict[str, dict[str, Any]] = {
    "TinyLlama-1.1B": {
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-5,
        "rope_scaling": None,
        "tie_word_embeddings": False,
    },
    "SmolLM2-135M": {
        "model_type": "llama",
        "attention_bias": False,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "rms_norm_eps": 1e-5,
        "rope_interleaved": False,
        "rope_scaling": None,
        "rope_theta": 100000,
        "tie_word_embeddings": True,
    },
    "SmolLM2-360M": {
        "model_type": "llama",
        "attention_bias": False,
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
        "rms_norm_eps": 1e-5,
        "rope_interleaved": False,
        "rope_scaling": None,
        "rope_theta": 100000,
        "tie_word_embeddings": True,
    },
    "Llama-3.2-1B": {
        "model_type": "llama",
        "attention_bias": False,
        "mlp_bias": False,
        "head_dim": 64,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "rope_scaling": {
            "factor": 32.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
    },
    "Qwen3-0.6B": {
        "model_type": "qwen3",
        "attention_bias": False,
        "head_dim": 128,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-6,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
    },
}
# dim, layers, heads, key and value heads, width of a head, feed-forward width, theta, QK norm.
OURS = {
    "TinyLlama-1.1B": (2048, 22, 32, 4, 64, 5632, 1e4, False),
    "SmolLM2-135M": (576, 30, 9, 3, 64, 1536, 1e5, False),
    "SmolLM2-360M": (960, 32, 15, 5, 64, 2560, 1e5, False),
    "Llama-3.2-1B": (2048, 16, 32, 8, 64, 8192, 5e5, False),
    "Qwen3-0.6B": (1024, 28, 16, 8, 128, 3072, 1e6, True),
}


@pytest.mark.parametrize(
    ("kind", "rope", "tied"),
    [
        ("Llama", DEFAULT, False),
        ("Llama", {**DEFAULT, "rope_theta": 500000.0}, True),
        ("Llama", LLAMA3, False),
        ("Qwen3", {**DEFAULT, "rope_theta": 1000000.0}, True),
    ],
)
@torch.no_grad()
def test_an_imported_text_model_gives_its_own_logits_on_text(
    tmp_path: Path, kind: str, rope: dict[str, Any], tied: bool
) -> None:
    theirs = text_model(tmp_path, kind, rope, tied)
    lm = import_llama(speech_lm(**llama_sizes(tmp_path)), tmp_path)
    tokens = torch.randint(0, TEXT_SIZE, (2, 30))
    start = lm.vocabulary.text_start
    ours = lm(tokens + start)[..., start : start + TEXT_SIZE]
    expected = theirs(tokens).logits
    assert expected.abs().max() > 1
    torch.testing.assert_close(ours, expected, atol=2e-4, rtol=2e-4)


@torch.no_grad()
def test_new_tokens_start_near_the_mean_and_pieces_at_the_rows_they_are_made_of(
    tmp_path: Path,
) -> None:
    theirs = text_model(tmp_path, "Llama", DEFAULT)
    rows = [[3], [5, 7], [0, 1, 2]]
    lm = import_llama(speech_lm(3, **llama_sizes(tmp_path)), tmp_path, text_rows=rows)
    source = theirs.model.embed_tokens.weight
    text = lm.embedding.weight[lm.vocabulary.text_start : lm.vocabulary.code_start]
    torch.testing.assert_close(text, torch.stack([source[ids].mean(0) for ids in rows]))
    codes = lm.embedding.weight[lm.vocabulary.code_start :]
    assert (codes - source.mean(0)).abs().max() < source.std(0).max()
    assert len(codes.unique(dim=0)) == len(codes)


def test_a_text_model_that_the_blocks_cannot_represent_is_refused(tmp_path: Path) -> None:
    text_model(tmp_path, "Llama", DEFAULT)
    given = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"model_type": "qwen2"}, "got 'qwen2'"),
        ({"attention_bias": True}, "no attention_bias"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "default or llama3, got 'yarn'"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**given, **change}))
        with pytest.raises(ValueError, match=message):
            llama_sizes(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(given))
    with pytest.raises(ValueError, match="expected num_heads = 4"):
        import_llama(speech_lm(**{**llama_sizes(tmp_path), "num_heads": 2}), tmp_path)
    with pytest.raises(ValueError, match="at most 40 text pieces"):
        import_llama(speech_lm(99, **llama_sizes(tmp_path)), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="found none"):
        import_llama(speech_lm(**llama_sizes(tmp_path)), tmp_path)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_text_models_have_the_sizes_their_configs_say(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED[name]))
    sizes = llama_sizes(tmp_path)
    config = SpeechLMConfig(Vocabulary(TEXT_SIZE, 24).to_dict(), "x", 23.4375, **sizes)
    found = (config.dim, config.num_layers, config.num_heads, config.kv_heads, config.dim_head)
    assert (*found, config.ff_dim, config.rotary_theta, config.qk_norm) == OURS[name]
    assert config.norm_eps == PUBLISHED[name]["rms_norm_eps"]
    assert config.rotary_scaling == (PUBLISHED[name]["rope_scaling"] or {})


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_a_layer_of_a_published_text_model_has_the_shapes_of_ours(
    tmp_path: Path, name: str
) -> None:
    """Without weights: both are made on a device that has none."""
    given = {**PUBLISHED[name], "num_hidden_layers": 1, "vocab_size": TEXT_SIZE}
    (tmp_path / "config.json").write_text(json.dumps(given))
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    with torch.device("meta"):
        theirs = transformers.AutoModelForCausalLM.from_config(config).model.layers[0]
        ours: Any = speech_lm(**llama_sizes(tmp_path)).decoder.layers
    shapes = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
    attention, feed = ours[0][1], ours[1][1].ff
    for part, own in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out")):
        expected = shapes[f"self_attn.{part}_proj.weight"]
        assert tuple(getattr(attention, own).weight.shape) == expected, part
    width, dim = shapes["mlp.gate_proj.weight"]
    assert tuple(feed[0].proj.weight.shape) == (2 * width, dim)
    assert tuple(feed[2].weight.shape) == shapes["mlp.down_proj.weight"]
    assert (attention.q_rmsnorm is not None) == ("self_attn.q_norm.weight" in shapes)


def test_weights_for_a_model_with_code_tables_are_refused(tmp_path: Path) -> None:
    text_model(tmp_path, "Llama", DEFAULT)
    lm = speech_lm(code_table=8, codebook_dim=3, **llama_sizes(tmp_path))
    with pytest.raises(ValueError, match=r"without code tables .* got code_table = 8"):
        import_llama(lm, tmp_path)

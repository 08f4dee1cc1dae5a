"""Speech LMs as `transformers` folders: `LlamaForCausalLM`, or `Qwen3ForCausalLM` with QK norm.

`slm/model/llama_import.py` describes how the two forms differ.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.files import replaced_files, write_json
from codec.weights import save_tensors

from .config import SpeechLMConfig
from .llama_import import pair_order, qk_gain, renamed_tensors
from .speech_lm import SpeechLM
from .transformer import GAIN_OFFSET, layer_names

SMALLEST_EPS = 1e-12


@torch.no_grad()
def export_llama(lm: SpeechLM, folder: Path | str) -> Path:
    """Write the model as `LlamaForCausalLM` (`Qwen3ForCausalLM` with QK norm) of `transformers`.

    Token ids stay as they are: text pieces and codes as in the vocabulary, which is stored beside
    as `vocabulary.json`. Code tables become the weights they make.

    Args:
        lm: The model, which stays as it is.
        folder: Gets config.json, vocabulary.json and model.safetensors, together; returned.

    Raises:
        ValueError: With QK norm, gains that differ between heads or biases that are not zero,
            which Qwen3 cannot hold.
    """
    folder = Path(folder)
    tensors, config = exported_tensors(lm), lm.config
    biased = any(name.endswith("gate_proj.bias") for name in tensors)
    if config.qk_norm and biased:
        raise ValueError("expected feed-forward biases of zero to export with QK norm, got others")
    with replaced_files(folder, "model.safetensors") as partial:
        write_json(partial / "config.json", _exported_config(lm, biased), indent=1)
        write_json(partial / "vocabulary.json", config.vocabulary, indent=1)
        save_tensors(tensors, partial / "model.safetensors", metadata={"format": "pt"})
    return folder


def exported_tensors(lm: SpeechLM) -> dict[str, Tensor]:
    """Weights on the CPU by the names and in the order of rows of `transformers`.

    Raises:
        ValueError: With QK norm, gains that differ between heads.
    """
    config, state = lm.config, {k: v.detach().cpu() for k, v in lm.state_dict().items()}
    found = {
        # Not out of the state, where code tables have what they are made of.
        "model.embed_tokens.weight": lm.embedding.weight.detach().cpu(),
        "model.norm.weight": state["decoder.final_norm.g"] + GAIN_OFFSET,
        "lm_head.weight": lm.head.weight.detach().cpu(),
    }
    for layer in range(config.num_layers):
        for ours, theirs, order, dim in renamed_tensors(config, layer):
            value = state[ours] + GAIN_OFFSET if ours.endswith(".g") else state[ours]
            found[theirs] = value if order is None else value.index_select(dim, order.argsort())
        attention, feed = layer_names(layer)
        up, gate = state[f"{feed}.1.ff.0.proj.weight"].chunk(2)
        block = f"model.layers.{layer}"
        found |= {f"{block}.mlp.up_proj.weight": up, f"{block}.mlp.gate_proj.weight": gate}
        for part in "qk" if config.qk_norm else "":
            gains = state[qk_gain(config, attention, part)][:, 0]
            if not torch.equal(gains, gains[:1].expand_as(gains)):
                raise ValueError(
                    "expected gains of QK norm that all heads share, as Qwen3 has, got one a head"
                )
            gain = gains[0, pair_order(config.dim_head).argsort()] + GAIN_OFFSET
            found[f"{block}.self_attn.{part}_norm.weight"] = gain
    found |= _exported_biases(config, state)
    return {name: value.contiguous().clone() for name, value in found.items()}


def _exported_biases(config: SpeechLMConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Biases of the feed-forward blocks, for all of its matrices or for none."""
    found = {}
    for layer in range(config.num_layers):
        up, gate = state[f"{layer_names(layer)[1]}.1.ff.0.proj.bias"].chunk(2)
        for name, value in (("up", up), ("gate", gate), ("down", up.new_zeros(config.dim))):
            found[f"model.layers.{layer}.mlp.{name}_proj.bias"] = value
    # One flag of the config stands for all, so zeros are written where others are not zero.
    return found if any(bias.any() for bias in found.values()) else {}


def _exported_config(lm: SpeechLM, biased: bool) -> dict[str, Any]:
    config, vocabulary = lm.config, lm.vocabulary
    kind = "qwen3" if config.qk_norm else "llama"
    rope = {"rope_type": "default", **config.rotary_scaling, "rope_theta": config.rotary_theta}
    found = {
        "architectures": ["Qwen3ForCausalLM" if config.qk_norm else "LlamaForCausalLM"],
        "model_type": kind,
        "vocab_size": vocabulary.vocab_size,
        "hidden_size": config.dim,
        "intermediate_size": config.ff_dim,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.dim_head,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_seq_len,
        "rms_norm_eps": config.norm_eps or SMALLEST_EPS,
        "rope_parameters": rope,
        # Readers from before transformers 5 look for these two.
        "rope_theta": config.rotary_theta,
        "rope_scaling": config.rotary_scaling or None,
        "attention_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": vocabulary.bos_id,
        "eos_token_id": vocabulary.eos_id,
        "pad_token_id": vocabulary.pad_id,
        "torch_dtype": "float32",
    }
    return found if config.qk_norm else found | {"mlp_bias": biased}

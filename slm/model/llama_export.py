"""Speech LMs as `transformers` folders: `LlamaForCausalLM`, or `Qwen3ForCausalLM` with QK norm.

`slm/model/llama_import.py` says how the two forms differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from codec.files import whole_file

from .config import SpeechLMConfig
from .llama_import import ATTENTION, FEED_FORWARD, own_pair_order, own_query_order, qk_gain
from .speech_lm import SpeechLM
from .transformer import GAIN_OFFSET, layer_names

_SMALLEST_EPS = 1e-12


@torch.no_grad()
def export_llama(lm: SpeechLM, folder: Path | str) -> Path:
    """Write the model as `LlamaForCausalLM` (`Qwen3ForCausalLM` with QK norm) of `transformers`.

    Token ids stay as they are: text pieces and codes at the places of the vocabulary, which is
    stored beside as `vocabulary.json`. Code tables become the weights they make.

    Args:
        lm: The model, which stays as it is.
        folder: Gets config.json, vocabulary.json and model.safetensors, the last one last.

    Returns:
        The folder.

    Raises:
        ValueError: With QK norm, gains that differ between heads or biases that are not zero,
            which Qwen3 cannot hold.
    """
    folder = Path(folder)
    tensors, config = _exported(lm), lm.config
    biased = any(name.endswith("gate_proj.bias") for name in tensors)
    if config.qk_norm and biased:
        raise ValueError("expected feed-forward biases of zero to export with QK norm, got others")
    for name, value in (
        ("config.json", _exported_config(lm, biased)),
        ("vocabulary.json", config.vocabulary),
    ):
        with whole_file(folder / name) as partial:
            partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    with whole_file(folder / "model.safetensors") as partial:
        save_file(tensors, partial, metadata={"format": "pt"})
    return folder


def _exported(lm: SpeechLM) -> dict[str, Tensor]:
    config, state = lm.config, {k: v.detach().cpu() for k, v in lm.state_dict().items()}
    found = {
        # Not out of the state, where code tables have what they are made of.
        "model.embed_tokens.weight": lm.embedding.weight.detach().cpu(),
        "model.norm.weight": state["decoder.final_norm.g"] + GAIN_OFFSET,
        "lm_head.weight": lm.head.weight.detach().cpu(),
    }
    own_queries = own_query_order(config).argsort()
    pairs = own_pair_order(config.dim_head).argsort()
    for layer in range(config.num_layers):
        attention, feed = layer_names(layer)
        theirs, their_feed = ATTENTION.format(layer), FEED_FORWARD.format(layer)
        queries, keys = (
            state[f"{attention}.1.to_{name}.weight"].unflatten(0, (-1, config.dim_head))
            for name in "qk"
        )
        output = state[f"{attention}.1.to_out.weight"].unflatten(1, (-1, config.dim_head))
        up, gate = state[f"{feed}.1.ff.0.proj.weight"].chunk(2)
        block = f"model.layers.{layer}"
        found |= {
            f"{block}.input_layernorm.weight": state[f"{attention}.0.0.g"] + GAIN_OFFSET,
            f"{block}.post_attention_layernorm.weight": state[f"{feed}.0.0.g"] + GAIN_OFFSET,
            f"{theirs}.q_proj.weight": queries[own_queries][:, pairs].flatten(0, 1),
            f"{theirs}.k_proj.weight": keys[:, pairs].flatten(0, 1),
            f"{theirs}.v_proj.weight": state[f"{attention}.1.to_v.weight"],
            f"{theirs}.o_proj.weight": output[:, own_queries].flatten(1, 2),
            f"{their_feed}.up_proj.weight": up,
            f"{their_feed}.gate_proj.weight": gate,
            f"{their_feed}.down_proj.weight": state[f"{feed}.1.ff.2.weight"],
        }
        found |= _exported_norms(config, attention, theirs, state)
    found |= _exported_biases(config, state)
    return {name: value.contiguous().clone() for name, value in found.items()}


def _exported_norms(
    config: SpeechLMConfig, attention: str, theirs: str, state: dict[str, Tensor]
) -> dict[str, Tensor]:
    if not config.qk_norm:
        return {}
    pairs = own_pair_order(config.dim_head).argsort()
    found = {}
    for part in "qk":
        gains = state[qk_gain(config, attention, part)][:, 0]
        if not torch.equal(gains, gains[:1].expand_as(gains)):
            raise ValueError(
                "expected gains of QK norm that all heads share, as Qwen3 has, got one a head"
            )
        found[f"{theirs}.{part}_norm.weight"] = gains[0, pairs] + GAIN_OFFSET
    return found


def _exported_biases(config: SpeechLMConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Biases of the feed-forward blocks, for all of its matrices or for none."""
    feeds = [layer_names(layer)[1] for layer in range(config.num_layers)]
    ours = [state[f"{feed}.1.ff.0.proj.bias"] for feed in feeds]
    if not any(bias.any() for bias in ours):
        return {}
    found = {}
    for layer, bias in enumerate(ours):
        up, gate = bias.chunk(2)
        for name, value in (("up", up), ("gate", gate), ("down", bias.new_zeros(config.dim))):
            found[f"{FEED_FORWARD.format(layer)}.{name}_proj.bias"] = value
    return found


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
        "rms_norm_eps": config.norm_eps or _SMALLEST_EPS,
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

"""Speech LMs as GGUF files, for llama.cpp: architecture llama, or qwen3 with QK norm.

A GGUF of llama keeps rotary pairs as neighbours (2 i, 2 i + 1), as ours are, but groups query
heads by key head, as `transformers` does (`slm/model/llama_import.py`). One of qwen3 keeps pairs
as halves.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.files import whole_file
from codec.requirements import install_command

from .config import SpeechLMConfig
from .llama_export import SMALLEST_EPS, exported_tensors
from .llama_import import pair_order
from .speech_lm import SpeechLM

_USER_DEFINED = 4  # a kind of token that is written out as it stands


@torch.no_grad()
def export_gguf(lm: SpeechLM, path: Path | str) -> Path:
    """Write the model in float32 as a GGUF file of llama.cpp.

    Token ids stay as they are. llama.cpp has no tokenizer like ours and refuses to write ids out
    without one, so token i is written out as `<i>`: prompts are lists of ids.

    Args:
        lm: The model, which stays as it is.
        path: Of the file; returned.

    Raises:
        ValueError: The package gguf is missing, or llama.cpp cannot hold the model: with QK norm,
            gains that differ between heads, biases that are not zero, or scaled rotary positions.
    """
    path, config = Path(path), lm.config
    try:
        gguf = import_module("gguf")
    except ModuleNotFoundError as error:
        raise ValueError(f"expected the package gguf: {install_command('gguf')}") from error
    tensors = exported_tensors(lm)
    if config.qk_norm and any(name.endswith("gate_proj.bias") for name in tensors):
        raise ValueError("expected feed-forward biases of zero to export with QK norm, got others")
    if config.qk_norm and config.rotary_scaling:
        raise ValueError(
            f"expected no rotary_scaling to export with QK norm, got {config.rotary_scaling}"
        )
    kind = "qwen3" if config.qk_norm else "llama"
    with whole_file(path) as partial:
        writer = gguf.GGUFWriter(partial, kind)
        _write_sizes(writer, lm)
        _write_tokens(writer, lm)
        names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[kind.upper()], config.num_layers)
        for name, value in tensors.items():
            stored = value if config.qk_norm else _neighbours(config, name, value)
            known = names.get_name(name, try_suffixes=(".weight", ".bias"))
            writer.add_tensor(known, stored.float().contiguous().numpy())
        if config.rotary_scaling:
            writer.add_tensor("rope_freqs.weight", _rotary_factors(lm).numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return path


def _write_sizes(writer: Any, lm: SpeechLM) -> None:
    config = lm.config
    writer.add_context_length(config.max_seq_len)
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.ff_dim)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.dim_head)
    writer.add_value_length(config.dim_head)
    writer.add_rope_dimension_count(config.dim_head)
    writer.add_rope_freq_base(config.rotary_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps or SMALLEST_EPS)


def _write_tokens(writer: Any, lm: SpeechLM) -> None:
    vocabulary = lm.vocabulary
    size = vocabulary.vocab_size
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"<{token}>" for token in range(size)])
    writer.add_token_scores([0.0] * size)
    writer.add_token_types([_USER_DEFINED] * size)
    writer.add_bos_token_id(vocabulary.bos_id)
    writer.add_eos_token_id(vocabulary.eos_id)
    writer.add_pad_token_id(vocabulary.pad_id)
    # Prompts have their markers already.
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)


def _neighbours(config: SpeechLMConfig, name: str, value: Tensor) -> Tensor:
    """Rows of queries and keys with rotary pairs as neighbours; any other tensor as it is."""
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return value
    heads = value.view(-1, config.dim_head, value.shape[-1])  # (H, D, dim)
    return heads[:, pair_order(config.dim_head)].reshape_as(value)


def _rotary_factors(lm: SpeechLM) -> Tensor:
    """(D / 2,) float32: by how much the scaling of Llama 3.1 slows every pair down."""
    scaled = lm.decoder.state_dict()["rotary_pos_emb.inv_freq"].cpu().double()
    exponents = torch.arange(len(scaled), dtype=torch.float64) / len(scaled)
    return (lm.config.rotary_theta**-exponents / scaled).float()

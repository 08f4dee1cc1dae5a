"""Weights to and from `transformers` folders of Llama-like text models.

What fits both ways: Llama 2 and 3 (TinyLlama, SmolLM2 and others of that shape) and Qwen3, dense.
Qwen 2 does not: its queries, keys and values have biases that these blocks lack.

Three things differ between the two forms. Here rotary pairs are neighbours (2 i, 2 i + 1), there
halves (i, i + D / 2). Here query head i looks with key head i % H', there with i // (H / H'). Here
the feed-forward's first product makes "up" and gate in one and has a bias; there they are two.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from slm.data.vocabulary import Vocabulary

from .code_embeddings import code_tables
from .config import SpeechLMConfig
from .speech_lm import SpeechLM

_KINDS = ("llama", "qwen3")
_ATTENTION = "model.layers.{}.self_attn"
_FEED = "model.layers.{}.mlp"
_SMALLEST_EPS = 1e-12


def llama_sizes(folder: Path | str) -> dict[str, Any]:
    """`SpeechLMConfig` fields of the text model in a `transformers` folder.

    Raises:
        ValueError: It is missing, or its blocks are none that this model can represent.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise ValueError(f"expected a transformers folder with config.json, got {folder}")
    given = json.loads(path.read_text(encoding="utf-8"))
    _check_representable(given, path)
    heads = given["num_attention_heads"]
    rope = given.get("rope_parameters") or given.get("rope_scaling") or {}
    theta = rope.get("rope_theta", given.get("rope_theta", 10000.0))
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "llama3"):
        raise ValueError(f"expected rotary positions of type default or llama3, got {kind!r}")
    scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
    return {
        "dim": given["hidden_size"],
        "num_layers": given["num_hidden_layers"],
        "num_heads": heads,
        "num_kv_heads": given.get("num_key_value_heads") or heads,
        "dim_head": given.get("head_dim") or given["hidden_size"] // heads,
        "ff_mult": given["intermediate_size"] / given["hidden_size"],
        "qk_norm": given["model_type"] == "qwen3",
        "rotary_theta": float(theta),
        "rotary_scaling": scaling if kind == "llama3" else {},
        "norm_eps": float(given["rms_norm_eps"]),
    }


@torch.no_grad()
def import_llama(
    lm: SpeechLM,
    folder: Path | str,
    *,
    text_rows: Sequence[Sequence[int]] | None = None,
    seed: int = 0,
) -> SpeechLM:
    """Give a speech LM of `llama_sizes` the weights of a text LM, its vocabulary extended.

    Text piece i starts as the mean of the text LM's rows `text_rows[i]`. Markers and codes start
    as the mean of all its rows with a little of their spread, so that no new token is likelier
    than another and none is far off.

    Args:
        lm: Changed in place.
        folder: `config.json` and safetensors of the text LM.
        text_rows: The text LM's token ids of each of our text pieces; piece i is its token i when
            None, which needs the text LM's own tokenizer as ours.
        seed: Of the new rows.

    Returns:
        `lm`.

    Raises:
        ValueError: Sizes, pieces or tensors do not fit, or the model has code tables, which have no
            rows to be given.
    """
    if code_tables(lm):
        raise ValueError(
            f"expected a model without code tables to start from {folder}, got code_table = "
            f"{lm.config.code_table}"
        )
    config, vocabulary = lm.config, lm.vocabulary
    for name, expected in llama_sizes(folder).items():
        if getattr(config, name) != expected and name != "ff_mult":
            raise ValueError(f"expected {name} = {expected} of {folder}, got {name} of the model")
    read = _reader(Path(folder))
    state = lm.state_dict()
    offset = _gain_offset(lm)
    for layer in range(config.num_layers):
        for name, value in _imported_layer(config, layer, read).items():
            _set(state, name, value - offset if name.endswith(".0.0.g") else value)
    _set(state, "decoder.final_norm.g", read("model.norm.weight") - offset)
    embeddings = read("model.embed_tokens.weight")
    tied = read("lm_head.weight", embeddings)
    generator = torch.Generator().manual_seed(seed)
    for name, source in (("embedding.weight", embeddings), ("head.weight", tied)):
        _set(state, name, _extended(vocabulary, source.float(), text_rows, generator))
    return lm


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
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "config.json", json.dumps(_exported_config(lm, biased), indent=1))
    _write(folder / "vocabulary.json", json.dumps(config.vocabulary, indent=1))
    partial = folder / ".model.safetensors.partial"
    try:
        save_file(tensors, partial, metadata={"format": "pt"})
        partial.chmod(0o644)
        os.replace(partial, folder / "model.safetensors")
    finally:
        partial.unlink(missing_ok=True)
    return folder


def _check_representable(given: dict[str, Any], path: Path) -> None:
    kind = given.get("model_type")
    if kind not in _KINDS:
        raise ValueError(f"expected a text model of {_KINDS} in {path}, got {kind!r}")
    for name in ("attention_bias", "mlp_bias", "use_sliding_window"):
        if given.get(name):
            raise ValueError(f"expected no {name} in {path}, got {given[name]}")
    if given.get("hidden_act", "silu") != "silu":
        raise ValueError(f"expected hidden_act silu in {path}, got {given['hidden_act']!r}")


def _reader(folder: Path) -> Callable[..., Tensor]:
    """Reads a tensor by its name from one or several safetensors files."""
    places: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            places |= dict.fromkeys(file.keys(), path)

    def read(name: str, otherwise: Tensor | None = None) -> Tensor:
        if name not in places:
            if otherwise is None:
                raise ValueError(f"expected {name} in the safetensors of {folder}, found none")
            return otherwise
        with safe_open(places[name], framework="pt") as file:
            return file.get_tensor(name)

    return read


def _set(state: dict[str, Tensor], name: str, value: Tensor) -> None:
    target = state[name]
    if target.shape != value.shape:
        raise ValueError(
            f"expected {name} of shape {tuple(target.shape)}, got {tuple(value.shape)}"
        )
    target.copy_(value)


def _names(layer: int) -> tuple[str, str]:
    """Where the attention and the feed-forward of a layer are in the decoder."""
    return f"decoder.layers.{2 * layer}", f"decoder.layers.{2 * layer + 1}"


def _gain_offset(lm: SpeechLM) -> float:
    """What the decoder adds to its stored gains."""
    norm = lm.decoder.final_norm
    return float(getattr(norm, "offset", getattr(norm, "unit_offset", 0.0)))


def _imported_layer(
    config: SpeechLMConfig, layer: int, read: Callable[..., Tensor]
) -> dict[str, Tensor]:
    attention, feed = _names(layer)
    theirs, their_feed = _ATTENTION.format(layer), _FEED.format(layer)
    own_queries, pairs = _own_query_order(config), _own_pair_order(config.dim_head)

    def heads(name: str) -> Tensor:
        return read(f"{theirs}.{name}.weight").unflatten(0, (-1, config.dim_head))

    output = read(f"{theirs}.o_proj.weight").unflatten(1, (-1, config.dim_head))
    up, gate = (read(f"{their_feed}.{name}_proj.weight") for name in ("up", "gate"))
    block = f"model.layers.{layer}"
    found = {
        f"{attention}.0.0.g": read(f"{block}.input_layernorm.weight"),
        f"{attention}.1.to_q.weight": heads("q_proj")[own_queries][:, pairs].flatten(0, 1),
        f"{attention}.1.to_k.weight": heads("k_proj")[:, pairs].flatten(0, 1),
        f"{attention}.1.to_v.weight": read(f"{theirs}.v_proj.weight"),
        f"{attention}.1.to_out.weight": output[:, own_queries].flatten(1, 2),
        f"{feed}.0.0.g": read(f"{block}.post_attention_layernorm.weight"),
        f"{feed}.1.ff.0.proj.weight": torch.cat([up, gate]),
        f"{feed}.1.ff.0.proj.bias": torch.zeros(2 * len(up)),
        f"{feed}.1.ff.2.weight": read(f"{their_feed}.down_proj.weight"),
    }
    return found | _imported_norms(config, attention, theirs, read)


def _imported_norms(
    config: SpeechLMConfig, attention: str, theirs: str, read: Callable[..., Tensor]
) -> dict[str, Tensor]:
    if not config.qk_norm:
        return {}
    pairs = _own_pair_order(config.dim_head)
    found = {}
    for part, heads in (("q", config.num_heads), ("k", config.kv_heads)):
        gain = read(f"{theirs}.{part}_norm.weight")[pairs] - 1  # one is added to it
        found[_qk_gain(config, attention, part)] = gain.expand(heads, 1, -1)
    return found


def _qk_gain(config: SpeechLMConfig, attention: str, part: str) -> str:
    """Name of the gain of queries or keys."""
    return f"{attention}.1.{part}_rmsnorm.{'g' if config.norm_eps else 'gamma'}"


def _own_query_order(config: SpeechLMConfig) -> Tensor:
    """Their query head of each of ours: ours i looks with key head i % H'."""
    groups = config.num_heads // config.kv_heads
    return torch.arange(config.num_heads).view(config.kv_heads, groups).T.flatten()


def _own_pair_order(dim_head: int) -> Tensor:
    """Their value of each of ours within a head: pairs are neighbours here, halves there."""
    return torch.arange(dim_head).view(2, -1).T.flatten()


def _extended(
    vocabulary: Vocabulary,
    source: Tensor,
    text_rows: Sequence[Sequence[int]] | None,
    generator: torch.Generator,
) -> Tensor:
    """Rows of our whole vocabulary from those of the text LM, float32 (V, D)."""
    if text_rows is None:
        if vocabulary.text_size > len(source):
            raise ValueError(
                f"expected at most {len(source)} text pieces, as the text LM has, got "
                f"{vocabulary.text_size}"
            )
        text = source[: vocabulary.text_size]
    else:
        if len(text_rows) != vocabulary.text_size or not all(text_rows):
            raise ValueError(
                f"expected ids of the text LM for each of {vocabulary.text_size} pieces, got "
                f"{sum(map(bool, text_rows))}"
            )
        text = torch.stack([source[list(ids)].mean(0) for ids in text_rows])
    noise = torch.randn(vocabulary.vocab_size, source.shape[1], generator=generator)
    rows = source.mean(0) + 0.1 * source.std(0) * noise
    rows[vocabulary.text_start : vocabulary.code_start] = text
    return rows


def _exported(lm: SpeechLM) -> dict[str, Tensor]:
    config, state = lm.config, {k: v.detach().cpu() for k, v in lm.state_dict().items()}
    offset = _gain_offset(lm)
    found = {
        # Not out of the state, where code tables have what they are made of.
        "model.embed_tokens.weight": lm.embedding.weight.detach().cpu(),
        "model.norm.weight": state["decoder.final_norm.g"] + offset,
        "lm_head.weight": lm.head.weight.detach().cpu(),
    }
    own_queries = _own_query_order(config).argsort()
    pairs = _own_pair_order(config.dim_head).argsort()
    for layer in range(config.num_layers):
        attention, feed = _names(layer)
        theirs, their_feed = _ATTENTION.format(layer), _FEED.format(layer)
        queries, keys = (
            state[f"{attention}.1.to_{name}.weight"].unflatten(0, (-1, config.dim_head))
            for name in "qk"
        )
        output = state[f"{attention}.1.to_out.weight"].unflatten(1, (-1, config.dim_head))
        up, gate = state[f"{feed}.1.ff.0.proj.weight"].chunk(2)
        block = f"model.layers.{layer}"
        found |= {
            f"{block}.input_layernorm.weight": state[f"{attention}.0.0.g"] + offset,
            f"{block}.post_attention_layernorm.weight": state[f"{feed}.0.0.g"] + offset,
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
    pairs = _own_pair_order(config.dim_head).argsort()
    found = {}
    for part in "qk":
        gains = state[_qk_gain(config, attention, part)][:, 0]
        if not torch.equal(gains, gains[:1].expand_as(gains)):
            raise ValueError(
                "expected gains of QK norm that all heads share, as Qwen3 has, got one a head"
            )
        found[f"{theirs}.{part}_norm.weight"] = gains[0, pairs] + 1
    return found


def _exported_biases(config: SpeechLMConfig, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Biases of the feed-forward blocks, for all of its matrices or for none."""
    ours = [state[f"{_names(layer)[1]}.1.ff.0.proj.bias"] for layer in range(config.num_layers)]
    if not any(bias.any() for bias in ours):
        return {}
    found = {}
    for layer, bias in enumerate(ours):
        up, gate = bias.chunk(2)
        for name, value in (("up", up), ("gate", gate), ("down", bias.new_zeros(config.dim))):
            found[f"{_FEED.format(layer)}.{name}_proj.bias"] = value
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


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)

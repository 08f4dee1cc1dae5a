"""Weights of Llama-like text models from `transformers` folders, for a speech LM to start from.

What fits: Llama 2 and 3 (TinyLlama, SmolLM2 and others of that shape) and Qwen3, dense. Qwen 2 does
not: its queries, keys and values have biases that these blocks lack.

Three things differ between the two forms. Here rotary pairs are neighbours (2 i, 2 i + 1), there
halves (i, i + D / 2). Here query head i attends with key head i % H', there with i // (H / H').
Here the feed-forward's first product makes "up" and gate in one and has a bias; there they are two.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from slm.data.vocabulary import Vocabulary
from slm.text.sentencepiece_tokenizer import TextTokenizer

from .code_embeddings import code_tables
from .config import SpeechLMConfig
from .speech_lm import SpeechLM
from .transformer import GAIN_OFFSET, layer_names

_KINDS = ("llama", "qwen3")
ATTENTION = "model.layers.{}.self_attn"
FEED_FORWARD = "model.layers.{}.mlp"


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
    for layer in range(config.num_layers):
        for name, value in _imported_layer(config, layer, read).items():
            _set(state, name, value - GAIN_OFFSET if name.endswith(".0.0.g") else value)
    _set(state, "decoder.final_norm.g", read("model.norm.weight") - GAIN_OFFSET)
    embeddings = read("model.embed_tokens.weight")
    tied = read("lm_head.weight", embeddings)
    generator = torch.Generator().manual_seed(seed)
    for name, source in (("embedding.weight", embeddings), ("head.weight", tied)):
        _set(state, name, _extended(vocabulary, source.float(), text_rows, generator))
    return lm


def rows_of_pieces(tokenizer: TextTokenizer, folder: Path | str) -> list[list[int]] | None:
    """The text LM's token ids of each of our pieces, for `import_llama`.

    Args:
        tokenizer: Ours.
        folder: Of the text LM, with its tokenizer.model (SentencePiece) or tokenizer.json.

    Returns:
        None when the two tokenizers are one, so that ids agree; else ids of every piece, its token
        0 for a piece it makes nothing of.

    Raises:
        ValueError: The folder holds no tokenizer.
    """
    path = Path(folder) / "tokenizer.model"
    if path.is_file():
        if hashlib.sha256(path.read_bytes()).hexdigest()[:16] == tokenizer.fingerprint:
            return None
        theirs = TextTokenizer.load(path)
        return [theirs.ids(piece) or [0] for piece in tokenizer.pieces]
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"expected tokenizer.model or tokenizer.json in {folder}, found neither")
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_file(str(path))
    found = [encoder.encode(piece, add_special_tokens=False).ids for piece in tokenizer.pieces]
    return [ids or [0] for ids in found]


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


def _imported_layer(
    config: SpeechLMConfig, layer: int, read: Callable[..., Tensor]
) -> dict[str, Tensor]:
    attention, feed = layer_names(layer)
    theirs, their_feed = ATTENTION.format(layer), FEED_FORWARD.format(layer)
    own_queries, pairs = own_query_order(config), own_pair_order(config.dim_head)

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
    pairs = own_pair_order(config.dim_head)
    found = {}
    for part, heads in (("q", config.num_heads), ("k", config.kv_heads)):
        gain = read(f"{theirs}.{part}_norm.weight")[pairs] - GAIN_OFFSET
        found[qk_gain(config, attention, part)] = gain.expand(heads, 1, -1)
    return found


def qk_gain(config: SpeechLMConfig, attention: str, part: str) -> str:
    """Name of the gain of queries or keys."""
    return f"{attention}.1.{part}_rmsnorm.{'g' if config.norm_eps else 'gamma'}"


def own_query_order(config: SpeechLMConfig) -> Tensor:
    """Their query head of each of ours: ours i attends with key head i % H'."""
    groups = config.num_heads // config.kv_heads
    return torch.arange(config.num_heads).view(config.kv_heads, groups).T.flatten()


def own_pair_order(dim_head: int) -> Tensor:
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

"""Weights of Llama-like text models from `transformers` folders, for a speech LM to start from.

What fits: Llama 2 and 3 (TinyLlama, SmolLM2 and others of that shape) and Qwen3, dense. Qwen 2 does
not: its queries, keys and values have biases that these blocks lack.

Three things differ between the two forms. Here rotary pairs are neighbours (2 i, 2 i + 1), there
halves (i, i + D / 2). Here query head i attends with key head i % H', there with i // (H / H').
Here the feed-forward's first product makes "up" and gate in one and has a bias; there they are two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from codec.files import read_json, sha256_of
from codec.files.names import is_hidden
from codec.files.reading import open_file
from slm.data.vocabulary import Vocabulary
from slm.text.sentencepiece_tokenizer import TextTokenizer

from .code_embeddings import code_tables
from .config import SpeechLMConfig
from .speech_lm import SpeechLM
from .transformer import GAIN_OFFSET, layer_names

_KINDS = ("llama", "qwen3")


def llama_sizes(folder: Path | str) -> dict[str, Any]:
    """`SpeechLMConfig` fields of the text model in a `transformers` folder.

    Raises:
        ValueError: It is missing, or its blocks are not of this model's form.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise ValueError(f"expected a transformers folder with config.json, got {folder}")
    given = read_json(path)
    _check_representable(given, path)
    heads = given["num_attention_heads"]
    # transformers 5 has one entry for base and scaling, earlier versions have two.
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
    """Give a speech LM of `llama_sizes` the weights of a text LM, in place; returns the speech LM.

    Text piece i starts as the mean of the text LM's rows `text_rows[i]`. Markers and codes start
    as the mean of all its rows with a little of their spread, so that no new token is likelier
    than another and none is far off.

    Args:
        lm: Changed in place.
        folder: `config.json` and safetensors of the text LM.
        text_rows: The text LM's token ids of each of our text pieces; piece i is its token i when
            None, which needs the text LM's own tokenizer as ours.
        seed: Of the new rows.

    Raises:
        ValueError: Sizes, pieces or tensors do not fit, or the model has code tables, whose rows
            cannot be set.
    """
    if code_tables(lm):
        raise ValueError(
            f"expected a model without code tables to start from {folder}, got code_table = "
            f"{lm.config.code_table}"
        )
    config, vocabulary = lm.config, lm.vocabulary
    for name, expected in llama_sizes(folder).items():
        # ff_mult is rounded in the model; the tensors' shapes tell.
        if getattr(config, name) != expected and name != "ff_mult":
            raise ValueError(f"expected {name} = {expected} of {folder}, got {name} of the model")
    read = _reader(Path(folder))
    state = lm.state_dict()
    for layer in range(config.num_layers):
        for ours, theirs, order, dim in renamed_tensors(config, layer):
            value = read(theirs) if order is None else read(theirs).index_select(dim, order)
            _set(state, ours, value - GAIN_OFFSET if ours.endswith(".g") else value)
        # Ours computes both halves of the gated feed-forward in one product.
        attention, feed = layer_names(layer)
        block = f"model.layers.{layer}"
        up_gate = [read(f"{block}.mlp.{name}_proj.weight") for name in ("up", "gate")]
        _set(state, f"{feed}.1.ff.0.proj.weight", torch.cat(up_gate))
        state[f"{feed}.1.ff.0.proj.bias"].zero_()  # they have none
        # Qwen3: one gain for all heads there, one a head here.
        parts = (("q", config.num_heads), ("k", config.kv_heads)) if config.qk_norm else ()
        for part, heads in parts:
            gain = read(f"{block}.self_attn.{part}_norm.weight")[pair_order(config.dim_head)]
            own = (gain - GAIN_OFFSET).expand(heads, 1, -1)
            _set(state, qk_gain(config, attention, part), own)
    # Gains are kept as their difference from GAIN_OFFSET.
    _set(state, "decoder.final_norm.g", read("model.norm.weight") - GAIN_OFFSET)
    # Embedding and head of a text LM may be one matrix; ours are two.
    embeddings = read("model.embed_tokens.weight")
    tied = read("lm_head.weight", embeddings)
    generator = torch.Generator().manual_seed(seed)
    for name, source in (("embedding.weight", embeddings), ("head.weight", tied)):
        _set(state, name, _extended(vocabulary, source.float(), text_rows, generator))
    return lm


def rows_of_pieces(tokenizer: TextTokenizer, folder: Path | str) -> list[list[int]] | None:
    """The text LM's token ids of each of our pieces, for `import_llama`; token 0 where it has none.

    None when the two tokenizers are one, so that ids agree.

    Args:
        tokenizer: Ours.
        folder: Of the text LM, with its tokenizer.model (SentencePiece) or tokenizer.json.

    Raises:
        ValueError: The folder holds no tokenizer.
    """
    path = Path(folder) / "tokenizer.model"
    if path.is_file():
        # The same file: ids agree piece by piece.
        if sha256_of(path)[:16] == tokenizer.fingerprint:
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
    """A function that reads a tensor by its name from one or several safetensors files."""
    file_of: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        if is_hidden(path.name):
            continue
        open_file(path).close()  # a named pipe would be waited for
        with safe_open(path, framework="pt") as file:
            # Headers alone: weights of several gigabytes are read a tensor at a time.
            file_of |= dict.fromkeys(file.keys(), path)

    def read(name: str, otherwise: Tensor | None = None) -> Tensor:
        if name not in file_of:
            if otherwise is None:
                raise ValueError(f"expected {name} in the safetensors of {folder}, found none")
            return otherwise
        with safe_open(file_of[name], framework="pt") as file:
            return file.get_tensor(name)

    return read


def _set(state: dict[str, Tensor], name: str, value: Tensor) -> None:
    target = state[name]
    if target.shape != value.shape:
        raise ValueError(
            f"expected {name} of shape {tuple(target.shape)}, got {tuple(value.shape)}"
        )
    target.copy_(value)


class Renamed(NamedTuple):
    """A tensor that both forms have: ours is theirs in another order along one dimension.

    Attributes:
        ours: Name here.
        theirs: Name there.
        order: Place there of each entry of ours along `dim`; None for the same order.
        dim: Dimension that is reordered.
    """

    ours: str
    theirs: str
    order: Tensor | None = None
    dim: int = 0


def renamed_tensors(config: SpeechLMConfig, layer: int) -> list[Renamed]:
    """Tensors of a layer but for the feed-forward's first product and the gains of QK norm."""
    (attention, feed), block = layer_names(layer), f"model.layers.{layer}"
    own, theirs = f"{attention}.1", f"{block}.self_attn"
    heads = query_order(config)[:, None] * config.dim_head
    kv_heads = torch.arange(config.kv_heads)[:, None] * config.dim_head
    pairs, same = pair_order(config.dim_head), torch.arange(config.dim_head)
    return [
        Renamed(f"{attention}.0.0.g", f"{block}.input_layernorm.weight"),
        Renamed(f"{own}.to_q.weight", f"{theirs}.q_proj.weight", (heads + pairs).flatten()),
        Renamed(f"{own}.to_k.weight", f"{theirs}.k_proj.weight", (kv_heads + pairs).flatten()),
        Renamed(f"{own}.to_v.weight", f"{theirs}.v_proj.weight"),
        # Values are not turned, so that the output has only its heads in another order.
        Renamed(f"{own}.to_out.weight", f"{theirs}.o_proj.weight", (heads + same).flatten(), dim=1),
        Renamed(f"{feed}.0.0.g", f"{block}.post_attention_layernorm.weight"),
        Renamed(f"{feed}.1.ff.2.weight", f"{block}.mlp.down_proj.weight"),
    ]


def query_order(config: SpeechLMConfig) -> Tensor:
    """Their query head of each of ours: ours i attends with key head i % H'."""
    groups = config.num_heads // config.kv_heads
    return torch.arange(config.num_heads).view(config.kv_heads, groups).T.flatten()


def pair_order(dim_head: int) -> Tensor:
    """Their value of each of ours within a head: pairs are neighbours here, halves there."""
    return torch.arange(dim_head).view(2, -1).T.flatten()


def qk_gain(config: SpeechLMConfig, attention: str, part: str) -> str:
    """Our name of the gain of queries or keys, "q" or "k"."""
    return f"{attention}.1.{part}_rmsnorm.{'g' if config.norm_eps else 'gamma'}"


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
        # A piece that is several tokens there starts as their mean.
        text = torch.stack([source[list(ids)].mean(0) for ids in text_rows])
    noise = torch.randn(vocabulary.vocab_size, source.shape[1], generator=generator)
    rows = source.mean(0) + 0.1 * source.std(0) * noise
    rows[vocabulary.text_start : vocabulary.code_start] = text
    return rows

"""The decoder once more, for generation: few large operations a step, weights merged beforehand.

A step of one token is bound by what it reads from memory and by how many operations it issues.
Here the weights are those of `slm.engines.merged_weights`, keys are kept rotated, and the rotation
is one complex product. Nothing is compiled, so that this runs anywhere; `slm.engines.native` and
`slm.engines.cuda_graphs` are faster where they are to be had. `SpeechLM` stays the definition of
the model: a test holds them together.
"""

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slm.model.attention import rotate
from slm.model.speech_lm import SpeechLM

from .merged_weights import Outputs, merged_head, merged_layers, turning_table, unit


class Matrix(NamedTuple):
    """A linear map as it is read in a step.

    Attributes:
        weight: (N, D) in the step's precision, or int8; laid out for oneDNN when `packed`.
        scale: (N,) for int8, else None.
        bias: (N,) in the step's precision, or None.
        packed: Whether `weight` is in oneDNN's own layout, which reads faster for several rows.
    """

    weight: Tensor
    scale: Tensor | None = None
    bias: Tensor | None = None
    packed: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D) to (..., N), in x's precision."""
        flat = x.reshape(-1, x.shape[-1])
        if self.scale is not None:
            multiply = torch.ops.aten._weight_int8pack_mm  # fast for bfloat16 inputs alone
            product = multiply(flat.to(self.scale.dtype), self.weight, self.scale).to(x.dtype)
            product = product if self.bias is None else product + self.bias
        elif self.packed:
            flat = flat.to(self.weight.dtype)
            linear = torch.ops.mkldnn._linear_pointwise
            product = linear(flat, self.weight, self.bias, "none", [], "").to(x.dtype)
        else:
            product = F.linear(flat.to(self.weight.dtype), self.weight, self.bias).to(x.dtype)
        return product.view(*x.shape[:-1], -1)


def matrix_of(weight: Tensor, bias: Tensor | None, kind: str) -> Matrix:
    """A `Matrix` of (N, D) and (N,) in one of "exact", "bf16" and "int8"."""
    if kind == "int8":
        scale = weight.float().abs().amax(dim=1).clamp(min=1e-12) / 127
        rounded = (weight.float() / scale[:, None]).round().to(torch.int8)
        return Matrix(rounded.contiguous(), scale.bfloat16(), bias)
    if kind == "bf16":
        weight, bias = weight.bfloat16(), None if bias is None else bias.bfloat16()
    weight = weight.contiguous()
    if _can_pack(weight):
        return Matrix(torch.ops.mkldnn._reorder_linear_weight(weight, None), None, bias, True)
    return Matrix(weight, None, bias)


def _can_pack(weight: Tensor) -> bool:
    """Whether this build of torch has oneDNN's layouts for such a matrix."""
    known = weight.dtype in (torch.float32, torch.bfloat16) and weight.device.type == "cpu"
    available = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
    return known and available and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


class Layer(NamedTuple):
    """The four products of a decoder layer, and the gain of its QK norm (see `MergedLayer`)."""

    qkv: Matrix
    out: Matrix
    up_gate: Matrix
    down: Matrix
    qk_gain: Tensor | None


class RowCache:
    """Rotated keys, and values, of up to B rows; slot j of a row holds its position j.

    Attributes:
        layers: Per layer (B, 2, L, H', D): keys, then values.
        count: Rows in use, the first ones.
    """

    def __init__(self, layers: list[Tensor]) -> None:
        self.layers = layers
        self.count = len(layers[0])

    def at(self, first: int, count: int) -> "RowCache":
        """The `count` rows from `first` on, over the same memory."""
        return RowCache([layer[first : first + count] for layer in self.layers])

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row but these, which come to lie in this order; only moved rows cost."""
        moved = [(to, source) for to, source in enumerate(rows) if to != source]
        self.count = len(rows)
        if not moved:
            return
        targets, sources = (list(indices) for indices in zip(*moved, strict=True))
        for layer in self.layers:
            layer[targets] = layer[sources]


class FusedDecoder:
    """`SpeechLM` in eval mode; hidden states lack the last norm's gain, which `logits` adds.

    Args:
        lm: The model; its weights are copied where they are merged.
        weights: "exact", "bf16" or "int8" (a scale an output row); sums stay in the model's own
            precision, embeddings are never rounded.

    Raises:
        ValueError: The model's blocks are not the ones known here (see
            `slm.engines.merged_weights.fits`).
    """

    def __init__(self, lm: SpeechLM, weights: str = "exact") -> None:
        self.config = lm.config
        self._embedding = lm.embedding.weight.detach()
        self._groups = lm.config.num_heads // lm.config.kv_heads
        self._layers = [
            Layer(
                matrix_of(layer.qkv, None, weights),
                matrix_of(layer.out, None, weights),
                matrix_of(layer.up_gate, layer.up_gate_bias, weights),
                matrix_of(layer.down, None, weights),
                layer.qk_gain,
            )
            for layer in merged_layers(lm)
        ]
        self._turns = turning_table(lm)
        self._heads: dict[Outputs, Matrix] = {}
        self._lm, self._weights = weakref.ref(lm), weights

    def new_cache(self, batch_size: int, max_len: int) -> RowCache:
        """An empty cache for `batch_size` rows of up to `max_len` tokens."""
        config, like = self.config, self._embedding
        shape = (batch_size, 2, max_len, config.kv_heads, config.dim_head)
        # Zeros, not empty: an unseen slot times a zero attention weight must not be NaN.
        return RowCache([like.new_zeros(shape) for _ in range(config.num_layers)])

    def prefill(self, tokens: Tensor, lengths: Sequence[int], cache: RowCache) -> Tensor:
        """Read whole prompts; (B, S) int64, padded on the right, to (B, D) after each."""
        width = tokens.shape[1]
        places = torch.arange(width, device=tokens.device)
        mask = (places[None, :] <= places[:, None])[None, None]
        hidden = self._run(tokens, places.expand_as(tokens), cache, width, self._additive(mask))
        last = torch.tensor([length - 1 for length in lengths], device=tokens.device)
        return hidden[torch.arange(len(lengths), device=tokens.device), last]

    def step(self, tokens: Tensor, places: Sequence[int], cache: RowCache) -> Tensor:
        """Read one token a row, (B,) int64 at `places`, to (B, D)."""
        positions = torch.tensor(places, device=tokens.device)[:, None]
        num_keys = max(places) + 1
        mask = None
        if min(places) + 1 < num_keys:
            slots = torch.arange(num_keys, device=tokens.device)
            mask = self._additive((slots <= positions)[:, None, None, :])
        return self._run(tokens[:, None], positions, cache, num_keys, mask)[:, 0]

    def read(self, tokens: Tensor, places: Tensor, num_keys: int, cache: RowCache) -> Tensor:
        """Read (B, S) int64 at `places` (B, S) below `num_keys`, to (B, D) after the last."""
        slots = torch.arange(num_keys, device=tokens.device)
        mask = self._additive((slots <= places[..., None])[:, None])
        return self._run(tokens, places, cache, num_keys, mask)[:, -1]

    def logits(self, hidden: Tensor, outputs: Outputs) -> Tensor:
        """Logits (B, N) float32 of the tokens of `outputs`, of hidden states (B, D)."""
        if outputs not in self._heads:
            lm = self._lm()
            assert lm is not None, "a decoder is kept no longer than its model"
            self._heads[outputs] = matrix_of(merged_head(lm, outputs), None, self._weights)
        return self._heads[outputs](hidden).float()

    def _run(
        self, tokens: Tensor, positions: Tensor, cache: RowCache, num_keys: int, mask: Tensor | None
    ) -> Tensor:
        eps = self.config.norm_eps
        x = F.embedding(tokens, self._embedding)
        turns = self._turns[positions][:, :, None]
        rows = torch.arange(len(tokens), device=tokens.device)[:, None]
        single = int(positions) if positions.numel() == 1 and not tokens.is_cuda else None
        for layer, held in zip(self._layers, cache.layers, strict=True):
            qkv = layer.qkv(unit(x, eps))
            queries, keys, values = self._project(qkv, turns, layer.qk_gain)
            if single is None:
                held[rows, 0, positions], held[rows, 1, positions] = keys, values
            else:
                held[0, 0, single], held[0, 1, single] = keys[0, 0], values[0, 0]
            x = x + layer.out(self._attend(queries, held[: len(x)], num_keys, mask))
            up, gate = layer.up_gate(unit(x, eps)).chunk(2, dim=-1)
            x = x + layer.down(up * F.silu(gate))
        return unit(x, eps)

    def _project(
        self, qkv: Tensor, turns: Tensor, qk_gain: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries (B, S, H, D) and keys (B, S, H', D), and values (B, S, H', D)."""
        config = self.config
        heads = qkv.unflatten(-1, (-1, config.dim_head))
        turned, values = heads.split([config.num_heads + config.kv_heads, config.kv_heads], dim=-2)
        if qk_gain is not None:
            turned = unit(turned, config.norm_eps) * qk_gain
        queries, keys = rotate(turned, turns).split([config.num_heads, config.kv_heads], dim=-2)
        return queries, keys, values

    def _attend(self, queries: Tensor, held: Tensor, num_keys: int, mask: Tensor | None) -> Tensor:
        """(B, S, H * D); the query heads of one key head stand in for more queries."""
        batch, width, _, dim_head = queries.shape
        keys, values = held[:, :, :num_keys].transpose(2, 3).unbind(1)
        grouped = queries.unflatten(2, (-1, self._groups)).permute(0, 2, 3, 1, 4)
        grouped = grouped.reshape(batch, -1, self._groups * width, dim_head)
        if mask is not None and width > 1:
            mask = mask.repeat(1, 1, self._groups, 1)
        out = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask)
        out = out.unflatten(2, (self._groups, width)).permute(0, 3, 1, 2, 4)
        return out.reshape(batch, width, -1)

    def _additive(self, seen: Tensor) -> Tensor:
        """0 where a key is seen, -inf where it is not."""
        zeros = torch.zeros(seen.shape, dtype=self._embedding.dtype, device=seen.device)
        return zeros.masked_fill(~seen, float("-inf"))


class Decoder(Protocol):
    """A decoder for generation, made of a model and a precision of its weights."""

    def __init__(self, lm: SpeechLM, weights: str) -> None: ...


_Kind = TypeVar("_Kind", bound=Decoder)
_Kept = dict[tuple[type[Any], str], tuple[tuple[tuple[int, int], ...], Any]]
_DECODERS: WeakKeyDictionary[nn.Module, _Kept] = WeakKeyDictionary()


def kept_decoder(lm: SpeechLM, weights: str, kind: type[_Kind]) -> _Kind:
    """The model's decoder of a kind and precision, kept until the model's weights change."""
    tensors = [*lm.parameters(), *lm.buffers()]
    stamp = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
    kept = _DECODERS.setdefault(lm, {})
    if (kind, weights) not in kept or kept[kind, weights][0] != stamp:
        kept.pop((kind, weights), None)
        with torch.no_grad():
            kept[kind, weights] = (stamp, kind(lm, weights))
    return kept[kind, weights][1]

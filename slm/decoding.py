"""The decoder once more, for generation: few large operations a step, weights merged beforehand.

A step of one token is bound by what it reads from memory and by how many operations it issues.
Here queries, keys and values are one product, the gains of the norms are part of the matrices that
follow them, keys are kept rotated, the rotation is one complex product, and the head holds nothing
but what may be said. Nothing is compiled, so nothing ever recompiles. `SpeechLM` stays the
definition of the model: a test holds the two together, and `fits` refuses any other block.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .model import SpeechLM

_SMALLEST_NORM = 1e-12  # as the model's own norm
_LAYER_NAMES = {
    "{a}.0.0.g",
    "{a}.1.to_q.weight",
    "{a}.1.to_k.weight",
    "{a}.1.to_v.weight",
    "{a}.1.to_out.weight",
    "{f}.0.0.g",
    "{f}.1.ff.0.proj.weight",
    "{f}.1.ff.0.proj.bias",
    "{f}.1.ff.2.weight",
}


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
    """The four products of a decoder layer."""

    qkv: Matrix
    out: Matrix
    up_gate: Matrix
    down: Matrix


class RowCache:
    """Rotated keys, and values, of B rows; slot j of a row holds its position j.

    Attributes:
        layers: Per layer (2, B, L, H', D): keys, then values.
    """

    def __init__(self, layers: list[Tensor]) -> None:
        self.layers = layers

    def keep(self, rows: Tensor) -> None:
        """Drop every row but `rows` (int64 indices)."""
        self.layers = [layer[:, rows] for layer in self.layers]


class FusedDecoder:
    """`SpeechLM` in eval mode, restricted to the end and the codes as outputs.

    Args:
        lm: The model; its weights are copied where they are merged.
        weights: "exact", "bf16" or "int8" (a scale an output row); sums stay in the model's own
            precision, embeddings are never rounded.

    Raises:
        ValueError: The model's blocks are not the ones written here (see `fits`).
    """

    def __init__(self, lm: SpeechLM, weights: str = "exact") -> None:
        if not fits(lm):
            raise ValueError("expected the blocks of slm.model, got a decoder with other parts")
        config = lm.config
        self.config = config
        self._embedding = lm.embedding.weight.detach()
        self._weights = weights
        self._gain_offset = float(getattr(lm.decoder.final_norm, "unit_offset", False))
        self._groups = config.num_heads // config.kv_heads
        state = {name: value.detach() for name, value in lm.decoder.state_dict().items()}
        self._layers = [self._layer(state, index) for index in range(config.num_layers)]
        vocabulary = lm.vocabulary
        spoken = [vocabulary.eos_id, *range(vocabulary.code_start, vocabulary.vocab_size)]
        head = lm.head.weight.detach()[spoken]
        self._head = self._matrix(head * self._gain(state["final_norm.g"]))
        angles = torch.outer(
            torch.arange(config.max_seq_len, device=head.device).float(),
            state["rotary_pos_emb.inv_freq"].float(),
        )
        self._turns = torch.polar(torch.ones_like(angles), angles)

    def new_cache(self, batch_size: int, max_len: int) -> RowCache:
        """An empty cache for `batch_size` rows of up to `max_len` tokens."""
        config, like = self.config, self._embedding
        shape = (2, batch_size, max_len, config.kv_heads, config.dim_head)
        # Zeros, not empty: an unseen slot times a zero attention weight must not be NaN.
        return RowCache([like.new_zeros(shape) for _ in range(config.num_layers)])

    def prefill(self, tokens: Tensor, lengths: Sequence[int], cache: RowCache) -> Tensor:
        """Read whole prompts; (B, S) int64, padded on the right, to (B, 1 + codes) logits."""
        width = tokens.shape[1]
        places = torch.arange(width, device=tokens.device)
        mask = (places[None, :] <= places[:, None])[None, None]
        hidden = self._run(tokens, places.expand_as(tokens), cache, width, self._additive(mask))
        last = torch.tensor([length - 1 for length in lengths], device=tokens.device)
        return self._logits(hidden[torch.arange(len(lengths), device=tokens.device), last])

    def step(self, tokens: Tensor, places: Sequence[int], cache: RowCache) -> Tensor:
        """Read one token a row, (B,) int64 at `places`, to (B, 1 + codes) float32 logits."""
        positions = torch.tensor(places, device=tokens.device)[:, None]
        num_keys = max(places) + 1
        mask = None
        if min(places) + 1 < num_keys:
            slots = torch.arange(num_keys, device=tokens.device)
            mask = self._additive((slots <= positions)[:, None, None, :])
        hidden = self._run(tokens[:, None], positions, cache, num_keys, mask)
        return self._logits(hidden[:, 0])

    def _run(
        self, tokens: Tensor, positions: Tensor, cache: RowCache, num_keys: int, mask: Tensor | None
    ) -> Tensor:
        x = F.embedding(tokens, self._embedding)
        turns = self._turns[positions][:, :, None]
        rows = torch.arange(len(tokens), device=tokens.device)[:, None]
        single = int(positions) if positions.numel() == 1 and not tokens.is_cuda else None
        for layer, held in zip(self._layers, cache.layers, strict=True):
            queries, keys_values = self._project(layer.qkv(_normed(x)), turns)
            if single is None:
                held[:, rows, positions] = keys_values
            else:
                held[:, 0, single] = keys_values[:, 0, 0]
            x = x + layer.out(self._attend(queries, held, num_keys, mask))
            up, gate = layer.up_gate(_normed(x)).chunk(2, dim=-1)
            x = x + layer.down(up * F.silu(gate))
        return x

    def _project(self, qkv: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
        """Rotated queries (B, S, H, D); rotated keys and values (2, B, S, H', D)."""
        config = self.config
        batch, width = qkv.shape[:2]
        heads = qkv.view(batch, width, -1, config.dim_head)
        turned_heads = config.num_heads + config.kv_heads
        pairs = heads[:, :, :turned_heads].float().unflatten(-1, (-1, 2))
        turned = torch.view_as_real(torch.view_as_complex(pairs) * turns).flatten(-2).to(qkv.dtype)
        queries, keys = turned.split([config.num_heads, config.kv_heads], dim=2)
        return queries, torch.stack([keys, heads[:, :, turned_heads:]])

    def _attend(self, queries: Tensor, held: Tensor, num_keys: int, mask: Tensor | None) -> Tensor:
        """(B, S, H * D); the query heads of one key head stand in for more queries."""
        batch, width, _, dim_head = queries.shape
        keys, values = (part[:, :num_keys].transpose(1, 2) for part in held)
        grouped = queries.unflatten(2, (-1, self._groups)).permute(0, 2, 3, 1, 4)
        grouped = grouped.reshape(batch, -1, self._groups * width, dim_head)
        if mask is not None and width > 1:
            mask = mask.repeat(1, 1, self._groups, 1)
        out = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask)
        out = out.unflatten(2, (self._groups, width)).permute(0, 3, 1, 2, 4)
        return out.reshape(batch, width, -1)

    def _logits(self, hidden: Tensor) -> Tensor:
        return self._head(_normed(hidden)).float()

    def _additive(self, seen: Tensor) -> Tensor:
        """0 where a key is seen, -inf where it is not."""
        zeros = torch.zeros(seen.shape, dtype=self._embedding.dtype, device=seen.device)
        return zeros.masked_fill(~seen, float("-inf"))

    def _gain(self, g: Tensor) -> Tensor:
        """What a unit vector is multiplied with after the norm."""
        return (g + self._gain_offset) * self.config.dim**0.5

    def _matrix(self, weight: Tensor, bias: Tensor | None = None) -> Matrix:
        return matrix_of(weight, bias, self._weights)

    def _layer(self, state: dict[str, Tensor], index: int) -> Layer:
        config = self.config
        attention, feed = f"layers.{2 * index}", f"layers.{2 * index + 1}"
        # The model pairs query head i with key head i % H'; here a key head's queries lie together.
        order = torch.arange(config.num_heads).view(self._groups, config.kv_heads).T.flatten()

        def by_head(weight: Tensor) -> Tensor:
            return weight.unflatten(0, (config.num_heads, config.dim_head))[order].flatten(0, 1)

        queries = by_head(state[f"{attention}.1.to_q.weight"])
        keys, values = (state[f"{attention}.1.to_{name}.weight"] for name in "kv")
        before_attention = self._gain(state[f"{attention}.0.0.g"])
        before_feed = self._gain(state[f"{feed}.0.0.g"])
        return Layer(
            self._matrix(torch.cat([queries, keys, values]) * before_attention),
            self._matrix(by_head(state[f"{attention}.1.to_out.weight"].T).T),
            self._matrix(
                state[f"{feed}.1.ff.0.proj.weight"] * before_feed,
                state[f"{feed}.1.ff.0.proj.bias"],
            ),
            self._matrix(state[f"{feed}.1.ff.2.weight"]),
        )


_Kept = dict[str, tuple[tuple[tuple[int, int], ...], FusedDecoder]]
_DECODERS: WeakKeyDictionary[nn.Module, _Kept] = WeakKeyDictionary()


def fused_decoder(lm: SpeechLM, weights: str = "exact") -> FusedDecoder:
    """The model's `FusedDecoder`, one a precision, kept until the model's weights change."""
    tensors = [*lm.parameters(), *lm.buffers()]
    stamp = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
    kept = _DECODERS.setdefault(lm, {})
    if weights not in kept or kept[weights][0] != stamp:
        kept.pop(weights, None)
        with torch.no_grad():
            kept[weights] = (stamp, FusedDecoder(lm, weights))
    return kept[weights][1]


def fits(lm: SpeechLM) -> bool:
    """Whether the decoder has exactly the parts that `FusedDecoder` knows."""
    expected = {"rotary_pos_emb.inv_freq", "final_norm.g"}
    for index in range(lm.config.num_layers):
        attention, feed = f"layers.{2 * index}", f"layers.{2 * index + 1}"
        expected |= {name.format(a=attention, f=feed) for name in _LAYER_NAMES}
    # Settings that change what the same parts compute, whether or not this model has them.
    others = ("qk_norm", "norm_eps", "rotary_scaling")
    plain = not any(getattr(lm.config, name, None) for name in others)
    return plain and set(lm.decoder.state_dict()) == expected


def _normed(x: Tensor) -> Tensor:
    """Unit vectors over the last dimension."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return cast(Tensor, x / norm.clamp_(min=_SMALLEST_NORM))

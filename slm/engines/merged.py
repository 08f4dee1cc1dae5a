"""The engine of merged weights: few large operations a step, on any device and precision.

A step of one token is bound by what it reads from memory and by how many operations it issues.
Here the weights are those of `slm.engines.merged_weights`, keys are kept rotated, and the rotation
is one complex product. Nothing is compiled, so that this runs anywhere; `slm.engines.native` and
`slm.engines.cuda_graphs` are faster where they are to be had. `SpeechLM` stays the definition of
the model: a test holds them together.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from slm.model.attention import rotate
from slm.model.speech_lm import SpeechLM

from .matrix import Capability, Matrix, can_pack, matrix_of
from .merged_weights import Outputs, merged_head, merged_layers, rotary_table, unit


class Layer(NamedTuple):
    """The four products of a decoder layer, and the gain of its QK norm (see `MergedLayer`)."""

    qkv: Matrix
    out: Matrix
    up_gate: Matrix
    down: Matrix
    qk_gain: Tensor | None


class MergedDecoder:
    """`SpeechLM` in eval mode; hidden states lack the last norm's gain, which `logits` adds.

    Args:
        lm: The model; its weights are copied where they are merged.
        weights: "exact", "bf16" or "int8" (a scale an output row); sums stay in the model's own
            precision, embeddings are never rounded.
        packs: Whether the processor reads a dtype in oneDNN's layout.

    Raises:
        ValueError: The model's blocks are not the ones known here (see
            `slm.engines.merged_weights.fits`).

    Attributes:
        graph_memories: What `slm.engines.cuda_graphs` keeps with the decoder.
        graph_pool: Likewise.
    """

    def __init__(self, lm: SpeechLM, weights: str = "exact", packs: Capability = can_pack) -> None:
        self.config = lm.config
        self.device = lm.head.weight.device
        self._embedding = lm.embedding.weight.detach()
        self._groups = lm.config.num_heads // lm.config.kv_heads
        self._layers = [
            Layer(
                matrix_of(layer.qkv, None, weights, packs),
                matrix_of(layer.out, None, weights, packs),
                matrix_of(layer.up_gate, layer.up_gate_bias, weights, packs),
                matrix_of(layer.down, None, weights, packs),
                layer.qk_gain,
            )
            for layer in merged_layers(lm)
        ]
        self._rotations = rotary_table(lm)
        self._heads: dict[Outputs, Matrix] = {}
        self._lm, self._weights, self._packs = weakref.ref(lm), weights, packs
        self.graph_memories: list[Any] = []
        self.graph_pool: Any = None

    def new_cache(self, rows: int, max_len: int) -> list[Tensor]:
        """Empty caches (B, 2, L, H', D) of keys and values, one a layer."""
        config, like = self.config, self._embedding
        shape = (rows, 2, max_len, config.kv_heads, config.dim_head)
        # Zeros, not empty: an unseen slot times a zero attention weight must not be NaN.
        return [like.new_zeros(shape) for _ in range(config.num_layers)]

    def logits(self, hidden: Tensor, outputs: Outputs) -> Tensor:
        """Logits (B, N) float32 of the tokens of `outputs`, from hidden states (B, D)."""
        if outputs not in self._heads:
            lm = self._lm()
            assert lm is not None, "a decoder is kept no longer than its model"
            head = merged_head(lm, outputs)
            self._heads[outputs] = matrix_of(head, None, self._weights, self._packs)
        return self._heads[outputs](hidden).float()

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Sequence[Tensor],
        num_keys: int,
        visible: Tensor | None,
    ) -> Tensor:
        """Hidden states (B, S, D) of tokens, whose keys and values go into the cache.

        Args:
            tokens: (B, S) int64.
            positions: (B, S) int64, below `num_keys`.
            cache: Of at least B rows, one tensor a layer; slot j of a row holds position j.
            num_keys: Slots that are attended to, the first ones.
            visible: Bool, broadcastable to (B, 1, S, num_keys), the slots a token attends to; None
                for all of them.
        """
        eps = self.config.norm_eps
        x = F.embedding(tokens, self._embedding)
        mask = None
        if visible is not None:
            mask = torch.zeros(visible.shape, dtype=x.dtype, device=x.device)
            mask = mask.masked_fill(~visible, float("-inf"))
        rotations = self._rotations[positions][:, :, None]  # (B, S, 1, D / 2, 2)
        rows = torch.arange(len(tokens), device=tokens.device)[:, None]
        # One token of one row is written by plain indices, the fastest way on the CPU.
        single = int(positions) if positions.numel() == 1 and not tokens.is_cuda else None
        for layer, held in zip(self._layers, cache, strict=True):
            # Attention: the gain of the norm is part of the matrix that follows it.
            queries, keys, values = self._project(layer.qkv(unit(x, eps)), rotations, layer.qk_gain)
            if single is None:
                held[rows, 0, positions], held[rows, 1, positions] = keys, values
            else:
                held[0, 0, single], held[0, 1, single] = keys[0, 0], values[0, 0]
            x = x + layer.out(self._attend(queries, held[: len(x)], num_keys, mask))
            # Gated feed-forward.
            up, gate = layer.up_gate(unit(x, eps)).chunk(2, dim=-1)
            x = x + layer.down(up * F.silu(gate))
        return unit(x, eps)

    def _project(
        self, qkv: Tensor, rotations: Tensor, qk_gain: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries (B, S, H, D) and keys (B, S, H', D), and values (B, S, H', D)."""
        config = self.config
        heads = qkv.unflatten(-1, (-1, config.dim_head))  # (B, S, H + 2 H', D)
        rotated, values = heads.split([config.num_heads + config.kv_heads, config.kv_heads], dim=-2)
        if qk_gain is not None:
            rotated = unit(rotated, config.norm_eps) * qk_gain
        queries, keys = rotate(rotated, rotations).split(
            [config.num_heads, config.kv_heads], dim=-2
        )
        return queries, keys, values

    def _attend(self, queries: Tensor, held: Tensor, num_keys: int, mask: Tensor | None) -> Tensor:
        """Attention (B, S, H * D); the query heads of one key head count as more queries of it."""
        batch, width, _, dim_head = queries.shape
        keys, values = held[:, :, :num_keys].transpose(2, 3).unbind(1)  # (B, H', num_keys, D)
        grouped = queries.unflatten(2, (-1, self._groups)).permute(0, 2, 3, 1, 4)
        grouped = grouped.reshape(batch, -1, self._groups * width, dim_head)  # (B, H', G * S, D)
        if mask is not None and width > 1:
            mask = mask.repeat(1, 1, self._groups, 1)
        out = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=mask)
        out = out.unflatten(2, (self._groups, width)).permute(0, 3, 1, 2, 4)
        return out.reshape(batch, width, -1)


class MergedEngine:
    """Each new token alone through merged weights, over a cache; see `slm.engines.engine.Engine`.

    Args:
        decoder: Of the model.
        rows: Most rows at a time.
        longest: Most tokens of a row.
        cache: Of at least so many of both, in place of a new one.
    """

    def __init__(
        self,
        decoder: MergedDecoder,
        rows: int,
        longest: int,
        cache: Sequence[Tensor] | None = None,
    ) -> None:
        self._decoder, self._device = decoder, decoder.device
        self._cache = decoder.new_cache(rows, longest) if cache is None else cache
        self._longest, self._lengths = longest, list[int]()

    def prefill(self, prompts: Sequence[Tensor]) -> Tensor:
        """See `Engine`."""
        # Padding on the right fills slots past a row's end; its own tokens overwrite them before
        # any query is allowed to see them.
        tokens = pad_sequence(list(prompts), batch_first=True).to(self._device)
        lengths, first = [len(prompt) for prompt in prompts], len(self._lengths)
        cache = [layer[first : first + len(prompts)] for layer in self._cache]
        self._lengths += lengths
        width = tokens.shape[1]
        positions = torch.arange(width, device=self._device)
        causal = (positions[None, :] <= positions[:, None])[None, None]  # (1, 1, S, S)
        hidden = self._decoder.hidden(tokens, positions.expand_as(tokens), cache, width, causal)
        last = torch.tensor([length - 1 for length in lengths], device=self._device)
        return hidden[torch.arange(len(lengths), device=self._device), last]

    def decode(self, tokens: Tensor) -> Tensor:
        """See `Engine`."""
        positions = torch.tensor(self._lengths, device=self._device)[:, None]
        num_keys = max(self._lengths) + 1
        visible = None  # rows of one length see all their slots
        if min(self._lengths) + 1 < num_keys:
            slots = torch.arange(num_keys, device=self._device)
            visible = (slots <= positions)[:, None, None, :]
        self._lengths = [length + 1 for length in self._lengths]
        tokens = tokens.to(self._device)[:, None]
        return self._decoder.hidden(tokens, positions, self._cache, num_keys, visible)[:, 0]

    def extend(self, pending: Sequence[Sequence[int]]) -> Tensor:
        """See `Engine`."""
        tokens, positions = ragged(pending, self._lengths, self._longest, self._device)
        self._lengths = [n + len(new) for n, new in zip(self._lengths, pending, strict=True)]
        idle = any(not new for new in pending)  # and writes a slot beyond its length
        return self._read(tokens, positions, min(max(self._lengths) + idle, self._longest))

    def select(self, rows: Sequence[int]) -> None:
        """See `Engine`."""
        self._lengths = [self._lengths[index] for index in rows]
        # Only rows that move cost anything.
        moved = [(to, source) for to, source in enumerate(rows) if to != source]
        if moved:
            targets, sources = (list(indices) for indices in zip(*moved, strict=True))
            for layer in self._cache:
                layer[targets] = layer[sources]

    def logits(self, hidden: Tensor, outputs: Outputs) -> Tensor:
        """See `Engine`."""
        return self._decoder.logits(hidden, outputs)

    def _read(self, tokens: Tensor, positions: Tensor, num_keys: int) -> Tensor:
        """Read (B, S) int64 at `positions` below `num_keys`; (B, D) after the last of each row."""
        slots = torch.arange(num_keys, device=self._device)
        visible = (slots <= positions[..., None])[:, None]  # (B, 1, S, num_keys)
        return self._decoder.hidden(tokens, positions, self._cache, num_keys, visible)[:, -1]


def ragged(
    pending: Sequence[Sequence[int]], lengths: Sequence[int], longest: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Tokens and their positions (B, S) of rows that have read `lengths` before.

    A row with less to read than another reads its last token again, at the same position; one with
    nothing to read some token at the position after its last, which its next token overwrites
    before anything is allowed to see it. A row of `longest` tokens reads nothing any more, so its
    last position serves as well.
    """
    width = max(len(new) for new in pending)
    tokens, positions = [], []
    for new, length in zip(pending, lengths, strict=True):
        again = width - len(new)
        token, last = (new[-1], length + len(new) - 1) if new else (0, min(length, longest - 1))
        tokens.append([*new, *[token] * again])
        positions.append([*range(length, length + len(new)), *[last] * again])
    return torch.tensor(tokens, device=device), torch.tensor(positions, device=device)


Decoder = TypeVar("Decoder")
_Cached = dict[tuple[Any, str], tuple[tuple[Any, ...], Any]]
_DECODERS: WeakKeyDictionary[nn.Module, _Cached] = WeakKeyDictionary()


def cached_decoder(lm: SpeechLM, weights: str, kind: Callable[[SpeechLM, str], Decoder]) -> Decoder:
    """The model's decoder of a kind and precision, kept until the model's weights change."""
    # Weights changed in place keep their address but not their version, which tensors that were
    # made in inference mode do not have.
    tensors = [*lm.parameters(), *lm.buffers()]
    stamp = tuple(
        (each.device, each.data_ptr(), None if each.is_inference() else each._version)
        for each in tensors
    )
    cached = _DECODERS.setdefault(lm, {})
    if (kind, weights) not in cached or cached[kind, weights][0] != stamp:
        cached.pop((kind, weights), None)  # before another takes its memory
        with torch.no_grad():
            cached[kind, weights] = (stamp, kind(lm, weights))
    return cached[kind, weights][1]

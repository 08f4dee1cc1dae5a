"""Merged weights of the decoder: fewer and larger matrices, gains multiplied in.

Queries, keys and values are one product, and the gains of the norms are part of the matrices that
follow them, so that what is left of a norm is a unit vector. `fits` says whether a model's blocks
are the ones known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor

from slm.model.speech_lm import SpeechLM
from slm.model.transformer import GAIN_OFFSET

# Tokens whose logits are computed, as ranges of ids.
Outputs = tuple[range, ...]

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


class MergedLayer(NamedTuple):
    """Weights of a decoder layer, the queries of one key head next to each other.

    Attributes:
        qkv: (H D + 2 H' D, dim).
        out: (dim, H D).
        up_gate: (2 F, dim), then its bias (2 F,).
        up_gate_bias: See there.
        down: (dim, F).
        qk_gain: (H + H', D), factors of queries and keys of unit length before the rotation; None
            without QK norm.
    """

    qkv: Tensor
    out: Tensor
    up_gate: Tensor
    up_gate_bias: Tensor
    down: Tensor
    qk_gain: Tensor | None


def fits(lm: SpeechLM) -> bool:
    """True if the decoder has exactly the parts that are merged here."""
    config, state = lm.config, lm.decoder.state_dict()
    gain = "g" if config.norm_eps else "gamma"
    # Names and epsilons of the blocks of `slm.model`, no more and no fewer.
    expected = {"rotary_pos_emb.inv_freq", "final_norm.g"}
    for index in range(config.num_layers):
        attention, feed = f"layers.{2 * index}", f"layers.{2 * index + 1}"
        expected |= {name.format(a=attention, f=feed) for name in _LAYER_NAMES}
        if config.qk_norm:
            expected |= {f"{attention}.1.{part}_rmsnorm.{gain}" for part in "qk"}
    if config.norm_eps:
        expected |= {f"{name[:-2]}.eps" for name in expected if name.endswith(".g")}
    eps = float(torch.tensor(config.norm_eps, dtype=torch.float32))  # as rounded to float32
    same = (float(value) == eps for name, value in state.items() if name.endswith(".eps"))
    return set(state) == expected and all(same)


def merged_layers(lm: SpeechLM) -> Iterator[MergedLayer]:
    """One layer after another, so that no more than one is held twice.

    Raises:
        ValueError: The model's blocks are not the ones known here (see `fits`).
    """
    if not fits(lm):
        raise ValueError("expected the blocks of slm.model, got a decoder with other parts")
    state = {name: value.detach() for name, value in lm.decoder.state_dict().items()}
    for index in range(lm.config.num_layers):
        yield _merged_layer(lm, state, index)


def speech_outputs(lm: SpeechLM) -> Outputs:
    """The end token, then every code: the tokens speech consists of."""
    vocabulary = lm.vocabulary
    end = vocabulary.eos_id
    return range(end, end + 1), range(vocabulary.code_start, vocabulary.vocab_size)


def head_rows(lm: SpeechLM, outputs: Outputs) -> Tensor:
    """(N, dim): the head's rows of some tokens."""
    weight = lm.head.weight
    return torch.cat([weight[each.start : each.stop] for each in outputs])


def merged_head(lm: SpeechLM, outputs: Outputs) -> Tensor:
    """(N, dim): the head's rows of some tokens, the last norm's gain multiplied in."""
    gain = _gain(lm, lm.decoder.state_dict()["final_norm.g"])
    return head_rows(lm, outputs).detach() * gain


def rotary_table(lm: SpeechLM) -> Tensor:
    """Cosine and sine of every position's angles, (max_seq_len, D / 2, 2) float32."""
    frequencies = lm.decoder.state_dict()["rotary_pos_emb.inv_freq"].float()
    positions = torch.arange(lm.config.max_seq_len, device=frequencies.device).float()
    angles = torch.outer(positions, frequencies)
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def unit(x: Tensor, eps: float) -> Tensor:
    """Unit vectors over the last dimension; with `eps` on the mean square, a little shorter."""
    if eps:
        wide = x.float()
        square = wide.square().sum(-1, keepdim=True)
        return (wide * torch.rsqrt(square + x.shape[-1] * eps)).type_as(x)
    # In the model's own precision, as its norm does it.
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return cast(Tensor, x / norm.clamp(min=_SMALLEST_NORM))


def _merged_layer(lm: SpeechLM, state: dict[str, Tensor], index: int) -> MergedLayer:
    config = lm.config
    attention, feed = f"layers.{2 * index}", f"layers.{2 * index + 1}"
    # The model pairs query head i with key head i % H'; here a key head's queries lie together.
    order = torch.arange(config.num_heads).view(-1, config.kv_heads).T.flatten()

    def by_head(weight: Tensor) -> Tensor:
        return weight.unflatten(0, (config.num_heads, config.dim_head))[order].flatten(0, 1)

    queries = by_head(state[f"{attention}.1.to_q.weight"])
    keys, values = (state[f"{attention}.1.to_{name}.weight"] for name in "kv")
    qk_gain = None
    if config.qk_norm:
        gain = "g" if config.norm_eps else "gamma"
        gains = [state[f"{attention}.1.{part}_rmsnorm.{gain}"][:, 0] + 1 for part in "qk"]
        qk_gain = torch.cat([gains[0][order], gains[1]]) * config.dim_head**0.5
    return MergedLayer(
        torch.cat([queries, keys, values]) * _gain(lm, state[f"{attention}.0.0.g"]),
        by_head(state[f"{attention}.1.to_out.weight"].T).T,
        state[f"{feed}.1.ff.0.proj.weight"] * _gain(lm, state[f"{feed}.0.0.g"]),
        state[f"{feed}.1.ff.0.proj.bias"],
        state[f"{feed}.1.ff.2.weight"],
        qk_gain,
    )


def _gain(lm: SpeechLM, g: Tensor) -> Tensor:
    """Factors of a unit vector after a norm."""
    return (g + GAIN_OFFSET) * lm.config.dim**0.5

"""What imported models need of the decoder's norms and positions beyond its defaults."""

import math

import torch
from torch import Tensor, nn

from .config import SpeechLMConfig


class EpsilonNorm(nn.Module):
    """Root-mean-square norm with the epsilon inside the root, over the last dimension.

    Args:
        gain: Parameter `g`, (D,) or (H, 1, D), applied as `g` + `offset`.
        offset: Added to the gain.
        eps: Added to the mean square.
    """

    eps: Tensor

    def __init__(self, gain: nn.Parameter, offset: float, eps: float) -> None:
        super().__init__()
        self.g = gain
        self.offset = offset
        # In the stored tensors, so that code that knows only plain norms refuses them.
        self.register_buffer("eps", torch.tensor(eps))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) in the precision of `x`; the mean square is float32."""
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (normed * (self.g + self.offset)).type_as(x)


def add_norm_eps(decoder: nn.Module, eps: float) -> None:
    """Put an `EpsilonNorm` in the place of every norm of a decoder, with the same gains."""
    for parent in list(decoder.modules()):
        for name, child in list(parent.named_children()):
            kind = type(child).__name__
            if kind == "RMSNorm":
                norm = EpsilonNorm(child.g, float(child.unit_offset), eps)  # type: ignore[arg-type]
            elif kind == "MultiheadRMSNorm":
                norm = EpsilonNorm(child.gamma, 1.0, eps)  # type: ignore[arg-type]
            else:
                continue
            setattr(parent, name, norm)


def rotary_frequencies(config: SpeechLMConfig) -> Tensor:
    """Radians a position of each pair of a head, float32 (D / 2,).

    With `rotary_scaling` slow pairs are slowed by `factor` and fast ones left alone, with a linear
    transition between, as Llama 3.1 defines it.
    """
    exponents = torch.arange(0, config.dim_head, 2).float() / config.dim_head
    frequencies = 1.0 / config.rotary_theta**exponents
    scaling = config.rotary_scaling
    if not scaling:
        return frequencies
    length = float(scaling["original_max_position_embeddings"])
    low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
    turns = length * frequencies / (2 * math.pi)  # of each pair over the original context
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / float(scaling["factor"]))

"""Stand-ins, of the same weights and values, for modules whose operations ONNX files lack."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.layers.blocks import AttentionBlock
from codec.layers.vocos_modules import MAX_MAGNITUDE, ISTFTHead
from codec.model.encoder import CausalConv
from codec.model.harmonic_vocoder import HarmonicGenerator
from codec.model.mel import LogMel

from .harmonic import PlainHarmonicGenerator
from .transforms import ConvInverseSTFT, ConvLogMel


class PlainAttentionBlock(nn.Module):
    """`AttentionBlock` in matrix products.

    Args:
        block: That it does the same as.
    """

    def __init__(self, block: AttentionBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, C, L) to (B, C, L); weights (B, L) as of `AttentionBlock`."""
        block = self.block
        normed = block.norm(x, weights)
        query, key, value = block.query(normed), block.key(normed), block.value(normed)
        scores = query.transpose(1, 2) @ key * query.shape[1] ** -0.5  # (B, L, L)
        if weights is not None:
            scores = scores + weights.log()[:, None]
        return x + block.out(value @ torch.softmax(scores, dim=-1).transpose(1, 2))


class PlainCausalConv(nn.Module):
    """`CausalConv` whose choice of padding is made when it runs.

    Args:
        conv: That it does the same as, without weight norm.
    """

    def __init__(self, conv: CausalConv) -> None:
        super().__init__()
        self.conv, self.padding = conv.conv, conv.padding

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, N) to (B, C_out, N / stride)."""
        width = self.padding
        if width:
            # The mirrored samples where there are so many, else zeros.
            mirrored = F.pad(x, (0, width))[..., 1 : width + 1].flip(-1)
            is_long = torch.ones_like(x[:1, :1]).sum() > width
            x = torch.cat([mirrored * is_long.to(x.dtype), x], dim=-1)
        return self.conv(x)


class PlainLSTM(nn.Module):
    """A bidirectional `nn.LSTM` over (B, L, C) by the operator of ONNX; it does not run in torch.

    Args:
        lstm: Whose weights it has.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.hidden, self.num_layers = lstm.hidden_size, lstm.num_layers
        for layer in range(lstm.num_layers):
            names = [f"l{layer}", f"l{layer}_reverse"]
            for kind in ("weight_ih", "weight_hh"):
                both = [_gates(getattr(lstm, f"{kind}_{name}")) for name in names]
                self.register_buffer(f"{kind}_{layer}", torch.stack(both))
            biases = [
                torch.cat([_gates(getattr(lstm, f"bias_{end}_{name}")) for end in ("ih", "hh")])
                for name in names
            ]
            self.register_buffer(f"bias_{layer}", torch.stack(biases))
        # read by who asks for the precision of the layers
        self.register_parameter("precision", nn.Parameter(torch.zeros(0), requires_grad=False))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(B, L, C) to (B, L, 2 * hidden)."""
        x = x.transpose(0, 1)  # (L, B, C)
        for layer in range(self.num_layers):
            names = (f"weight_ih_{layer}", f"weight_hh_{layer}", f"bias_{layer}")
            out = torch.onnx.ops.symbolic(
                "LSTM",
                (x, *(getattr(self, name) for name in names)),
                {"hidden_size": self.hidden, "direction": "bidirectional"},
                dtype=x.dtype,
                shape=(x.shape[0], 2, x.shape[1], self.hidden),
                version=18,
            )
            x = out.transpose(1, 2).flatten(2)  # (L, B, 2 * hidden)
        return (x.transpose(0, 1),)


def _gates(weight: Tensor) -> Tensor:
    """Rows by gate in the order of torch (i, f, g, o) to that of ONNX (i, o, f, g)."""
    gates = weight.detach().chunk(4)
    return torch.cat([gates[0], gates[3], gates[1], gates[2]])


class PlainISTFTHead(nn.Module):
    """`ISTFTHead` of real tensors.

    Args:
        head: That it does the same as.
    """

    def __init__(self, head: ISTFTHead) -> None:
        super().__init__()
        self.out, self.inverse = head.out, ConvInverseSTFT(head.istft)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, F, D) to a waveform (B, T)."""
        magnitude, phase = self.out(hidden).transpose(1, 2).chunk(2, dim=1)  # (B, bins, F)
        magnitude = magnitude.exp().clamp(max=MAX_MAGNITUDE)
        return self.inverse(magnitude * phase.cos(), magnitude * phase.sin())


def swap_modules(parent: nn.Module) -> None:
    """Put stand-ins into a copy of a codec, in place.

    Args:
        parent: A part, of which everything inside is looked at.
    """
    for name, child in parent.named_children():
        new = _stand_in(child)
        if new is None:
            swap_modules(child)
        else:
            setattr(parent, name, new)


def _stand_in(module: nn.Module) -> nn.Module | None:
    """The stand-in for a module; None where it needs none as a whole."""
    if isinstance(module, AttentionBlock):
        return PlainAttentionBlock(module)
    if isinstance(module, CausalConv):
        return PlainCausalConv(module)
    if isinstance(module, LogMel):
        return ConvLogMel(module)
    if isinstance(module, nn.LSTM):
        return PlainLSTM(module)
    if isinstance(module, ISTFTHead):
        return PlainISTFTHead(module)
    if isinstance(module, HarmonicGenerator):
        return PlainHarmonicGenerator(module)
    return None

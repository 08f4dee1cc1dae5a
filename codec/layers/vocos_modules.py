"""The modules of Vocos (https://arxiv.org/abs/2306.00814): ConvNeXt backbone, inverse-STFT head.

Attributes are named as in the published weights, so that these load and fingerprints of stored
codecs, which cover the names of weights, stay as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.interface.precision import Float32Module

from .blocks import init_truncated_normal

# The head's magnitudes are clipped here: an untrained one would overflow.
MAX_MAGNITUDE = 1e2


class VocosBlock(nn.Module):
    """`ConvNeXtBlock` under the names of Vocos.

    Args:
        dim: Channels C.
        hidden_dim: Width of the perceptron.
        layer_scale: Initial value of the per-channel scale of the residual branch.
    """

    def __init__(self, dim: int, hidden_dim: int, layer_scale: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1 = nn.Linear(dim, hidden_dim)
        self.pwconv2 = nn.Linear(hidden_dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to (B, C, F)."""
        hidden = self.norm(self.dwconv(x).transpose(1, 2))  # (B, F, C)
        hidden = self.gamma * self.pwconv2(F.gelu(self.pwconv1(hidden)))
        return x + hidden.transpose(1, 2)


class VocosBackbone(nn.Module):
    """ConvNeXt blocks at the mel rate.

    Args:
        in_dim: Input channels C.
        dim: Width D.
        hidden_dim: Hidden width of the blocks.
        num_layers: Blocks.
    """

    def __init__(self, in_dim: int, dim: int, hidden_dim: int, num_layers: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(in_dim, dim, 7, padding=3)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.convnext = nn.ModuleList(
            VocosBlock(dim, hidden_dim, 1 / num_layers) for _ in range(num_layers)
        )
        self.final_layer_norm = nn.LayerNorm(dim, eps=1e-6)
        self.apply(init_truncated_normal)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F) to hidden states (B, F, D)."""
        x = self.embed(x.to(self.embed.weight.dtype))
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)  # (B, D, F)
        for block in self.convnext:
            x = block(x)
        return self.final_layer_norm(x.transpose(1, 2))


class InverseSTFT(Float32Module):
    """Inverse short-time Fourier transform with a Hann window of `n_fft` samples.

    "center" undoes a transform of frames centred on samples, as `torch.istft` does. "same" gives
    `hop_length` samples a frame: what of the first and last frames lies outside is cut off.
    `torch.istft` cannot do that, because it refuses windows that do not overlap to a positive
    envelope at the very ends, even where those are cut off
    (https://github.com/pytorch/pytorch/issues/62323).

    Args:
        n_fft: Length of transform and window, samples.
        hop_length: Samples between frames.
        padding: "same" or "center".

    Raises:
        ValueError: Frames that do not overlap.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop_length: int, padding: str) -> None:
        super().__init__()
        if not 0 < hop_length < n_fft:
            raise ValueError(f"expected 0 < hop_length < n_fft, got {hop_length} and {n_fft}")
        self.n_fft, self.hop_length, self.padding = n_fft, hop_length, padding
        self.register_buffer("window", torch.hann_window(n_fft, dtype=torch.float32))

    def forward(self, spectrum: Tensor) -> Tensor:
        """Complex (B, n_fft / 2 + 1, F) to a waveform (B, T).

        T is F * hop_length for "same" and (F - 1) * hop_length for "center".
        """
        if self.padding == "center":
            return torch.istft(spectrum, self.n_fft, self.hop_length, window=self.window)
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1)  # (B, n_fft, F)
        envelope = self.window.square()[None, :, None].expand(1, -1, frames.shape[-1])
        return self._overlap_add(frames * self.window[:, None]) / self._overlap_add(envelope)

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """(B, n_fft, F) to (B, F * hop_length)."""
        length = (frames.shape[-1] - 1) * self.hop_length + self.n_fft
        summed = F.fold(frames, (1, length), (1, self.n_fft), stride=(1, self.hop_length))
        margin = (self.n_fft - self.hop_length) // 2
        return summed[:, 0, 0, margin : length - margin]


class ISTFTHead(Float32Module):
    """Hidden states to magnitude and phase of a spectrum, and to its waveform.

    Args:
        dim: Width D of the hidden states.
        n_fft: As of `InverseSTFT`.
        hop_length: As of `InverseSTFT`.
        padding: As of `InverseSTFT`.
    """

    def __init__(self, dim: int, n_fft: int, hop_length: int, padding: str) -> None:
        super().__init__()
        self.out = nn.Linear(dim, n_fft + 2)
        self.istft = InverseSTFT(n_fft, hop_length, padding)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, F, D) float32 to a waveform (B, T), T as of `InverseSTFT`."""
        magnitude, phase = self.out(hidden).transpose(1, 2).chunk(2, dim=1)  # (B, bins, F)
        magnitude = magnitude.exp().clamp(max=MAX_MAGNITUDE)
        # any real number is a phase: cosine and sine wrap it
        spectrum = magnitude * torch.complex(phase.cos(), phase.sin())
        return self.istft(spectrum)

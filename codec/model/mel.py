"""The log-mel front end: one convention, owned by a `MelConfig`, for every part of the codec."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from codec.activity import silence_weights, speech_frames
from codec.interface.precision import Float32Module
from codec.mel_filters import triangular_filters

from .config import CodecConfig, MelConfig

# Share of silence in what is decoded up to which the decoder counts all frames alike.
DECODED_SILENCE = 0.3


def _htk(frequencies: Tensor) -> Tensor:
    """Hz to the HTK mel scale."""
    return 2595.0 * torch.log10(1.0 + frequencies / 700.0)


def _htk_inverse(mels: Tensor) -> Tensor:
    """The HTK mel scale to Hz."""
    return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)


# Slaney's scale: 15 mels a kHz up to 1 kHz, above it 27 mels for every factor of 6.4.
_KNEE_HZ, _KNEE_MEL = 1000.0, 15.0
_SLOPE = 27.0 / math.log(6.4)


def _slaney(frequencies: Tensor) -> Tensor:
    """Hz to Slaney's mel scale."""
    above = _KNEE_MEL + _SLOPE * (frequencies.clamp(min=_KNEE_HZ) / _KNEE_HZ).log()
    return torch.where(frequencies < _KNEE_HZ, frequencies * _KNEE_MEL / _KNEE_HZ, above)


def _slaney_inverse(mels: Tensor) -> Tensor:
    """Slaney's mel scale to Hz."""
    above = _KNEE_HZ * ((mels.clamp(min=_KNEE_MEL) - _KNEE_MEL) / _SLOPE).exp()
    return torch.where(mels < _KNEE_MEL, mels * _KNEE_HZ / _KNEE_MEL, above)


def mel_filterbank(sample_rate: int, n_fft: int, n_mels: int, filters: str = "htk") -> Tensor:
    """Compute triangular filters, equally spaced on a mel scale from 0 Hz to half the sample rate.

    Args:
        sample_rate: Hz.
        n_fft: Transform length, samples.
        n_mels: Number of filters.
        filters: "htk" (HTK scale, peak 1) or "slaney" (Slaney's scale, area 1 over Hz).

    Returns:
        (n_mels, n_fft // 2 + 1) float32 weights of the magnitude bins.
    """
    scale, inverse = (_htk, _htk_inverse) if filters == "htk" else (_slaney, _slaney_inverse)
    # Edges and bins stay on the CPU, whatever device a model is built on.
    half = torch.tensor(sample_rate / 2, dtype=torch.float64, device="cpu")
    mels = torch.linspace(0.0, float(scale(half)), n_mels + 2, dtype=half.dtype, device="cpu")
    bins = torch.linspace(0.0, float(half), n_fft // 2 + 1, dtype=half.dtype, device="cpu")
    is_slaney = filters == "slaney"
    weights = triangular_filters(inverse(mels).numpy(), bins.numpy(), unit_area=is_slaney)
    return torch.tensor(weights, dtype=torch.float32)


@functools.cache
def band_weights(config: MelConfig) -> NDArray[np.float32]:
    """Compute the weights (M,) under which squares of a magnitude mel sum up to a power.

    A filter of many bins adds up their magnitudes, so that noise would count by its high bands.
    """
    filters = mel_filterbank(config.sample_rate, config.n_fft, config.n_mels, config.filters)
    squares = filters.square().sum(dim=1)
    # Narrow filters may lie between two bins.
    return (1.0 / squares.clamp(min=0.5 * float(squares.max()) / len(squares))).numpy()


@torch.no_grad()
def silent_rows(mel: Tensor, config: CodecConfig) -> dict[int, Tensor]:
    """Find the clips that are mostly silence, and how much each of their codes counts.

    Args:
        mel: (B, M, 4L) log-mels that were decoded of codes.
        config: Of the codec.

    Returns:
        (L,) float32 in (0, 1] by the number of the clip; those with more speech are not in it.
    """
    # bounded, so that no sum of untrained weights overflows
    squares = (2.0 * mel.clamp(max=40.0)).exp()
    bands = torch.from_numpy(band_weights(config.mel)).to(squares)  # (M,)
    powers = (bands @ squares).double().cpu().numpy()  # (B, 4L)
    rate, found = config.mel.sample_rate / config.mel.hop_length, {}
    for row, power in enumerate(powers):
        active = speech_frames(power, rate).reshape(-1, config.upsampling)
        # A code is active where any of its frames is.
        weights = silence_weights(active.max(axis=1), DECODED_SILENCE)
        if weights is not None:
            found[row] = torch.from_numpy(weights).to(mel.device)
    return found


class LogMel(Float32Module):
    """Natural logarithm of the mel magnitude spectrogram, computed in fp32 whatever the autocast.

    Equal to the feature extractor of the `vocos` package at `floor=1e-7` for both paddings, and
    to that of BigVGAN in the convention `codec.model.config.BIGVGAN_MEL`.
    """

    window: Tensor
    filterbank: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        filters = mel_filterbank(config.sample_rate, config.n_fft, config.n_mels, config.filters)
        self.register_buffer(
            "window", torch.hann_window(config.n_fft, dtype=torch.float32), persistent=False
        )
        self.register_buffer("filterbank", filters, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Compute log-mels.

        Args:
            waveform: (B, T) float in [-1, 1], T a multiple of `hop_length`; where T is too
                short to be mirrored at its ends, zeros stand beyond them.

        Returns:
            (B, M, F) float32, F = T / hop_length for "same" and T / hop_length + 1 for "center";
            values are at least ln(floor).
        """
        config = self.config
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = self.spectrum(waveform)
            power = spectrum.real**2 + spectrum.imag**2 + config.power_offset
            # the square root's gradient is infinite at exact silence
            magnitude = power.clamp(min=1e-18).sqrt()
            return torch.matmul(self.filterbank, magnitude).clamp(min=config.floor).log()

    def spectrum(self, waveform: Tensor) -> Tensor:
        """(B, T) as of `forward` to the complex spectrum (B, n_fft / 2 + 1, F) under the mel."""
        config = self.config
        with torch.autocast(waveform.device.type, enabled=False):
            # "same": so that T / hop frames lie centred between samples; "center": on samples
            span = config.n_fft - (config.hop_length if config.padding == "same" else 0)
            margin = span // 2
            mode = "reflect" if waveform.shape[-1] > margin else "constant"
            padded = F.pad(waveform.float()[:, None], (margin, margin), mode=mode)[:, 0]
            return torch.stft(
                padded,
                config.n_fft,
                config.hop_length,
                window=self.window,
                center=False,
                return_complex=True,
            )

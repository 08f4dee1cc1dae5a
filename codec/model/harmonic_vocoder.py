"""Vocos with a source: log-mel to waveform through filters on a pulse train and on noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.import_shims import import_vocos

from .blocks import ConvNeXtBlock
from .config import MelConfig, VocoderConfig
from .excitation import pulse_train
from .mel import LogMel

CENTRE_OCTAVE = 7.5  # 181 Hz, between the voices of men and women
NOISE_SEED = 20_250_725


class PitchNetwork(nn.Module):
    """Fundamental frequency and voicing of log-mels, ConvNeXt blocks at the mel rate.

    Args:
        n_mels: M.
        dim: width.
        num_layers: blocks.
    """

    def __init__(self, n_mels: int, dim: int, num_layers: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(n_mels, dim, 7, padding=3)
        self.blocks = nn.Sequential(
            *(ConvNeXtBlock(dim, 3 * dim, 1 / num_layers) for _ in range(num_layers))
        )
        self.out = nn.Conv1d(dim, 2, 1)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, F) to the pitch in octaves over 1 Hz and the logit of voicing, (B, F) float32."""
        out = self.out(self.blocks(self.embed(mel))).float()
        return out[:, 0] + CENTRE_OCTAVE, out[:, 1]


class HarmonicGenerator(nn.Module):
    """Log-mel to waveform: Vocos that filters a source instead of inventing every phase.

    A pitch network reads pitch and voicing off the mel; a pulse train at that pitch and white
    noise are the source. The backbone of Vocos sees the mel, the mel of the pulse train and the
    voicing, and gives every bin of the short-time spectrum a gain and a phase for the pulses and
    a gain for the noise. So periodicity is there from the first step and needs no discriminator
    to be learnt. After the harmonic-plus-noise source of HiFTNet
    (https://arxiv.org/abs/2309.09493) and the spectral filters of the neural homomorphic vocoder
    (https://www.isca-archive.org/interspeech_2020/liu20_interspeech.html).

    The source gets no gradient: pitch is learnt from a tracker's (`pitch_loss` in training).
    """

    def __init__(self, mel: MelConfig, config: VocoderConfig) -> None:
        super().__init__()
        self.hop_length, self.sample_rate = mel.hop_length, mel.sample_rate
        self.n_fft = mel.n_fft
        self.pitch = PitchNetwork(mel.n_mels, config.pitch_dim, config.pitch_layers)
        self.log_mel = LogMel(mel)
        self.backbone = import_vocos("models").VocosBackbone(
            2 * mel.n_mels + 1, config.dim, config.intermediate_dim, config.num_layers
        )
        bins = mel.n_fft // 2 + 1
        self.out = nn.Linear(config.dim, 3 * bins)
        nn.init.trunc_normal_(self.out.weight, std=0.02)
        # a source of variance 1 has bins of about 20: these filters make quiet speech of it
        with torch.no_grad():
            self.out.bias.zero_()
            self.out.bias[:bins] = -4.0
            self.out.bias[2 * bins :] = -6.0
        self.inverse = import_vocos("heads").ISTFTHead(8, mel.n_fft, mel.hop_length, "same").istft

    def forward(self, mel: Tensor) -> Tensor:
        """(B, M, F) to (B, F * hop_length) float32."""
        with torch.no_grad():
            octaves, voicing = self.pitch(mel)
            pulses, noise = self.source(octaves.exp2(), voicing > 0)
        return self.filtered(mel, voicing > 0, pulses, noise)

    def filtered(self, mel: Tensor, voiced: Tensor, pulses: Tensor, noise: Tensor) -> Tensor:
        """The source (B, F * hop_length) each, filtered as mel (B, M, F) and voicing (B, F) say."""
        with torch.autocast(mel.device.type, enabled=False):
            heard = self.log_mel(pulses)
        given = torch.cat([mel, heard, voiced.to(mel)[:, None]], dim=1)
        hidden = self.backbone(given)
        with torch.autocast(mel.device.type, enabled=False):
            filters = self.out(hidden.float()).transpose(1, 2)
            gain, phase, breath = filters.chunk(3, dim=1)
            gain, breath = gain.clamp(max=4.0).exp(), breath.clamp(max=4.0).exp()
            filtered = torch.polar(gain, phase) * self._spectrum(pulses)
            return self.inverse(filtered + breath * self._spectrum(noise))

    def source(self, pitch: Tensor, voiced: Tensor) -> tuple[Tensor, Tensor]:
        """Pitch (B, F) in Hz and voicing (B, F) to pulses and noise, (B, F * hop_length) each.

        The noise is the same for every row and in every call.
        """
        pulses = pulse_train(pitch, voiced, self.hop_length, self.sample_rate)
        noise = torch.randn(1, pulses.shape[-1], generator=noise_generator()).to(pulses)
        return pulses, noise.expand_as(pulses)

    def _spectrum(self, waveform: Tensor) -> Tensor:
        """(B, T) to the complex spectrum (B, bins, F) of frames that lie as the mel's."""
        margin = (self.n_fft - self.hop_length) // 2
        padded = F.pad(waveform[:, None], (margin, margin), mode="reflect")[:, 0]
        window = self.log_mel.window
        return torch.stft(
            padded, self.n_fft, self.hop_length, window=window, center=False, return_complex=True
        )


def noise_generator() -> torch.Generator:
    """What the noise of every waveform is drawn from; in one piece or several, it is the same."""
    return torch.Generator().manual_seed(NOISE_SEED)

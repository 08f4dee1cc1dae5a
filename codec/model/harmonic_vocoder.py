"""Vocos with a source: log-mel to waveform through filters on a pulse train and on noise."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.interface.precision import Float32Linear, Float32Module
from codec.layers.blocks import ConvNeXtBlock
from codec.layers.vocos_modules import InverseSTFT, VocosBackbone

from .config import MelConfig, VocoderConfig
from .mel import LogMel

LOWEST_HZ, HIGHEST_HZ = 50.0, 600.0  # of speech
CENTRE_OCTAVE = 7.5  # 181 Hz, between the voices of men and women
NOISE_SEED = 20_250_725


class PitchNetwork(Float32Module):
    """Fundamental frequency and voicing of log-mels, ConvNeXt blocks at the mel rate.

    Args:
        n_mels: M.
        dim: Width.
        num_layers: Blocks.
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
        size = config.dim, config.intermediate_dim, config.num_layers
        self.backbone = VocosBackbone(2 * mel.n_mels + 1, *size)
        bins = mel.n_fft // 2 + 1
        self.out = Float32Linear(config.dim, 3 * bins)
        nn.init.trunc_normal_(self.out.weight, std=0.02)
        # a source of variance 1 has bins of about 20: these filters make quiet speech of it
        with torch.no_grad():
            self.out.bias.zero_()
            self.out.bias[:bins] = -4.0
            self.out.bias[2 * bins :] = -6.0
        self.inverse = InverseSTFT(mel.n_fft, mel.hop_length, "same")

    def forward(self, mel: Tensor) -> Tensor:
        """(B, M, F) to (B, F * hop_length) float32."""
        with torch.no_grad():
            octaves, voicing = self.pitch(mel)
            pulses, noise = self.source(octaves.exp2(), voicing > 0)
        return self.filtered(mel, voicing > 0, pulses, noise)

    def filtered(self, mel: Tensor, voiced: Tensor, pulses: Tensor, noise: Tensor) -> Tensor:
        """Filter pulses and noise (B, F * hop_length) by a mel (B, M, F) and voicing (B, F)."""
        with torch.autocast(mel.device.type, enabled=False):
            pulse_mel = self.log_mel(pulses)
        features = torch.cat([mel, pulse_mel, voiced.to(mel)[:, None]], dim=1)  # (B, 2M + 1, F)
        hidden = self.backbone(features)
        with torch.autocast(mel.device.type, enabled=False):
            filters = self.out(hidden.float()).transpose(1, 2)  # (B, 3 * bins, F)
            gain, phase, noise_gain = filters.chunk(3, dim=1)
            gain, noise_gain = gain.clamp(max=4.0).exp(), noise_gain.clamp(max=4.0).exp()
            filtered = torch.polar(gain, phase) * self._spectrum(pulses)
            # noise has a random phase already: a gain is all that it needs
            return self.inverse(filtered + noise_gain * self._spectrum(noise))

    def source(self, pitch: Tensor, voiced: Tensor) -> tuple[Tensor, Tensor]:
        """Pitch (B, F) in Hz and voicing (B, F) to pulses and noise, (B, F * hop_length) each.

        The noise is the same for every row and in every call.
        """
        pulses = pulse_train(pitch, voiced, self.hop_length, self.sample_rate)
        noise = torch.randn(
            1, pulses.shape[-1], dtype=torch.float32, generator=noise_generator()
        ).to(pulses)
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
    """Create the generator of every waveform's noise: the same in one piece or in several."""
    return torch.Generator().manual_seed(NOISE_SEED)


def pulse_train(pitch: Tensor, voiced: Tensor, hop_length: int, sample_rate: int) -> Tensor:
    """Sum all harmonics of a pitch below half the sample rate, in cosine phase and equally strong.

    The sum over k of cos(2 pi k phase) is taken in closed form (Dirichlet's kernel), so that a
    sample costs the same at any pitch. The phase starts at 0 wherever a voiced stretch begins:
    the train depends on the pitch since then and on nothing before, so that a recording may
    be cut in any pause and comes out the same.

    Args:
        pitch: (B, F) fundamental frequency, Hz, clamped to `LOWEST_HZ`..`HIGHEST_HZ`; between the
            centres of frames it is interpolated in logarithms.
        voiced: (B, F) bool; elsewhere the source is silent, with a ramp of one frame between.
        hop_length: Samples a frame.
        sample_rate: Hz.

    Returns:
        (B, F * hop_length) float32, of variance 1 where voiced.
    """
    return continued_pulse_train(pitch, voiced, hop_length, sample_rate)[0]


@torch.no_grad()
def continued_pulse_train(
    pitch: Tensor,
    voiced: Tensor,
    hop_length: int,
    sample_rate: int,
    phase: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Continue a pulse train where another one stopped.

    Args:
        pitch: (B, F) as of `pulse_train`; with a `phase`, the last frame of the other train
            first, of which no samples are returned.
        voiced: (B, F) bool, likewise.
        hop_length: Samples a frame.
        sample_rate: Hz.
        phase: (B,) float64, of the other train's last sample; None begins a train.

    Returns:
        Pulses (B, T) float32, and the phase of each sample (B, T) float64 in cycles since its
        voiced stretch began, -1 where silent; T = F * hop_length, a frame less with a `phase`.
    """
    octaves = _between_centres(pitch.float().clamp(LOWEST_HZ, HIGHEST_HZ).log2(), hop_length)
    level = _between_centres(voiced.float(), hop_length)
    if phase is not None:
        octaves, level = octaves[..., hop_length:], level[..., hop_length:]
    # Phase in cycles, in float64: float32 would lose the highest harmonics after a minute.
    frequency = octaves.exp2()
    cycles = torch.cumsum(frequency.double() / sample_rate, dim=-1)
    sounds = level > 0
    begins = sounds & ~F.pad(sounds, (1, 0))[..., :-1]
    if phase is not None:
        cycles = cycles + phase.clamp(min=0.0)[:, None]
        begins[..., 0] &= phase < 0
    # The latest begin has the most cycles, so the running maximum carries it to its stretch.
    since = torch.cummax(torch.where(begins, cycles, 0.0), dim=-1).values
    phases = torch.remainder(cycles - since, 1.0)
    # Dirichlet's kernel: 1 + 2 * sum over k of cos(2 pi k turn), of `count` harmonics.
    turn = phases.float()
    count = torch.floor(0.5 * sample_rate / frequency)
    below = torch.sin(math.pi * turn)
    at_pulse = below.abs() < 1e-4
    kernel = torch.sin((2 * count + 1) * math.pi * turn) / torch.where(at_pulse, 1.0, below)
    kernel = torch.where(at_pulse, 2 * count + 1, kernel)
    # `count` cosines of variance 1/2 each are scaled to variance 1.
    pulses = level * (2.0 / count).sqrt() * 0.5 * (kernel - 1.0)
    return pulses, torch.where(sounds, phases, -1.0)


def _between_centres(frames: Tensor, hop_length: int) -> Tensor:
    """(B, F) at the centres of frames to (B, F * hop_length) samples, linearly."""
    samples = F.interpolate(frames[:, None], scale_factor=hop_length, mode="linear")
    return samples[:, 0]

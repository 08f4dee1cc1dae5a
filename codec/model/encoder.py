"""Waveform to latents, one every `hop_length` samples: the paper's SEANet and a mel encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from codec.interface.precision import Float32Module
from codec.layers.attention import rotary_blocks
from codec.layers.blocks import AttentionBlock, ConvNeXtBlock

from .config import CodecConfig, EncoderConfig, MelConfig
from .mel import LogMel
from .whisper_encoder import WhisperEncoder, WhisperInput


class CausalConv(nn.Module):
    """Weight-normed convolution whose padding, kernel - stride samples, is all on the left."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.padding = kernel - stride
        self.conv = weight_norm(nn.Conv1d(in_dim, out_dim, kernel, stride))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, N) to (B, C_out, N / stride); N a multiple of the stride."""
        return self.conv(_padded(x, self.padding))


def _padded(x: Tensor, padding: int) -> Tensor:
    """(B, C, N) with `padding` mirrored samples before it, zeros where N <= padding.

    The same values as `F.pad`, whose reflection costs several times a copy on a CPU.
    """
    if padding == 0:
        return x
    if x.shape[-1] <= padding:
        return F.pad(x, (padding, 0))
    return torch.cat([x[..., 1 : padding + 1].flip(-1), x], dim=-1)


class SEANetBlock(nn.Module):
    """Two convolutions through half the width, added to a 1x1 convolution of the input."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = CausalConv(dim, dim // 2, 3)
        self.conv2 = CausalConv(dim // 2, dim, 1)
        self.shortcut = CausalConv(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) to (B, C, N)."""
        hidden = F.elu(self.conv1(F.elu(x)), inplace=True)
        # in place: these are the largest activations of the encoder
        return self.conv2(hidden).add_(self.shortcut(x))


class SEANetEncoder(Float32Module):
    """Strided causal convolutions and a BiLSTM: the encoder of HH-Codec.

    SEANet as in EnCodec (https://arxiv.org/abs/2210.13438), with a bidirectional LSTM whose
    residual is its input, duplicated along channels; sizes of https://arxiv.org/abs/2507.18897.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.encoder.channels
        layers: list[nn.Module] = [CausalConv(1, width, 7)]
        for ratio in config.encoder.ratios:
            layers += [
                SEANetBlock(width),
                nn.ELU(inplace=True),
                CausalConv(width, 2 * width, 2 * ratio, ratio),
            ]
            width *= 2  # twice the channels for every downsampling
        self.convs = nn.Sequential(*layers)
        self.attention = _attention(config.encoder)
        self.lstm = nn.LSTM(
            width, width, config.encoder.num_lstm_layers, batch_first=True, bidirectional=True
        )
        self.project = CausalConv(2 * width, config.quantizer.dim, 7)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, T) to latents (B, D, T / hop_length); T a multiple of hop_length."""
        return self.to_latents(self.states(waveform))

    def states(self, waveform: Tensor) -> Tensor:
        """(B, T) to the states (B, L, 2C) that latents are read off."""
        x = self.attention(self.convs(waveform[:, None]))  # (B, C, L)
        x = x.transpose(1, 2)  # (B, L, C)
        # cuDNN's recurrent layers take fp16 under autocast, whatever its type
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(next(self.lstm.parameters()).dtype)
            x = self.lstm(x)[0] + x.repeat(1, 1, 2)  # (B, L, 2C)
        return F.elu(x)

    def to_latents(self, states: Tensor) -> Tensor:
        """States (B, L, 2C) to latents (B, D, L)."""
        return self.project(states.transpose(1, 2))


class SpeechFeatures(nn.Module):
    """States of a frozen Whisper encoder at the code rate, added to an encoder's own features.

    Each code gets the last layer's states at a quarter and at three quarters of its span, through
    one linear map that is zero at the start: an encoder that takes it in makes the same latents as
    before until it trains.

    Args:
        mel: Convention of the log-mels.
        dim: Width of the features that it is added to.
        speech_dim: Width of the Whisper encoder.
        num_layers: Of the Whisper encoder.
        num_heads: Of the Whisper encoder.
    """

    def __init__(
        self, mel: MelConfig, dim: int, *, speech_dim: int, num_layers: int, num_heads: int
    ) -> None:
        super().__init__()
        self.to_input = WhisperInput(mel)
        self.whisper = WhisperEncoder(speech_dim, num_layers, num_heads)
        self.project = nn.Linear(2 * speech_dim, dim)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, log_mel: Tensor, num_codes: int) -> Tensor:
        """Log-mel (B, M, F) to (B, D, L), L = num_codes."""
        with torch.no_grad():
            states = self.whisper(self.to_input(log_mel)[0])[-1]  # (B, N, D)
            points = at_code_rate(states, num_codes)
        return self.project(points).transpose(1, 2)


def at_code_rate(states: Tensor, num_codes: int) -> Tensor:
    """States (B, N, D) at a quarter and three quarters of every code's span, (B, L, 2 * D)."""
    times = torch.arange(2 * num_codes, dtype=torch.float32, device=states.device)
    times = (times + 0.5) / (2 * num_codes)
    places = (times * states.shape[1] - 0.5).clamp(0, states.shape[1] - 1)
    low = places.floor().long()
    high = (low + 1).clamp(max=states.shape[1] - 1)
    share = (places - low)[:, None].to(states.dtype)
    points = torch.lerp(states[:, low], states[:, high], share)
    return points.unflatten(1, (num_codes, 2)).flatten(2)


class MelEncoder(Float32Module):
    """ConvNeXt on the waveform's log-mel, first at the mel rate, then at the code rate.

    A 300 bit/s code keeps no phase, so nothing is lost by starting from magnitudes, and the
    full-rate convolutions that take most of a SEANet's training time on a CPU are not needed.
    With `encoder.speech_layers` the states of a frozen Whisper encoder are added behind the
    downsampling (`SpeechFeatures`).
    """

    # log-mels of speech at -23 dBFS, floored at ln 0.01: roughly zero mean and unit variance
    MEAN, STD = -1.4, 1.9

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        size, factor = config.encoder, config.upsampling
        self.mel = LogMel(config.mel)
        self.stem = nn.Conv1d(config.mel.n_mels, size.channels, 7, padding=3)
        self.mel_blocks = nn.Sequential(
            *(
                ConvNeXtBlock(size.channels, 3 * size.channels, 1 / size.num_mel_blocks)
                for _ in range(size.num_mel_blocks)
            )
        )
        self.downsample = nn.Conv1d(
            size.channels, size.dim, 2 * factor, stride=factor, padding=factor // 2
        )
        # Of an odd number of frames a code, a frame that both halves of the padding lack.
        self.padding = factor % 2
        self.speech = (
            SpeechFeatures(
                config.mel,
                size.dim,
                speech_dim=size.speech_dim,
                num_layers=size.speech_layers,
                num_heads=size.speech_heads,
            )
            if size.speech_layers
            else None
        )
        half = size.num_blocks // 2  # attention comes halfway
        blocks = [
            ConvNeXtBlock(size.dim, 3 * size.dim, 1 / size.num_blocks)
            for _ in range(size.num_blocks)
        ]
        self.blocks = nn.Sequential(*blocks[:half], AttentionBlock(size.dim), *blocks[half:])
        self.attention = _attention(size)
        self.norm = nn.LayerNorm(size.dim, eps=1e-6)
        self.project = nn.Linear(size.dim, config.quantizer.dim)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, T) to latents (B, D, T / hop_length); T a multiple of hop_length."""
        return self.to_latents(self.states(waveform))

    def states(self, waveform: Tensor) -> Tensor:
        """(B, T) to the states (B, L, C) that latents are read off."""
        log_mel = self.log_mel(waveform)
        x = self.downsampled(log_mel)
        if self.speech is not None:
            x = x + self.speech(log_mel, x.shape[-1])
        return self._states(x)

    def log_mel(self, waveform: Tensor) -> Tensor:
        """(B, T) to log-mels (B, M, F), F = T / the mel's hop length."""
        # "center" padding gives one frame more than the codes cover
        frames = waveform.shape[-1] // self.mel.config.hop_length
        return self.mel(waveform)[..., :frames]

    def downsampled(self, log_mel: Tensor) -> Tensor:
        """Log-mels (B, M, F) to features at the code rate (B, C, L)."""
        x = self.mel_blocks(self.stem((log_mel - self.MEAN) / self.STD))
        return self.downsample(F.pad(x, (0, self.padding)) if self.padding else x)

    def latents(self, features: Tensor) -> Tensor:
        """Features at the code rate (B, C, L) to latents (B, D, L)."""
        return self.to_latents(self._states(features))

    def to_latents(self, states: Tensor) -> Tensor:
        """States (B, L, C) to latents (B, D, L)."""
        return self.project(states).transpose(1, 2)

    def _states(self, features: Tensor) -> Tensor:
        x = self.attention(self.blocks(features))
        return self.norm(x.transpose(1, 2))


def _attention(size: EncoderConfig) -> nn.Sequential:
    """The rotary blocks of an encoder."""
    heads, window = size.attention_heads, size.attention_window
    return rotary_blocks(size.code_dim, size.attention_layers, heads, window)


def build_encoder(config: CodecConfig) -> SEANetEncoder | MelEncoder:
    """Build the encoder that `config.encoder.kind` names."""
    return MelEncoder(config) if config.encoder.kind == "mel" else SEANetEncoder(config)

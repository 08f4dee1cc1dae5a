"""Tiny codecs of random weights."""

from __future__ import annotations

from dataclasses import replace

import torch

from codec import CodecConfig, HHCodec
from codec.model.voice_config import VoiceConfig


def tiny_codec(config: CodecConfig | None = None, *, seed: int = 0) -> HHCodec:
    """Make a codec of a few thousand weights with a filled codebook, in eval mode.

    Args:
        config: Of other parts than those of the preset "tiny".
        seed: Of the weights; the codebook is filled alike.
    """
    torch.manual_seed(seed)
    codec = HHCodec(CodecConfig.preset("tiny") if config is None else config)
    codec.quantizer.initialize(torch.randn(400, codec.config.quantizer.dim), seed=0)
    return codec.eval()


def voiced_codec(
    config: CodecConfig | None = None, *, tokens: int = 8, seed: int = 0, learnt: bool = True
) -> HHCodec:
    """Make a tiny codec with a voice code, in eval mode.

    Args:
        config: Of the other parts; None is the preset "tiny".
        tokens: Of a recording.
        seed: Of the weights.
        learnt: Whether the decoder heeds the voice, as it does once it was trained.
    """
    config = CodecConfig.preset("tiny") if config is None else config
    codec = tiny_codec(replace(config, voice=VoiceConfig(tokens=tokens, dim=32)), seed=seed)
    if learnt and codec.decoder.film is not None:
        for parameter in codec.decoder.film.maps.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        with torch.no_grad():
            _tell_recordings_apart(codec)
    codec.weights_changed()
    return codec


def _tell_recordings_apart(codec: HHCodec) -> None:
    """Give the voice code the statistics of noises of many colours, as training gives it."""
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(16, 8 * codec.hop_length, generator=generator)
    clips = white + torch.arange(16.0)[:, None] * white.roll(1, dims=1)
    voice = codec.decoder.voice
    assert voice is not None
    voice.train()
    voice(codec.encoder.states(codec.scaled(0.01 * clips)))
    voice.eval()

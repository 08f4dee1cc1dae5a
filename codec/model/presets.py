"""The built-in sizes of a codec."""

from __future__ import annotations

from dataclasses import replace

from .config import (
    CodecConfig,
    DecoderConfig,
    EncoderConfig,
    MelConfig,
    QuantizerConfig,
    VocoderConfig,
)

_SPEECH_MEL = MelConfig(floor=1e-2, padding="same")

_MINI = CodecConfig(
    name="mini",
    loudness_dbfs=-23.0,
    mel=_SPEECH_MEL,
    encoder=EncoderConfig(
        kind="mel", channels=160, dim=256, num_mel_blocks=2, num_blocks=4, num_lstm_layers=0
    ),
    quantizer=QuantizerConfig(dim=32, hidden_dim=512),
    decoder=DecoderConfig(dim=256, num_layers=6, dropout=0.0, num_refine_layers=3, refine_dim=160),
    vocoder=VocoderConfig(dim=256, intermediate_dim=768, num_layers=6),
)

# What nvidia/bigvgan_v2_24khz_100band_256x was trained on.
BIGVGAN_MEL = MelConfig(floor=1e-5, padding="same", filters="slaney", power_offset=1e-9)

PRESETS: dict[str, CodecConfig] = {
    "hh_24khz": CodecConfig(mel=MelConfig(padding="center")),
    "hh_24khz_bigvgan": CodecConfig(
        name="hh_24khz_bigvgan", mel=BIGVGAN_MEL, vocoder=VocoderConfig(kind="bigvgan")
    ),
    "mini": _MINI,
    "tiny": replace(
        _MINI,
        name="tiny",
        encoder=replace(_MINI.encoder, channels=32, dim=64, num_mel_blocks=1, num_blocks=1),
        quantizer=QuantizerConfig(codebook_size=64, dim=8, hidden_dim=16),
        decoder=replace(_MINI.decoder, dim=64, num_layers=1, num_refine_layers=1, refine_dim=32),
        vocoder=VocoderConfig(dim=32, intermediate_dim=64, num_layers=1),
    ),
}

"""What a codec is, in figures: sizes of its parts, rates, and the convention of its mels."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import nn

from .model import HHCodec


def count_parameters(*modules: nn.Module) -> int:
    """Number of trainable values of modules that share none."""
    return sum(value.numel() for module in modules for value in module.parameters())


def parameter_counts(codec: HHCodec) -> dict[str, int]:
    """Trainable parameters of every part, by name.

    `codebook_transform` is that of the coded stage, `training_only` those of the further stages;
    `total` is the sum of all parts, `inference` without what only trains. The frozen codebooks
    (codebook_size * dim values a stage) are not parameters.
    """
    head = (codec.decoder.upsample, codec.decoder.refine)
    transform = count_parameters(codec.quantizer.stage(0).code_transform)
    counts = {
        "encoder": count_parameters(codec.encoder),
        "codebook_transform": transform,
        "backbone": count_parameters(codec.decoder) - count_parameters(*head),
        "mel_head": count_parameters(*head),
        "vocoder": count_parameters(codec.vocoder),
    }
    inference = sum(counts.values())
    counts["training_only"] = count_parameters(codec.quantizer) - transform
    return {**counts, "inference": inference, "total": inference + counts["training_only"]}


def describe(codec: HHCodec) -> dict[str, Any]:
    """Figures of a codec in plain containers; rates in Hz, `bitrate` in bit/s."""
    config = codec.config
    return {
        "name": config.name,
        "sample_rate": codec.sample_rate,
        "hop_length": codec.hop_length,
        "frame_rate": codec.frame_rate,
        "codebook_size": codec.codebook_size,
        "num_codebooks": codec.num_codebooks,
        "bitrate": codec.bitrate,
        "loudness_dbfs": config.loudness_dbfs,
        "parameters": parameter_counts(codec),
        "mel": {**asdict(config.mel), "fingerprint": config.mel.fingerprint},
    }

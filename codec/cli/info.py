"""What a codec is, in figures: sizes of its parts, rates, and the convention of its mels."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import nn

from codec.model.hh_codec import HHCodec
from codec.model.weight_norm import num_folded_parameters


def count_parameters(*modules: nn.Module, folded: bool = False) -> int:
    """Number of trainable values of modules that share none, or what folding leaves of them."""
    count = num_folded_parameters if folded else _num_parameters
    return sum(count(module) for module in modules)


def _num_parameters(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def parameter_counts(codec: HHCodec, *, folded: bool = False) -> dict[str, int]:
    """Trainable parameters of every part, by name.

    `codebook_transform` is that of the coded stage, `training_only` those of the further stages;
    `total` is the sum of all parts, `inference` without what only trains. The frozen codebooks
    (codebook_size * dim values a stage) are not parameters.

    Args:
        codec: with weight norm, or already folded.
        folded: count as if weight norm were folded.
    """
    head = (codec.decoder.upsample, codec.decoder.refine)
    coded = codec.quantizer.stage(0)
    transform = count_parameters(getattr(coded, "code_transform", coded), folded=folded)
    head_count = count_parameters(*head, folded=folded)
    counts = {
        "encoder": count_parameters(codec.encoder, folded=folded),
        "codebook_transform": transform,
        "backbone": count_parameters(codec.decoder, folded=folded) - head_count,
        "mel_head": head_count,
        "vocoder": count_parameters(codec.vocoder, folded=folded),
    }
    inference = sum(counts.values())
    counts["training_only"] = count_parameters(codec.quantizer, folded=folded) - transform
    return {**counts, "inference": inference, "total": inference + counts["training_only"]}


def describe(codec: HHCodec) -> dict[str, Any]:
    """Figures of a codec in plain containers; rates in Hz, `bitrate` in bit/s.

    `parameters` are those of a codec loaded with `fold=False`, `parameters_folded` those that
    inference works with.
    """
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
        "parameters_folded": parameter_counts(codec, folded=True),
        "vocoder": config.vocoder.kind,
        "mel": {**asdict(config.mel), "fingerprint": config.mel.fingerprint},
    }

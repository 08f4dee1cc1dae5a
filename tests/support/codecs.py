"""Tiny codecs of random weights."""

from __future__ import annotations

import torch

from codec import CodecConfig, HHCodec


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

"""Neural codecs of random weights, for tests of what stands beside ours."""

from __future__ import annotations

from typing import Any


def tiny_mimi() -> Any:
    """A Mimi of random weights; needs transformers."""
    import transformers

    config = transformers.MimiConfig(
        hidden_size=16,
        num_filters=4,
        upsampling_ratios=[4, 4, 4, 2],
        codebook_size=32,
        codebook_dim=8,
        vector_quantization_hidden_dimension=8,
        num_quantizers=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=16,
        upsample_groups=16,
    )
    return transformers.MimiModel(config)

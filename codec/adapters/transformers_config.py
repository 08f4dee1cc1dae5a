"""The configuration of an `HHCodecModel`, by the names of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.configuration_utils import PreTrainedConfig

from codec.model.config import CodecConfig


class HHCodecConfig(PreTrainedConfig):
    """Configuration of an `HHCodecModel`.

    Args:
        codec: Sections of `CodecConfig` as nested dicts; None for its defaults.
        kwargs: Of `PreTrainedConfig`.

    Attributes:
        sampling_rate: Hz.
        hop_length: Samples a code.
        codebook_size: Number of different codes.
        num_quantizers: 1, the size K of codes (B, K, L).
        audio_channels: 1.
        frame_rate: Codes a second.

    Raises:
        ValueError: Sections that are no codec's, or an attribute that these do not give.
    """

    model_type = "hh_codec"

    def __init__(self, codec: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        config = CodecConfig() if codec is None else CodecConfig.from_dict(dict(codec))
        self.codec = config.to_dict()
        derived = {
            "sampling_rate": config.mel.sample_rate,
            "hop_length": config.hop_length,
            "codebook_size": config.quantizer.codebook_size,
            "num_quantizers": 1,
            "audio_channels": 1,
        }
        for name, value in derived.items():
            given = kwargs.pop(name, value)
            if given != value:
                raise ValueError(f"{name}: expected {value}, which the codec has, got {given}")
            setattr(self, name, value)
        super().__init__(**kwargs)

    @property
    def frame_rate(self) -> float:
        """Codes a second."""
        return self.sampling_rate / self.hop_length

    def to_diff_dict(self) -> dict[str, Any]:
        """All fields: defaults of a later version may be others."""
        return self.to_dict()

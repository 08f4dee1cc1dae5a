"""Outputs of `HHCodecModel`, by the names of codecs in transformers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils.generic import ModelOutput


@dataclass
class HHCodecEncoderOutput(ModelOutput):
    """Codes of a batch.

    Attributes:
        audio_codes: (B, 1, L) int64.
        audio_codes_mask: (B, L) int64, 1 for codes and 0 for what stands behind a clip's end.
    """

    audio_codes: Tensor | None = None
    audio_codes_mask: Tensor | None = None


@dataclass
class HHCodecDecoderOutput(ModelOutput):
    """Waveforms of a batch.

    Attributes:
        audio_values: (B, 1, T) float32.
    """

    audio_values: Tensor | None = None


@dataclass
class HHCodecOutput(ModelOutput):
    """Codes and waveforms of a batch.

    Attributes:
        audio_codes: (B, 1, L) int64.
        audio_values: (B, 1, T) float32.
    """

    audio_codes: Tensor | None = None
    audio_values: Tensor | None = None

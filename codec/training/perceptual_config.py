"""Settings of the perceptual loss, readable without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PerceptualConfig:
    """The model in whose states decoded and recorded speech are compared.

    Attributes:
        model: folder of a Whisper in the transformers layout, such as whisper-tiny.en; empty for
            none.
    """

    model: str = ""

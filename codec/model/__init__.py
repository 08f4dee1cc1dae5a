"""The codec itself: all that encode and decode touch, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.lazy_names import lazy_names

if TYPE_CHECKING:
    from .config import CodecConfig
    from .hh_codec import HHCodec
    from .vocoder import Vocoder

__all__ = ["CodecConfig", "HHCodec", "Vocoder"]

_MODULE_OF = {"CodecConfig": ".config", "HHCodec": ".hh_codec", "Vocoder": ".vocoder"}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)

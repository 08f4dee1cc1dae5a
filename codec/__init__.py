"""HH-Codec: waveform to one stream of 24 Hz codes, and back."""

from .config import CodecConfig
from .model import HHCodec

__all__ = ["CodecConfig", "HHCodec"]

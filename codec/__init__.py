"""HH-Codec: waveform to one stream of 24 Hz codes, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy_names import lazy_names
from .version import __version__ as __version__

if TYPE_CHECKING:
    from codec.audio.io import read_audio, write_audio
    from codec.model.config import CodecConfig
    from codec.model.hh_codec import HHCodec
    from codec.model.vocoder import Vocoder
    from codec.streaming.stream_decoder import StreamDecoder

__all__ = ["CodecConfig", "HHCodec", "StreamDecoder", "Vocoder", "read_audio", "write_audio"]

_MODULE_OF = {
    "CodecConfig": ".model.config",
    "HHCodec": ".model.hh_codec",
    "StreamDecoder": ".streaming.stream_decoder",
    "Vocoder": ".model.vocoder",
    "read_audio": ".audio.io",
    "write_audio": ".audio.io",
}

# Settings can be read without the seconds torch takes. Type checkers read the imports above, so
# that to them a name that is not there stays an error.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)

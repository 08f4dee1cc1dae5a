"""HH-Codec: waveform to one stream of 24 Hz codes, and back."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import CodecConfig
    from .model import HHCodec
    from .running import StreamDecoder

__all__ = ["CodecConfig", "HHCodec", "StreamDecoder"]

_MODULE_OF = {"CodecConfig": ".config", "HHCodec": ".model", "StreamDecoder": ".running"}

# Names load when they are first used: settings can be read without the seconds torch takes.
# Type checkers read the imports above, so that to them a name that is not there stays an error.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULE_OF[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))

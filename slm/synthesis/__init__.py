"""Text to waveform: the only room that knows the codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.lazy_names import lazy_names

if TYPE_CHECKING:
    from .result import Synthesis
    from .synthesizer import Synthesizer

__all__ = ["Synthesis", "Synthesizer"]

_MODULE_OF = {"Synthesis": ".result", "Synthesizer": ".synthesizer"}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)

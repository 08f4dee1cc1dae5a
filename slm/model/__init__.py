"""The speech language model: configuration, decoder, attention, loss, likelihood, Llama."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.lazy_names import lazy_names

if TYPE_CHECKING:
    from .config import SpeechLMConfig
    from .speech_lm import SpeechLM

__all__ = ["SpeechLM", "SpeechLMConfig"]

_MODULE_OF = {"SpeechLM": ".speech_lm", "SpeechLMConfig": ".config"}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)

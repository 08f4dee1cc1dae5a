"""Training of the speech language model: module, micro-batches, checkpoints, optimizers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.lazy_names import lazy_names

if TYPE_CHECKING:
    from .module import SpeechLMTraining, fit_speech_lm

__all__ = ["SpeechLMTraining", "fit_speech_lm"]

_MODULE_OF = {"SpeechLMTraining": ".module", "fit_speech_lm": ".module"}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)

"""Training of the speech language model: module, micro-batches, checkpoints, optimizers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.lazy_names import lazy_names

if TYPE_CHECKING:
    from .config import Machines, TrainingSettings
    from .fit import fit_speech_lm
    from .module import SpeechLMTraining

__all__ = ["Machines", "SpeechLMTraining", "TrainingSettings", "fit_speech_lm"]

_MODULE_OF = {
    "Machines": ".config",
    "SpeechLMTraining": ".module",
    "TrainingSettings": ".config",
    "fit_speech_lm": ".fit",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)

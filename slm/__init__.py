"""Speech language model: text and 24 Hz codes as tokens of one decoder-only transformer."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import DocumentSettings, GenerationSettings, SpeechLMConfig, TrainingSettings
    from .dataset import PackedRows
    from .duration import codes_per_character
    from .generation import Generation, generate
    from .model import SpeechLM
    from .placement import place_codes
    from .scoring import Score, log_likelihood, nats_per_code
    from .store import TokenStore, TokenStoreWriter
    from .synthesis import Synthesis, Synthesizer
    from .text import TextTokenizer
    from .training import SpeechLMTraining, fit_speech_lm
    from .vocabulary import Vocabulary
    from .voices import choose_voices, load_voices, save_voices

__all__ = [
    "DocumentSettings",
    "Generation",
    "GenerationSettings",
    "PackedRows",
    "Score",
    "SpeechLM",
    "SpeechLMConfig",
    "SpeechLMTraining",
    "Synthesis",
    "Synthesizer",
    "TextTokenizer",
    "TokenStore",
    "TokenStoreWriter",
    "TrainingSettings",
    "Vocabulary",
    "choose_voices",
    "codes_per_character",
    "fit_speech_lm",
    "generate",
    "load_voices",
    "log_likelihood",
    "nats_per_code",
    "place_codes",
    "save_voices",
]

_MODULE_OF = {
    "DocumentSettings": ".config",
    "Generation": ".generation",
    "GenerationSettings": ".config",
    "PackedRows": ".dataset",
    "Score": ".scoring",
    "SpeechLM": ".model",
    "SpeechLMConfig": ".config",
    "SpeechLMTraining": ".training",
    "Synthesis": ".synthesis",
    "Synthesizer": ".synthesis",
    "TextTokenizer": ".text",
    "TokenStore": ".store",
    "TokenStoreWriter": ".store",
    "TrainingSettings": ".config",
    "Vocabulary": ".vocabulary",
    "choose_voices": ".voices",
    "codes_per_character": ".duration",
    "fit_speech_lm": ".training",
    "generate": ".generation",
    "load_voices": ".voices",
    "log_likelihood": ".scoring",
    "nats_per_code": ".scoring",
    "place_codes": ".placement",
    "save_voices": ".voices",
}

# Names load when they are first used: stores and settings can be read without the seconds torch
# takes. Type checkers read the imports above, so that to them a missing name stays an error.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULE_OF[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))

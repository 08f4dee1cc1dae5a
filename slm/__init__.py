"""Speech language model: text and 24 Hz codes as tokens of one decoder-only transformer."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import (
        DocumentSettings,
        GenerationSettings,
        Machines,
        SpeechLMConfig,
        TrainingSettings,
    )
    from .dataset import PackedRows
    from .duration import codes_per_character, duration_spread
    from .generation import Generation, generate
    from .llama import export_llama, import_llama, llama_sizes
    from .model import SpeechLM
    from .normalization import spoken_form
    from .placement import place_codes
    from .ranking import Verifier, rank
    from .scoring import Score, log_likelihood, nats_per_code
    from .shares import process_rank
    from .speech import BestOf, join, speak_best, speak_long
    from .splitting import sentences
    from .stopping import StopRules
    from .store import TokenStore, TokenStoreWriter
    from .streaming import StreamWindow
    from .synthesis import Synthesizer
    from .text import TextTokenizer
    from .training import SpeechLMTraining, fit_speech_lm
    from .utterance import Synthesis
    from .vocabulary import Vocabulary
    from .voices import choose_voices, load_voices, save_voices
    from .warm_start import rows_of_pieces

__all__ = [
    "BestOf",
    "DocumentSettings",
    "Generation",
    "GenerationSettings",
    "Machines",
    "PackedRows",
    "Score",
    "SpeechLM",
    "SpeechLMConfig",
    "SpeechLMTraining",
    "StopRules",
    "StreamWindow",
    "Synthesis",
    "Synthesizer",
    "TextTokenizer",
    "TokenStore",
    "TokenStoreWriter",
    "TrainingSettings",
    "Verifier",
    "Vocabulary",
    "choose_voices",
    "codes_per_character",
    "duration_spread",
    "export_llama",
    "fit_speech_lm",
    "generate",
    "import_llama",
    "join",
    "llama_sizes",
    "load_voices",
    "log_likelihood",
    "nats_per_code",
    "place_codes",
    "process_rank",
    "rank",
    "rows_of_pieces",
    "save_voices",
    "sentences",
    "speak_best",
    "speak_long",
    "spoken_form",
]

_MODULE_OF = {
    "BestOf": ".speech",
    "DocumentSettings": ".config",
    "Generation": ".generation",
    "GenerationSettings": ".config",
    "Machines": ".config",
    "PackedRows": ".dataset",
    "Score": ".scoring",
    "SpeechLM": ".model",
    "SpeechLMConfig": ".config",
    "SpeechLMTraining": ".training",
    "StopRules": ".stopping",
    "StreamWindow": ".streaming",
    "Synthesis": ".utterance",
    "Synthesizer": ".synthesis",
    "TextTokenizer": ".text",
    "TokenStore": ".store",
    "TokenStoreWriter": ".store",
    "TrainingSettings": ".config",
    "Verifier": ".ranking",
    "Vocabulary": ".vocabulary",
    "choose_voices": ".voices",
    "codes_per_character": ".duration",
    "duration_spread": ".duration",
    "export_llama": ".llama",
    "fit_speech_lm": ".training",
    "generate": ".generation",
    "import_llama": ".llama",
    "join": ".speech",
    "llama_sizes": ".llama",
    "load_voices": ".voices",
    "log_likelihood": ".scoring",
    "nats_per_code": ".scoring",
    "place_codes": ".placement",
    "process_rank": ".shares",
    "rank": ".ranking",
    "rows_of_pieces": ".warm_start",
    "save_voices": ".voices",
    "sentences": ".splitting",
    "speak_best": ".speech",
    "speak_long": ".speech",
    "spoken_form": ".normalization",
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

"""Speech language model: text and 24 Hz codes as tokens of one decoder-only transformer."""

from .config import DocumentSettings, GenerationSettings, SpeechLMConfig, TrainingSettings
from .dataset import PackedRows
from .duration import codes_per_character
from .generation import Generation, generate
from .model import SpeechLM
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
    "save_voices",
]

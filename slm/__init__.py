"""Speech language model: text and 24 Hz codes as tokens of one decoder-only transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codec.lazy_names import lazy_names

if TYPE_CHECKING:
    from slm.data.config import DocumentSettings
    from slm.data.packed_dataset import PackedDataset
    from slm.data.token_store import TokenStore, TokenStoreWriter
    from slm.data.vocabulary import Vocabulary
    from slm.generation.best_of import Verifier, rank
    from slm.generation.config import GenerationSettings
    from slm.generation.duration_prior import codes_per_character, duration_spread
    from slm.generation.generate import Generation, generate
    from slm.generation.stopping import StopRules
    from slm.model.code_init import init_codes_from_codebook
    from slm.model.config import SpeechLMConfig
    from slm.model.likelihood import Score, log_likelihood, nats_per_code
    from slm.model.llama_export import export_llama
    from slm.model.llama_import import import_llama, llama_sizes, rows_of_pieces
    from slm.model.speech_lm import SpeechLM
    from slm.synthesis.long_text import BestOf, join, speak_best, speak_long
    from slm.synthesis.result import Synthesis
    from slm.synthesis.streaming import StreamWindow
    from slm.synthesis.synthesizer import Synthesizer
    from slm.synthesis.voices import choose_voices, load_voices, save_voices
    from slm.text.normalization import normalize_text
    from slm.text.sentencepiece_tokenizer import TextTokenizer
    from slm.text.sentences import sentences
    from slm.training.config import Machines, TrainingSettings
    from slm.training.fit import fit_speech_lm
    from slm.training.module import SpeechLMTraining

__all__ = [
    "BestOf",
    "DocumentSettings",
    "Generation",
    "GenerationSettings",
    "Machines",
    "PackedDataset",
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
    "init_codes_from_codebook",
    "join",
    "llama_sizes",
    "load_voices",
    "log_likelihood",
    "nats_per_code",
    "normalize_text",
    "rank",
    "rows_of_pieces",
    "save_voices",
    "sentences",
    "speak_best",
    "speak_long",
]

_MODULE_OF = {
    "BestOf": ".synthesis.long_text",
    "DocumentSettings": ".data.config",
    "Generation": ".generation.generate",
    "GenerationSettings": ".generation.config",
    "Machines": ".training.config",
    "PackedDataset": ".data.packed_dataset",
    "Score": ".model.likelihood",
    "SpeechLM": ".model.speech_lm",
    "SpeechLMConfig": ".model.config",
    "SpeechLMTraining": ".training.module",
    "StopRules": ".generation.stopping",
    "StreamWindow": ".synthesis.streaming",
    "Synthesis": ".synthesis.result",
    "Synthesizer": ".synthesis.synthesizer",
    "TextTokenizer": ".text.sentencepiece_tokenizer",
    "TokenStore": ".data.token_store",
    "TokenStoreWriter": ".data.token_store",
    "TrainingSettings": ".training.config",
    "Verifier": ".generation.best_of",
    "Vocabulary": ".data.vocabulary",
    "choose_voices": ".synthesis.voices",
    "codes_per_character": ".generation.duration_prior",
    "duration_spread": ".generation.duration_prior",
    "export_llama": ".model.llama_export",
    "fit_speech_lm": ".training.fit",
    "generate": ".generation.generate",
    "import_llama": ".model.llama_import",
    "init_codes_from_codebook": ".model.code_init",
    "join": ".synthesis.long_text",
    "llama_sizes": ".model.llama_import",
    "load_voices": ".synthesis.voices",
    "log_likelihood": ".model.likelihood",
    "nats_per_code": ".model.likelihood",
    "normalize_text": ".text.normalization",
    "rank": ".generation.best_of",
    "rows_of_pieces": ".model.llama_import",
    "save_voices": ".synthesis.voices",
    "sentences": ".text.sentences",
    "speak_best": ".synthesis.long_text",
    "speak_long": ".synthesis.long_text",
}

# Stores and settings can be read without the seconds torch takes. Type checkers read the imports
# above, so that to them a missing name stays an error.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)

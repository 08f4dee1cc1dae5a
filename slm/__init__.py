"""Speech language model: text and 24 Hz codes as tokens of one decoder-only transformer.

These names are what most programs need; everything else is imported from its module.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

try:
    from codec.lazy_names import lazy_names
    from codec.version import __version__ as __version__
except ImportError as error:
    hiding = getattr(sys.modules.get("codec"), "__path__", ["another module"])
    raise ImportError(
        f"slm needs the package codec of this toolkit, got {next(iter(hiding))}: a folder or file "
        "of that name is found first; rename it, or start Python elsewhere or with python -P"
    ) from error

if TYPE_CHECKING:
    from slm.data.config import DocumentSettings
    from slm.data.packed_dataset import PackedDataset
    from slm.data.token_store import TokenStore, TokenStoreWriter
    from slm.data.vocabulary import Vocabulary
    from slm.generation.config import GenerationSettings
    from slm.model.config import SpeechLMConfig
    from slm.model.gguf_export import export_gguf
    from slm.model.llama_export import export_llama
    from slm.model.speech_lm import SpeechLM
    from slm.synthesis.requests import SpeechRequest
    from slm.synthesis.result import Synthesis
    from slm.synthesis.synthesizer import Synthesizer
    from slm.text.sentencepiece_tokenizer import TextTokenizer
    from slm.training.config import LoraSettings, TrainingSettings
    from slm.training.fit import fit_speech_lm

__all__ = [
    "DocumentSettings",
    "GenerationSettings",
    "LoraSettings",
    "PackedDataset",
    "SpeechLM",
    "SpeechLMConfig",
    "SpeechRequest",
    "Synthesis",
    "Synthesizer",
    "TextTokenizer",
    "TokenStore",
    "TokenStoreWriter",
    "TrainingSettings",
    "Vocabulary",
    "export_gguf",
    "export_llama",
    "fit_speech_lm",
]

_MODULE_OF = {
    "DocumentSettings": ".data.config",
    "GenerationSettings": ".generation.config",
    "LoraSettings": ".training.config",
    "PackedDataset": ".data.packed_dataset",
    "SpeechLM": ".model.speech_lm",
    "SpeechLMConfig": ".model.config",
    "SpeechRequest": ".synthesis.requests",
    "Synthesis": ".synthesis.result",
    "Synthesizer": ".synthesis.synthesizer",
    "TextTokenizer": ".text.sentencepiece_tokenizer",
    "TokenStore": ".data.token_store",
    "TokenStoreWriter": ".data.token_store",
    "TrainingSettings": ".training.config",
    "Vocabulary": ".data.vocabulary",
    "export_gguf": ".model.gguf_export",
    "export_llama": ".model.llama_export",
    "fit_speech_lm": ".training.fit",
}

# Stores and settings can be read without the seconds torch takes. Type checkers read the imports
# above, so that to them a missing name stays an error.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)

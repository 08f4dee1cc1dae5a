"""Speech recognition by a Whisper model in a local folder, as transformers saves it."""

from importlib import import_module
from typing import Any

import numpy as np

from eval.protocols import WeightSpec
from eval.sound import resampled
from eval.weights import require_weight

RATE = 16000
WHISPER = WeightSpec(
    "whisper",
    "MIT",
    "get a folder such as openai/whisper-large-v3 from the Hugging Face hub "
    "(huggingface-cli download openai/whisper-large-v3 --local-dir PATH)",
    is_folder=True,
)


class WhisperRecognizer:
    """Waveform to words by greedy search, one language, no clip conditioned on another.

    Args:
        language: Language spoken, as Whisper names it; "" for a model of English alone.
        max_new_tokens: Longest answer to 30 s, in tokens.
    """

    packages = (("transformers", ""),)
    weights = (WHISPER,)
    alternative = "wer"

    def __init__(self, language: str = "english", *, max_new_tokens: int = 224) -> None:
        if max_new_tokens < 1:
            raise ValueError(f"expected max_new_tokens of at least 1, got {max_new_tokens}")
        self.language = language
        self.max_new_tokens = max_new_tokens
        self._model: Any = None
        self._processor: Any = None

    @property
    def id(self) -> str:
        """Back end and search; which model it was stands in the run beside its digest."""
        return f"whisper_hf-greedy-{self.language or 'en_only'}"

    def prepare(self) -> None:
        """Loads the model from its folder; nothing is downloaded.

        Raises:
            ValueError: No folder was named, or it holds no Whisper model.
        """
        if self._model is not None:
            return
        folder = require_weight(WHISPER)
        transformers = import_module("transformers")
        try:
            self._processor = transformers.WhisperProcessor.from_pretrained(
                folder, local_files_only=True
            )
            model = transformers.WhisperForConditionalGeneration.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except OSError as error:
            raise ValueError(f"expected a Whisper model in {folder}: {error}") from error
        self._model = model.eval()

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> str:
        """Words heard in a waveform (T,), float in [-1, 1]; windows of 30 s beyond that length."""
        import torch

        self.prepare()
        signal = resampled(np.asarray(waveform, np.float32), sample_rate, RATE)
        asked = {"language": self.language, "task": "transcribe"} if self.language else {}
        heard = []
        window = 30 * RATE
        for start in range(0, signal.size, window):
            features = self._processor(
                signal[start : start + window],
                sampling_rate=RATE,
                return_tensors="pt",
                return_attention_mask=True,
            )
            with torch.inference_mode():
                tokens = self._model.generate(
                    features.input_features,
                    attention_mask=features.attention_mask,
                    max_new_tokens=self.max_new_tokens,
                    do_sample=False,
                    num_beams=1,
                    **asked,
                )
            heard += self._processor.batch_decode(tokens, skip_special_tokens=True)
        return " ".join(text.strip() for text in heard).strip()

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the model behind, so that a metric can be sent to a worker process."""
        return {**self.__dict__, "_model": None, "_processor": None}

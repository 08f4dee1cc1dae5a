"""Speech recognition by a Whisper model in a local folder, as transformers saves it."""

from __future__ import annotations

from typing import Any

import numpy as np

from codec.checks import at_least
from eval.protocols import WeightSpec
from eval.sound import resampled

from .loading import LoadedMetric, load_hf_model

RATE = 16000
WHISPER = WeightSpec(
    "whisper",
    "MIT",
    "get a folder such as openai/whisper-large-v3 from the Hugging Face hub "
    "(huggingface-cli download openai/whisper-large-v3 --local-dir PATH)",
    is_folder=True,
)


class WhisperRecognizer(LoadedMetric):
    """Waveform to words by greedy search, one language, no clip conditioned on another.

    Args:
        language: Language spoken, as Whisper names it; "" for a model of English alone.
        max_new_tokens: Longest transcript of 30 s, in tokens.
    """

    packages = (("transformers", ""),)
    weights = (WHISPER,)
    alternative = "wer"

    def __init__(self, language: str = "english", *, max_new_tokens: int = 224) -> None:
        at_least("max_new_tokens", max_new_tokens, 1)
        self.language = language
        self.max_new_tokens = max_new_tokens

    @property
    def id(self) -> str:
        """Back end and search; the model itself is in the run, by its digest."""
        return f"whisper_hf-greedy-{self.language or 'en_only'}"

    def _load(self) -> tuple[Any, Any]:
        """Load model and processor from their folder."""
        return load_hf_model(WHISPER, "WhisperForConditionalGeneration", "WhisperProcessor")

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> str:
        """Transcribe a waveform (T,), float in [-1, 1], in windows of 30 s."""
        import torch

        self.prepare()
        model, processor = self._model
        signal = resampled(np.asarray(waveform, np.float32), sample_rate, RATE)
        prompt = {"language": self.language, "task": "transcribe"} if self.language else {}
        texts = []
        window = 30 * RATE  # the length of the model's input
        for start in range(0, signal.size, window):
            features = processor(
                signal[start : start + window],
                sampling_rate=RATE,
                return_tensors="pt",
                return_attention_mask=True,
            )
            with torch.inference_mode():
                tokens = model.generate(
                    features.input_features,
                    attention_mask=features.attention_mask,
                    max_new_tokens=self.max_new_tokens,
                    do_sample=False,  # greedy, so that a file scores the same twice
                    num_beams=1,
                    **prompt,
                )
            texts += processor.batch_decode(tokens, skip_special_tokens=True)
        return " ".join(text.strip() for text in texts).strip()

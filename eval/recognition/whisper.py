"""Speech recognition by a Whisper model in a local folder, as transformers saves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from codec.checks import at_least
from eval.loading import load_hf_model
from eval.protocols import Transcript, WeightSpec

from .guards import RecognizedWindow, is_loop, joined_windows
from .windowed import DISTINCT, RATE, WindowedRecognizer
from .windows import Window

WHISPER = WeightSpec(
    "whisper",
    "MIT",
    "get a folder from the Hugging Face hub, as transformers keeps it (hf download "
    "openai/whisper-large-v3 --local-dir PATH) or as faster-whisper does, faster (hf download "
    "Systran/faster-whisper-large-v3 --local-dir PATH)",
    is_folder=True,
)
BEAMS = 5
FEATURE_RATE = 100  # frames of the input a second
_ENGLISH = ("", "english", "en")


class WhisperRecognizer(WindowedRecognizer):
    """Waveform to words by beam search without timestamps, no window conditioned on another.

    Windows, and the second search of one that holds a loop, are those of `WindowedRecognizer`;
    Whisper's own code draws such a window anew at rising temperatures
    (https://arxiv.org/abs/2212.04356, section 4.5), this search has no chance in it.

    Args:
        language: Language spoken, as Whisper names it; "" for a model of English alone, "auto" for
            the one that the model detects in each window.
        max_new_tokens: Longest transcript of a window, in tokens.
        beams: Hypotheses of the search; 1 is greedy search.
        batch_size: Windows that are recognised at once; None for what is fastest: one on a CPU,
            where eight take 1.4 times as long each, and eight on other devices.
        search_loops_again: Whether there is a second search; without it loops stay: version 1.

    Raises:
        ValueError: A count below 1.
    """

    packages = (("transformers", "5."),)
    weights = (WHISPER,)
    alternative = "wer"

    def __init__(
        self,
        language: str = "english",
        *,
        max_new_tokens: int = 224,
        beams: int = BEAMS,
        batch_size: int | None = None,
        search_loops_again: bool = True,
    ) -> None:
        counts = {"max_new_tokens": max_new_tokens, "beams": beams, "batch_size": batch_size}
        for name, value in counts.items():
            if value is not None:
                at_least(name, value, 1)
        self.language = language
        self.max_new_tokens = max_new_tokens
        self.beams = beams
        super().__init__(batch_size=batch_size, search_loops_again=search_loops_again)

    @property
    def version(self) -> int:
        """Of the search."""
        return 2 if self.search_loops_again else 1

    @property
    def id(self) -> str:
        """Back end, search, version; the model itself is in the run, by its digest."""
        return f"whisper_hf5-beam{self.beams}-v{self.version}-{self.language or 'en_only'}"

    def _load(self) -> tuple[Any, Any]:
        """Load model and processor from their folder."""
        return load_hf_model(WHISPER, "WhisperForConditionalGeneration", "WhisperProcessor")

    def transcribe_features(self, features: np.ndarray) -> Transcript:
        """Transcribe the model's own input, for what has no waveform such as a decoder's log-mel.

        Args:
            features: (bands, N) float32 at 100 frames a second, as Whisper's front end scales them;
                at most 30 s. Behind them stands their smallest value, as behind short recordings.

        Raises:
            ValueError: Features of another shape, none or beyond 30 s, or no model.
        """
        self.prepare()
        extractor = self._extractor()
        bands, most = extractor.feature_size, extractor.nb_max_frames
        if features.ndim != 2 or features.shape[0] != bands or not 1 <= features.shape[1] <= most:
            raise ValueError(
                f"expected features of {bands} bands and 1 to {most} frames, got an array of shape "
                f"{features.shape}"
            )
        frames = features.shape[1]
        padded = np.full((1, bands, most), features.min(), np.float32)
        padded[0, :, :frames] = features
        mask = np.zeros((1, most), np.int32)
        mask[:, :frames] = 1
        (found,) = self._search(padded, mask)
        if self.search_loops_again and is_loop(found.words):
            (again,) = self._search(padded, mask, DISTINCT)
            found = replace(again, looped=True)
        return joined_windows([Window(0, frames * RATE // FEATURE_RATE, False)], [found])

    def _extractor(self) -> Any:
        """The loaded model's front end: waveforms to its input."""
        return self._model[1].feature_extractor

    def _recognize(self, parts: Sequence[np.ndarray], distinct: int = 0) -> list[RecognizedWindow]:
        """Recognise the windows (T,) of one batch; see `WindowedRecognizer`."""
        found = self._extractor()(
            list(parts), sampling_rate=RATE, return_tensors="np", return_attention_mask=True
        )
        return self._search(found.input_features, found.attention_mask, distinct)

    def _search(
        self, features: np.ndarray, mask: np.ndarray, distinct: int = 0
    ) -> list[RecognizedWindow]:
        """Search the words of features (N, bands, frames), of which (N, frames) are no padding."""
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        model, processor = self._model
        with self.inference() as device:
            inputs = torch.from_numpy(features).to(device)
            # (N, positions, channels): the search, detection and the no-speech token share it.
            encoded = model.get_encoder()(inputs).last_hidden_state
            output = BaseModelOutput(last_hidden_state=encoded)
            languages = self._languages(encoded)
            prompt = {"language": languages, "task": "transcribe"} if languages else {}
            tokens = model.generate(
                inputs,
                attention_mask=torch.from_numpy(mask).to(device),
                encoder_outputs=output,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,  # so that a file scores the same twice
                num_beams=self.beams,
                no_repeat_ngram_size=distinct,
                return_timestamps=False,
                **prompt,
            )
            silent = self._no_speech(encoded)
        texts = processor.batch_decode(tokens, skip_special_tokens=True)
        named = languages or ["english"] * len(features)
        words = [text.strip() for text in texts]
        return [RecognizedWindow(*row) for row in zip(words, silent, named, strict=True)]

    def _languages(self, encoded: Any) -> list[str]:
        """Language of each window of (N, positions, channels); [] for a model of English alone.

        Raises:
            ValueError: Such a model for another language.
        """
        from transformers.modeling_outputs import BaseModelOutput

        model, processor = self._model
        if not getattr(model.generation_config, "lang_to_id", None):
            self.refuse_other_than_english()
            return []
        if self.language != "auto":
            return [self.language or "english"] * encoded.shape[0]
        found = model.detect_language(encoder_outputs=BaseModelOutput(last_hidden_state=encoded))
        names = processor.tokenizer.convert_ids_to_tokens(found.tolist())
        return [name.strip("<|>") for name in names]

    def refuse_other_than_english(self) -> None:
        """Refuse a language that a model of English alone does not have.

        Raises:
            ValueError: The language is another one.
        """
        if self.language not in (*_ENGLISH, "auto"):
            raise ValueError(
                f"expected a multilingual Whisper model for {self.language!r}, got one of "
                "English alone"
            )

    def _no_speech(self, encoded: Any) -> list[float | None]:
        """Probability of the no-speech token at the start; None for a model without one."""
        import torch

        model, _ = self._model
        config = model.generation_config
        # As the published models number them: the token lies before the one of no timestamps.
        following = getattr(config, "no_timestamps_token_id", None)
        if following is None:
            return [None] * encoded.shape[0]
        first = config.decoder_start_token_id
        start = torch.full((encoded.shape[0], 1), first, device=encoded.device)
        logits = model(encoder_outputs=(encoded,), decoder_input_ids=start).logits[:, 0]
        return logits.softmax(-1)[:, following - 1].tolist()


class GreedyWhisperRecognizer(WhisperRecognizer):
    """Recogniser of earlier releases: greedy search in windows of exactly 30 s.

    Words at a multiple of 30 s are cut in two, and a tail of any length is a window of its own: for
    figures that are compared with earlier ones only.
    """

    packages = (("transformers", ""),)

    def __init__(self, language: str = "english", *, max_new_tokens: int = 224) -> None:
        super().__init__(
            language,
            max_new_tokens=max_new_tokens,
            beams=1,
            batch_size=1,
            search_loops_again=False,
        )

    @property
    def id(self) -> str:
        """Back end and search, as they were named."""
        return f"whisper_hf-greedy-{self.language or 'en_only'}"

    def _windows(self, signal: np.ndarray) -> list[Window]:
        """Windows of 30 s and what is left."""
        size = 30 * RATE
        return [
            Window(start, min(start + size, signal.size), False)
            for start in range(0, signal.size, size)
        ]

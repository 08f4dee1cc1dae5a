"""Speech recognition by a Whisper model in a local folder, as transformers saves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from codec.checks import at_least
from eval.loading import LoadedMetric, load_hf_model
from eval.protocols import Transcript, WeightSpec
from eval.sound import resampled
from eval.weights import metric_device

from .guards import RecognizedWindow, is_loop, joined_windows
from .windows import Window, cut_windows

RATE = 16000
WHISPER = WeightSpec(
    "whisper",
    "MIT",
    "get a folder from the Hugging Face hub, as transformers keeps it (hf download "
    "openai/whisper-large-v3 --local-dir PATH) or as faster-whisper does, faster (hf download "
    "Systran/faster-whisper-large-v3 --local-dir PATH)",
    is_folder=True,
)
BEAMS = 5
# Windows at once on a device of its own.
DEVICE_BATCH = 8
# Tokens in succession that the second search of a window of loops says once.
DISTINCT = 3
_ENGLISH = ("", "english", "en")


class WhisperRecognizer(LoadedMetric):
    """Waveform to words by beam search without timestamps, no window conditioned on another.

    Longer waveforms are recognised in windows of at most 30 s cut in pauses, see `cut_windows`.
    A window whose words compress beyond Whisper's published threshold, as loops of words do, is
    searched a second time, in which no three tokens in succession come twice: one loop of a hundred
    words would outweigh the errors of fifty clips. Whisper's own code draws such a window anew at
    rising temperatures (https://arxiv.org/abs/2212.04356, section 4.5); this search has no chance
    in it. Nothing else is removed from a transcript: how likely a window holds no speech, how well
    its words compress, and windows that were searched twice are given beside it.

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
        self.search_loops_again = search_loops_again
        self._batch_size = batch_size

    @property
    def version(self) -> int:
        """Of the search."""
        return 2 if self.search_loops_again else 1

    @property
    def batch_size(self) -> int:
        """Windows at once."""
        if self._batch_size is not None:
            return self._batch_size
        return 1 if metric_device().type == "cpu" else DEVICE_BATCH

    @property
    def id(self) -> str:
        """Back end, search, version; the model itself is in the run, by its digest."""
        return f"whisper_hf5-beam{self.beams}-v{self.version}-{self.language or 'en_only'}"

    def _load(self) -> tuple[Any, Any]:
        """Load model and processor from their folder."""
        return load_hf_model(WHISPER, "WhisperForConditionalGeneration", "WhisperProcessor")

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> str:
        """Transcribe a waveform (T,), float in [-1, 1]."""
        return self.transcribe_many([waveform], sample_rate)[0].text

    def transcribe_in_detail(self, waveform: np.ndarray, sample_rate: int) -> Transcript:
        """Transcribe a waveform (T,), with what tells of invented words."""
        return self.transcribe_many([waveform], sample_rate)[0]

    def transcribe_many(
        self, waveforms: Sequence[np.ndarray], sample_rate: int
    ) -> list[Transcript]:
        """Transcribe waveforms (T,), float in [-1, 1], their windows in batches.

        Raises:
            ValueError: A model of English alone for another language.
        """
        self.prepare()
        signals = [resampled(np.asarray(w, np.float32), sample_rate, RATE) for w in waveforms]
        cut = [self._windows(signal) for signal in signals]
        parts = [
            signal[window.start : window.end]
            for signal, windows in zip(signals, cut, strict=True)
            for window in windows
        ]
        found = self._in_batches(parts)
        if self.search_loops_again:
            looped = [n for n, row in enumerate(found) if is_loop(row.words)]
            again = self._in_batches([parts[n] for n in looped], distinct=DISTINCT)
            for n, row in zip(looped, again, strict=True):
                found[n] = replace(row, looped=True)
        rows = iter(found)
        return [joined_windows(windows, [next(rows) for _ in windows]) for windows in cut]

    def _in_batches(self, parts: Sequence[np.ndarray], distinct: int = 0) -> list[RecognizedWindow]:
        """Recognise windows (T,), as many at once as `batch_size` says."""
        size = self.batch_size
        return [
            row
            for start in range(0, len(parts), size)
            for row in self._recognize(parts[start : start + size], distinct)
        ]

    def _windows(self, signal: np.ndarray) -> list[Window]:
        """Windows of a signal (T,) at 16 kHz."""
        return cut_windows(signal, RATE)

    def _recognize(self, parts: Sequence[np.ndarray], distinct: int = 0) -> list[RecognizedWindow]:
        """Recognise the windows (T,) of one batch.

        Args:
            parts: At 16 kHz.
            distinct: Tokens in succession that no transcript holds twice; 0 for no such bound.
        """
        from transformers.modeling_outputs import BaseModelOutput

        model, processor = self._model
        features = processor(
            list(parts), sampling_rate=RATE, return_tensors="pt", return_attention_mask=True
        )
        with self.inference() as device:
            features = features.to(device)
            # (N, positions, channels): the search, detection and the no-speech token share it.
            encoded = model.get_encoder()(features.input_features).last_hidden_state
            output = BaseModelOutput(last_hidden_state=encoded)
            languages = self._languages(encoded)
            prompt = {"language": languages, "task": "transcribe"} if languages else {}
            tokens = model.generate(
                features.input_features,
                attention_mask=features.attention_mask,
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
        named = languages or ["english"] * len(parts)
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

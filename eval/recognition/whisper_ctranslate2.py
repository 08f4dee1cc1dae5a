"""Speech recognition by a Whisper model in CTranslate2's form, as faster-whisper keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from codec.checks import one_of
from eval.weights import find_weight, require_weight

from .guards import RecognizedWindow
from .whisper import BEAMS, WHISPER, WhisperRecognizer

MODEL_FILE = "model.bin"
COMPUTE_TYPES = ("int8", "float32")
_SHARED = ("<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>")


class CTranslate2WhisperRecognizer(WhisperRecognizer):
    """Waveform to words as `WhisperRecognizer`, with matrices of int8: several times as fast.

    Args:
        language: As `WhisperRecognizer`.
        max_new_tokens: As there.
        beams: As there.
        batch_size: As there; it works on the CPU, where one after the other is the fastest.
        search_loops_again: As there.
        compute_type: "int8" rounds weights and activations, "float32" rounds nothing. It is part
            of the id: transcripts differ.

    Raises:
        ValueError: A count below 1, or an unknown compute type.
    """

    packages = (("ctranslate2", "4."), ("transformers", "5."))

    def __init__(
        self,
        language: str = "english",
        *,
        max_new_tokens: int = 224,
        beams: int = BEAMS,
        batch_size: int | None = 1,
        search_loops_again: bool = True,
        compute_type: str = "int8",
    ) -> None:
        super().__init__(
            language,
            max_new_tokens=max_new_tokens,
            beams=beams,
            batch_size=batch_size,
            search_loops_again=search_loops_again,
        )
        one_of("compute_type", compute_type, COMPUTE_TYPES)
        self.compute_type = compute_type

    @property
    def id(self) -> str:
        """Back end, precision, search, version; the model itself is in the run, by its digest."""
        name = self.language or "en_only"
        return f"whisper_ct2_4-{self.compute_type}-beam{self.beams}-v{self.version}-{name}"

    def _load(self) -> tuple[Any, Any]:
        """Load the model, its features and its tokens from their folder.

        Raises:
            ValueError: No folder was named, or it holds no such model.
        """
        folder = require_weight(WHISPER)
        import ctranslate2
        import torch
        from tokenizers import Tokenizer
        from transformers import WhisperFeatureExtractor

        for name in (MODEL_FILE, "tokenizer.json"):
            if not (folder / name).is_file():
                raise ValueError(f"expected a CTranslate2 Whisper model with {name} in {folder}")
        try:
            # As many threads as the process may use: one in a worker.
            model = ctranslate2.models.Whisper(
                str(folder),
                device="cpu",
                compute_type=self.compute_type,
                intra_threads=torch.get_num_threads(),
            )
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"expected a CTranslate2 Whisper model in {folder}: {error}"
            ) from error
        features = WhisperFeatureExtractor(feature_size=model.n_mels)
        return model, (features, Tokenizer.from_file(str(folder / "tokenizer.json")))

    def _extractor(self) -> Any:
        """The loaded model's front end: waveforms to its input."""
        return self._model[1][0]

    def _search(
        self, features: np.ndarray, mask: np.ndarray, distinct: int = 0
    ) -> list[RecognizedWindow]:
        """Search the words of features (N, bands, frames); the mask is of no use to this model."""
        import ctranslate2

        model, (_, tokenizer) = self._model
        # (N, positions, channels): detection and the search share it.
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(features, np.float32))
        encoded = model.encode(view)
        languages = self._languages(encoded) or ["english"] * len(features)
        prompts = [self._prompt(tokenizer, model.is_multilingual, name) for name in languages]
        results = model.generate(
            encoded,
            prompts,
            beam_size=self.beams,
            max_length=2 * self.max_new_tokens,  # the half of it are new tokens
            no_repeat_ngram_size=distinct,
            return_no_speech_prob=True,
        )
        texts = [tokenizer.decode(each.sequences_ids[0]).strip() for each in results]
        silent = [each.no_speech_prob for each in results]
        return [RecognizedWindow(*row) for row in zip(texts, silent, languages, strict=True)]

    def _languages(self, encoded: Any) -> list[str]:
        """Language of each window; [] for a model of English alone.

        Raises:
            ValueError: Such a model for another language.
        """
        model, _ = self._model
        if not model.is_multilingual:
            self.refuse_other_than_english()
            return []
        if self.language != "auto":
            return [self.language or "english"] * encoded.shape[0]
        return [ranked[0][0].strip("<|>") for ranked in model.detect_language(encoded)]

    def _prompt(self, tokenizer: Any, is_multilingual: bool, language: str) -> list[int]:
        """Ids of the tokens that transcripts without timestamps begin with.

        Raises:
            ValueError: A language that Whisper does not name.
        """
        from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

        start, task, untimed = _SHARED
        code = TO_LANGUAGE_CODE.get(language, language)
        names = [start, f"<|{code}|>", task, untimed] if is_multilingual else [start, untimed]
        ids = [tokenizer.token_to_id(name) for name in names]
        if None in ids:
            raise ValueError(f"expected a language that Whisper names, got {language!r}")
        return ids


def is_ctranslate2(folder: Path | None) -> bool:
    """Tell whether a folder holds a model in CTranslate2's form."""
    return folder is not None and (folder / MODEL_FILE).is_file()


def whisper_recognizer() -> WhisperRecognizer:
    """Make the recogniser of the folder that the weight `whisper` names, whichever form it has."""
    found = find_weight(WHISPER)
    return CTranslate2WhisperRecognizer() if is_ctranslate2(found) else WhisperRecognizer()

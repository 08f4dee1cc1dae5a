"""Recognition loss: divergence of a recogniser's word predictions of decoded and recorded speech.

The distance of states of `codec.distillation.perceptual` weighs every direction of the states
alike, whether words hang on it or not. Here the recogniser's own decoder reads the states of both,
with the transcript given token by token, and the loss is the Kullback-Leibler divergence of its
predictions from those it makes of the recording. What the recogniser does not understand of the
recording either asks for nothing.

Only clips that a crop holds from their first to their last sample can be compared so; of others it
is not known which words the crop holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.audio.sources import AudioSource, CropPlace
from codec.checks import require
from codec.error_text import message_of
from codec.requirements import install_command

LANGUAGE = "en"  # of the transcripts that are compared
MAX_TOKENS = 96  # of a transcript; longer ones are left out


class RecognitionLoss:
    """Divergence of the predictions of a frozen Whisper decoder.

    The model is no submodule of the training: it has no part in checkpoints or optimizers.

    Args:
        folder: A Whisper in the transformers layout with its tokenizer, such as whisper-tiny.en.

    Raises:
        ValueError: transformers is not installed, or no such model is there.
    """

    def __init__(self, folder: str) -> None:
        try:
            from transformers import WhisperForConditionalGeneration, WhisperTokenizer
        except ImportError as error:
            raise ValueError(
                f"weights.recognition needs transformers: {install_command('transformers')}"
            ) from error
        try:
            model: Any = WhisperForConditionalGeneration.from_pretrained(folder)
            tokens = WhisperTokenizer.from_pretrained(folder, language=LANGUAGE, task="transcribe")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{folder}: expected a Whisper with its tokenizer in the transformers layout, "
                f"got none: {message_of(error)}"
            ) from error
        self.decoder: nn.Module = model.get_decoder().eval().requires_grad_(False)
        self.to_words: nn.Module = model.proj_out.requires_grad_(False)
        self._tokenizer = tokens

    def to(self, device: torch.device) -> RecognitionLoss:
        """Move the model, and return self."""
        self.decoder.to(device)
        self.to_words.to(device)
        return self

    def tokens(self, text: str) -> list[int]:
        """Tokens of a transcript, without those that open and end it."""
        # Words in capitals would be spelled letter by letter.
        text = text.strip().capitalize() if text.isupper() else text.strip()
        return self._tokenizer(" " + text, add_special_tokens=False).input_ids

    def __call__(
        self, states: Tensor, target_states: Tensor, texts: Sequence[str | None]
    ) -> Tensor:
        """Compare predictions.

        Args:
            states: (B, N, D) last states of the recogniser's encoder of decoded speech, with
                gradient.
            target_states: (B, N, D) of the recordings.
            texts: Transcript of each, None for rows that are left out.

        Returns:
            Scalar float32, nats a token, mean over the tokens and ends of all transcripts; 0 where
            there are none.
        """
        encoded = {row: self.tokens(text) for row, text in enumerate(texts) if text}
        rows = [row for row, tokens in encoded.items() if 0 < len(tokens) <= MAX_TOKENS]
        if not rows:
            return states.float().sum() * 0.0
        opening, end = list(self._tokenizer.prefix_tokens), self._tokenizer.eos_token_id
        longest = max(len(encoded[row]) for row in rows)
        device = states.device
        inputs = torch.full((len(rows), len(opening) + longest), end, device=device)
        counted = torch.zeros(len(rows), longest + 1, dtype=torch.bool, device=device)
        for number, row in enumerate(rows):
            tokens = opening + encoded[row]
            inputs[number, : len(tokens)] = torch.tensor(tokens, device=device)
            counted[number, : len(encoded[row]) + 1] = True  # the tokens and the end
        with torch.no_grad():
            expected = self._predictions(target_states[rows], inputs, len(opening), counted)
        found = self._predictions(states[rows], inputs, len(opening), counted)
        divergence = F.kl_div(found, expected, reduction="none", log_target=True).sum(-1)
        return divergence.mean()

    def _predictions(self, states: Tensor, inputs: Tensor, opening: int, counted: Tensor) -> Tensor:
        """Log-probabilities (P, V) float32 of the tokens that `counted` (R, S) marks."""
        hidden = self.decoder(
            input_ids=inputs, encoder_hidden_states=states, use_cache=False
        ).last_hidden_state
        # The last token of the opening predicts the first of the text.
        words = self.to_words(hidden[:, opening - 1 :][counted])
        return torch.log_softmax(words.float(), dim=-1)


def whole_texts(sources: Sequence[AudioSource], places: Sequence[CropPlace]) -> list[str | None]:
    """Transcripts of the crops that hold a whole clip, None for others.

    Args:
        sources: Whose rows may have `text` and `lang`; rows without a language are English.
        places: Clips and offsets of the crops.
    """
    rows = [(place, sources[place.source].rows[place.clip]) for place in places]
    return [english_text(row) if row["num_samples"] <= place.taken else None for place, row in rows]


def english_text(row: Mapping[str, Any]) -> str | None:
    """The transcript of a clip in English, None where it has none."""
    english = str(row.get("lang") or LANGUAGE).lower().startswith(LANGUAGE)
    text = str(row.get("text") or "").strip()
    return text if english and text else None


def check_whole_clips(sources: Sequence[AudioSource], longest: int) -> None:
    """Refuse sources of which no crop holds a whole English clip with a transcript.

    Args:
        sources: Of the training crops.
        longest: Samples that a crop takes of a clip at most.

    Raises:
        ValueError: The loss would be 0 at every step; names the length of the shortest clip.
    """
    rows = [row for source in sources for row in source.rows if english_text(row)]
    shortest = min((row["num_samples"] for row in rows), default=None)
    got = "none with a text" if shortest is None else f"the shortest of {shortest}"
    fits = shortest is not None and shortest <= longest
    expected = f"English clips with a text of at most {longest} samples, a crop, in the sources"
    require(fits, "weights.recognition", expected, got)

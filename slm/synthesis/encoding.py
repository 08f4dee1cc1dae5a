"""Texts and voices of requests as the tokens that a language model goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codec.audio import audio_info, read_samples, resampled_length
from slm.data.documents import build_document
from slm.generation.aligned import AlignedRequest
from slm.generation.codes import TokenRequest
from slm.generation.config import GenerationSettings
from slm.generation.generate import Request
from slm.model.likelihood import Score, log_likelihood

from .models import SpeechModels
from .prompts import voice_samples
from .recordings import Recording, as_recording
from .requests import (
    NO_CODES,
    SpeechRequest,
    check_no_text,
    interleaved_request,
    not_one,
    one_each,
    text_request,
)

# Codes of a prompt, of which the model takes the first, that are encoded: 43.7 s, a window of
# recordings that the codec encodes in parts.
PROMPT_CODES = 1024


class RequestEncoder(SpeechModels):
    """Models that check, encode and score requests; arguments as of `SpeechModels`."""

    def score(
        self,
        waveform: Recording,
        *,
        text: str | None = None,
        prompt: Recording | None = None,
    ) -> Score:
        """Log-likelihood of a recording's codes; see `score_batch`."""
        return self.score_batch([waveform], texts=[text], prompt=prompt)[0]

    def score_batch(
        self,
        waveforms: Sequence[Recording],
        *,
        texts: Sequence[str | None] | None = None,
        prompt: Recording | None = None,
    ) -> list[Score]:
        """Log-likelihoods of the codes of recordings.

        Args:
            waveforms: Recordings; samples alone are at the codec's rate.
            texts: Transcripts, or None, one a recording.
            prompt: Another utterance of their speaker.

        Returns:
            One score a recording, in order.

        Raises:
            ValueError: A text for a model of aligned speech, or a single path.
        """
        not_one(waveforms, "recordings")
        count, voice = len(waveforms), None
        if prompt is not None:
            voice = self.encode_prompt(prompt)
        documents = []
        for waveform, text in zip(
            waveforms, one_each(texts or [None] * count, count, "texts"), strict=True
        ):
            check_no_text(self.lm.config, text)
            text_ids = None if text is None else self.tokenizer.encode(text)
            samples = self._read_given(waveform)
            self._check_length(len(samples))
            codes = self.encode(samples)
            documents.append(
                build_document(self.lm.vocabulary, codes, text_ids=text_ids, prompt=voice)
            )
        return log_likelihood(self.lm, documents)

    def _token_request(self, request: SpeechRequest, settings: GenerationSettings) -> Request:
        """Check a text and its voice against the models, and encode them."""
        text, prompt, voice = request.text, request.prompt, request.voice
        if settings.interleaved and not self.lm.config.is_interleaved:
            raise ValueError(
                "expected a model of interleaved text and speech for interleaved, got one with "
                "interleave_text 0"
            )
        if settings.interleaved and request.prompt_text is not None:
            raise ValueError(
                "expected no transcript of the prompt where text and speech take turns, got "
                f"{request.prompt_text!r}"
            )
        if request.speed != 1 and not self.lm.config.is_aligned:
            raise ValueError(
                "expected speed 1 for a model that draws no durations, which those of aligned "
                f"speech do, got {request.speed:g}"
            )
        is_given = request.prompt_text is not None and not self.lm.config.is_aligned
        if isinstance(voice, str):
            if voice not in self.voices:
                raise ValueError(f"expected a voice of {sorted(self.voices)}, got {voice!r}")
            voice = self.voices[voice]
        if prompt is not None and is_given:
            # Prompt and text are one utterance, whose beginning is given.
            text_ids = self.tokenizer.encode(f"{request.prompt_text} {text}", request.language)
            given = self._encode_full_frames(self._read_given(prompt))
            own_ids = self.tokenizer.encode(text, request.language)
            spoken = self.tokenizer.spoken(text, request.language)
            return text_request(
                self.lm, spoken, text_ids, request.seed, given=given, own_ids=own_ids
            )
        text_ids = self.tokenizer.encode(text, request.language)
        if prompt is not None:
            voice = self.encode_prompt(prompt)
        # A prompt longer than those of training would be out of distribution.
        codes = NO_CODES if voice is None else voice[: self.lm.config.max_prompt_codes]
        # Aligned models read phones, and draw durations in place of an end.
        if self.lm.config.is_aligned:
            return AlignedRequest(np.array(text_ids), codes, request.seed, request.speed)
        # As many codes as its spoken characters let expect.
        spoken = self.tokenizer.spoken(text, request.language)
        if settings.interleaved:
            return interleaved_request(self.lm, spoken, text_ids, request.seed, codes)
        return text_request(self.lm, spoken, text_ids, request.seed, prompt=codes)

    def _encode_full_frames(self, waveform: NDArray[np.float32]) -> NDArray[np.int64]:
        """Codes without an incomplete last frame, whose padding would leave an audible gap.

        Raises:
            ValueError: More codes than the model's context has room for; nothing is encoded then.
        """
        self._check_length(len(waveform))
        full = len(waveform) // self.codec.hop_length * self.codec.hop_length
        return self.encode(waveform[:full] if full else waveform)

    def _check_length(self, num_samples: int) -> None:
        """Raise `ValueError` for a recording that cannot fit the context, before it is encoded."""
        most, rate = self.lm.config.max_seq_len, self.lm.config.frame_rate
        if num_samples // self.codec.hop_length > most:
            raise ValueError(
                f"expected a recording within the model's {most} tokens, {most / rate:.1f} s, "
                f"got {num_samples / self.codec.sample_rate:.1f} s; give a shorter recording"
            )

    def _read_given(self, prompt: Recording) -> NDArray[np.float32]:
        """All of a recording as (T,) at the codec's rate, unless it cannot fit the context."""
        prompt = as_recording(prompt, self.codec.sample_rate)
        if not isinstance(prompt, Path):
            return prompt
        self._check_length(resampled_length(*audio_info(prompt), self.codec.sample_rate))
        return self.read(prompt)

    def encode_prompt(self, prompt: Recording) -> NDArray[np.int64]:
        """Encode the speech in a recording as a voice, what prompts and named voices are.

        What is encoded does not grow with the recording beyond a window of the codec.

        Args:
            prompt: As of `SpeechRequest`.

        Returns:
            Codes (P,) int64, 1 <= P <= `max_prompt_codes`.

        Raises:
            ValueError: Samples of no such form, digital silence, or a file that is no audio.
            OSError: The file is missing or cannot be opened.
        """
        rate, hop, count = (
            self.codec.sample_rate,
            self.codec.hop_length,
            self.lm.config.max_prompt_codes,
        )
        recording = as_recording(prompt, rate)
        if isinstance(recording, Path):
            length = resampled_length(*audio_info(recording), rate)
        else:
            length = len(recording)

        # No more of a file is read than is used.
        def read(first: int, samples: int) -> NDArray[np.float32]:
            if isinstance(recording, Path):
                return read_samples(recording, rate, first, samples)
            return recording[first : first + samples]

        most = max(PROMPT_CODES, count) * hop
        speech = voice_samples(read, length, rate, wanted=count * hop, most=most)
        return self.encode(speech)[:count]

    def _given_codes(self, request: Request) -> NDArray[np.int64]:
        """Codes at the end of a prompt that the speech begins with, (G,)."""
        if not isinstance(request, TokenRequest):
            return NO_CODES
        # Not [-num_given:], which would be all of the prompt for none.
        tokens = request.prompt[len(request.prompt) - request.num_given :]
        return self.lm.vocabulary.token_to_code(tokens.numpy())

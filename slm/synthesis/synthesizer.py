"""The synthesizer: text or a recording in, speech out, by codec, language and text model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from codec import StreamDecoder
from slm.generation.config import GenerationSettings, TranscriptionSettings
from slm.generation.generate import Request, open_session
from slm.generation.retries import generate_until_ended
from slm.generation.session import Generation

from .encoding import PROMPT_CODES, RequestEncoder
from .recordings import Recording, with_rate
from .requests import (
    SpeechRequest,
    check_no_text,
    check_seconds,
    check_seed,
    continuation_request,
    not_one,
    one_each,
)
from .result import Synthesis, faded_out
from .streaming import StreamWindow, stream_waveform
from .transcriber import Spoken, Transcriber, Transcription

__all__ = ["MAX_ROWS", "PROMPT_CODES", "Synthesizer"]

# Rows that are generated together where nothing else is asked for: each holds keys and values, of
# which the longest speech of hh-mini-slm has 13 MB.
MAX_ROWS = 16


class Synthesizer(RequestEncoder):
    """Text to speech in a prompt's voice, and continuation of recordings.

    Args:
        codec: In eval mode.
        lm: A language model of this codec's codes.
        tokenizer: The text model the language model was trained with.
        voices: Prompts by name, (L,) codes each.

    Raises:
        ValueError: The three do not belong together.
    """

    def tts(
        self,
        text: str,
        *,
        prompt: Recording | None = None,
        prompt_rate: int | None = None,
        prompt_text: str | None = None,
        voice: str | None = None,
        seed: int = 0,
        language: str = "en",
        speed: float = 1.0,
        settings: GenerationSettings | None = None,
        max_attempts: int = 3,
    ) -> Synthesis:
        """Speak a text; see `SpeechRequest` and `synthesize`.

        A prompt is a path, or samples at the codec's rate, or at `prompt_rate` Hz where that is
        given, or a pair of samples and their rate.
        """
        given = with_rate(prompt, prompt_rate)
        request = SpeechRequest(text, given, prompt_text, voice, seed, language, speed)
        return self.synthesize([request], settings=settings, max_attempts=max_attempts)[0]

    def tts_batch(
        self,
        texts: Sequence[str],
        *,
        prompts: Sequence[Recording | None] | None = None,
        prompt_texts: Sequence[str | None] | None = None,
        voices: Sequence[str | None] | None = None,
        seeds: Sequence[int] | None = None,
        settings: GenerationSettings | None = None,
        max_attempts: int = 3,
        max_rows: int = MAX_ROWS,
    ) -> list[Synthesis]:
        """Speak several texts at once; `synthesize` with a column for each part of the requests.

        Args:
            texts: The texts; each column has one value a text.
            prompts: Recordings of the voices, or None.
            prompt_texts: Transcripts of the prompts, or None.
            voices: Names out of `self.voices`, or None.
            seeds: 0, 1, 2 ... when None.
            settings: See `synthesize`, as for the others.
            max_attempts: See there.
            max_rows: See there.

        Raises:
            ValueError: As `synthesize`, a single text, or a column that has not one value a text.
        """
        not_one(texts, "texts")
        count = len(texts)
        columns = (
            texts,
            one_each(prompts or [None] * count, count, "prompts"),
            one_each(prompt_texts or [None] * count, count, "prompt_texts"),
            one_each(voices or [None] * count, count, "voices"),
            one_each(range(count) if seeds is None else seeds, count, "seeds"),
        )
        requests = [SpeechRequest(*row) for row in zip(*columns, strict=True)]
        return self.synthesize(
            requests, settings=settings, max_attempts=max_attempts, max_rows=max_rows
        )

    def synthesize(
        self,
        requests: Sequence[SpeechRequest],
        *,
        settings: GenerationSettings | None = None,
        max_attempts: int = 3,
        max_rows: int = MAX_ROWS,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Synthesis]:
        """Speak several texts at once, each in its own voice.

        A prompt is cut to the longest the model was trained with, from where it is full of speech,
        unless its transcript is given.
        A model of aligned speech takes no more than the voice from a prompt, and cannot run away.

        Args:
            requests: Texts and their voices.
            settings: How codes are drawn; as suits the model best when None.
            max_attempts: Speech that ran away is drawn anew, so many times in all.
            max_rows: Most texts at a time; the others wait, which bounds the memory.
            on_progress: Called with the number of texts whose codes are drawn, as it grows.

        Returns:
            One result a request, in order.

        Raises:
            ValueError: A text that the text model cannot encode, an unknown voice, too much text
                for the model's context, or a count below 1.
        """
        # 1. Read and check everything before any speech is generated.
        settings = settings or GenerationSettings.for_model(self.lm.config)
        asked = [self._token_request(request, settings) for request in requests]
        # 2. Generate codes; aligned models end by themselves and need no rules.
        generations = generate_until_ended(
            self.lm,
            asked,
            settings,
            rules=None if self.lm.config.is_aligned else self.stop_rules,
            max_attempts=max_attempts,
            max_rows=max_rows,
            on_progress=on_progress,
        )
        # 3. Decode them.
        return [self._decoded(*each) for each in zip(asked, generations, strict=True)]

    def stream(
        self,
        text: str,
        *,
        prompt: Recording | None = None,
        prompt_rate: int | None = None,
        prompt_text: str | None = None,
        voice: str | None = None,
        seed: int = 0,
        language: str = "en",
        speed: float = 1.0,
        settings: GenerationSettings | None = None,
        window: StreamWindow | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Speak a text and yield the waveform while it is being generated; see `tts`.

        The first chunk comes after `window.delay_codes` codes. Runaway speech is not drawn anew.

        Yields:
            (T,) float32; together one attempt of `tts`, up to the decoder's context further off
            (`codec.StreamDecoder`).
        """
        settings = settings or GenerationSettings.for_model(self.lm.config)
        given = with_rate(prompt, prompt_rate)
        asked = SpeechRequest(text, given, prompt_text, voice, seed, language, speed)
        request = self._token_request(asked, settings)
        session = open_session(
            self.lm,
            [request],
            settings,
            rules=None if self.lm.config.is_aligned else self.stop_rules,
        )
        yield from stream_waveform(
            session,
            StreamDecoder(self.codec, **vars(window or StreamWindow())),
            self.lm.vocabulary.token_to_code,
            given=self._given_codes(request),
            silence=self.silence_code,
            hop_length=self.codec.hop_length,
            sample_rate=self.codec.sample_rate,
        )

    def continue_speech(
        self,
        waveform: Recording,
        seconds: float,
        *,
        text: str | None = None,
        seed: int = 0,
        settings: GenerationSettings | None = None,
        max_attempts: int = 3,
    ) -> Synthesis:
        """Continue a recording by at most `seconds`; the model may end it earlier.

        A last frame of the recording that is not full (under 43 ms) is left out.

        Args:
            waveform: The recording; samples alone are at the codec's rate.
            seconds: Longest continuation, above 0.
            text: Transcript of the recording and of what is to follow; None leaves it to the model.
            seed: Of the draws.
            settings: How codes are drawn.
            max_attempts: A continuation that falls silent or loops is drawn anew, so many times in
                all.

        Raises:
            ValueError: The recording and the continuation do not fit the model's context, or a text
                for a model of aligned speech, which would need the times of its words.
        """
        check_seed(seed)
        check_no_text(self.lm.config, text)
        check_seconds(seconds)
        text_ids = None if text is None else self.tokenizer.encode(text)
        given = self._encode_full_frames(self._read_given(waveform))
        request = continuation_request(self.lm, text_ids, given, seconds, seed)
        # Without settings the general ones: the low temperature of a model's own loses the voice.
        made = generate_until_ended(
            self.lm, [request], settings, rules=self.stop_rules, max_attempts=max_attempts
        )
        return self._decoded(request, made[0], keep_given=True)

    def transcribe(
        self, recording: Spoken, *, settings: TranscriptionSettings | None = None, seed: int = 0
    ) -> Transcription:
        """Text of a recording, by a model that was trained to transcribe; see `Transcriber`."""
        transcriber = Transcriber(self.lm, self.tokenizer, self.codec)
        return transcriber.transcribe([recording], settings, seeds=[seed])[0]

    def _decoded(
        self,
        request: Request,
        generation: Generation,
        *,
        keep_given: bool = False,
    ) -> Synthesis:
        """The speech of a generation, decoded with the codes it begins with as context."""
        given = self._given_codes(request)
        new = self.lm.vocabulary.token_to_code(generation.tokens.numpy())
        codes = np.concatenate([given, new])
        # Before silence the last sound decays, where it would else be cut within a vowel.
        waveform = self.decode(np.concatenate([codes, self.silence_code]))
        waveform, count = waveform[: -self.codec.hop_length], len(given)
        # What was given is cut off after decoding: the decoder needs it as context.
        if not keep_given:
            waveform, codes, count = waveform[count * self.codec.hop_length :], new, 0
        return Synthesis(
            waveform=faded_out(waveform, self.codec.sample_rate),
            codes=codes,
            sample_rate=self.codec.sample_rate,
            num_given_codes=count,
            truncated=generation.truncated,
            log_likelihood=generation.log_likelihood,
            seed=generation.seed,
            stopped=generation.stopped,
            rejected=generation.rejected,
            attempt=generation.attempt,
            counts=generation.counts,
        )

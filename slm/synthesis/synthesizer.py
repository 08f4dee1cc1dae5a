"""The synthesizer: text or a recording in, speech out, by codec, language and text model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from codec import HHCodec, StreamDecoder
from codec.audio import audio_info, read_audio, read_samples, resampled_length
from codec.devices import usable_device
from slm.data.documents import build_document
from slm.generation.aligned import AlignedRequest
from slm.generation.codes import TokenRequest
from slm.generation.config import GenerationSettings, TranscriptionSettings
from slm.generation.generate import Request, open_session
from slm.generation.retries import generate_until_ended
from slm.generation.session import Generation
from slm.generation.stopping import StopRules, silence_codes
from slm.model.likelihood import Score, log_likelihood
from slm.model.speech_lm import SpeechLM, pretrained_folder
from slm.text.tokenizer import Tokenizer, load_tokenizer

from .prompts import voice_samples
from .requests import (
    NO_CODES,
    Recording,
    SpeechRequest,
    check_no_text,
    check_seconds,
    check_seed,
    continuation_request,
    interleaved_request,
    text_request,
)
from .result import Synthesis, faded_out
from .streaming import StreamWindow, stream_waveform
from .transcriber import Spoken, Transcriber, Transcription
from .voices import load_voices

# Rows that are generated together where nothing else is asked for: each holds keys and values, of
# which the longest speech of hh-mini-slm has 13 MB.
MAX_ROWS = 16
# Codes of a prompt, of which the model takes the first, that are encoded: 43.7 s, a window of
# recordings that the codec encodes in parts.
PROMPT_CODES = 1024
Each = TypeVar("Each")


class Synthesizer:
    """Text to speech in a prompt's voice, and continuation of recordings.

    Args:
        codec: In eval mode.
        lm: A language model of this codec's codes.
        tokenizer: The text model the language model was trained with.
        voices: Prompts by name, (L,) codes each.

    Raises:
        ValueError: The three do not belong together.
    """

    def __init__(
        self,
        codec: HHCodec,
        lm: SpeechLM,
        tokenizer: Tokenizer,
        voices: Mapping[str, NDArray[np.int64]] | None = None,
    ) -> None:
        if lm.config.codec_fingerprint not in codec.code_fingerprints:
            raise ValueError(
                f"expected codec {lm.config.codec_fingerprint}, whose codes this language model "
                f"generates, got codec {codec.code_fingerprint}; load the codec it was trained with"
            )
        trained_with = lm.vocabulary.text_fingerprint
        # Models of before text fingerprints have none.
        if trained_with and trained_with != tokenizer.fingerprint:
            raise ValueError(
                f"expected text model {trained_with}, which this language model was trained with, "
                f"got {tokenizer.fingerprint}"
            )
        self.codec = codec.eval()
        self.lm = lm.eval()
        self.tokenizer = tokenizer
        self.voices = dict(voices or {})

    @classmethod
    def from_pretrained(cls, codec: Path | str, lm: Path | str) -> Synthesizer:
        """Load a codec folder and a language model folder, its text model and voices included."""
        folder = pretrained_folder(lm)
        model = SpeechLM.from_pretrained(folder)
        voices = load_voices(folder, model.config.codec_fingerprint)
        tokenizer = load_tokenizer(folder)
        return cls(HHCodec.from_pretrained(codec), model, tokenizer, voices)

    def to(self, device: torch.device | str) -> Synthesizer:
        """Move codec and language model to a device, such as "cuda", and return self.

        What goes in and comes out stays in arrays on the CPU.

        Raises:
            ValueError: No such device here.
        """
        place = usable_device(str(device))
        self.codec.to(place)
        self.lm.to(place)
        return self

    def read(self, path: Path | str) -> NDArray[np.float32]:
        """A recording as a (T,) waveform at the codec's rate."""
        return read_audio(path, self.codec.sample_rate)

    def tts(
        self,
        text: str,
        *,
        prompt: Recording | None = None,
        prompt_text: str | None = None,
        voice: str | None = None,
        seed: int = 0,
        language: str = "en",
        settings: GenerationSettings | None = None,
        max_attempts: int = 3,
    ) -> Synthesis:
        """Speak a text; see `SpeechRequest` and `synthesize`."""
        request = SpeechRequest(text, prompt, prompt_text, voice, seed, language)
        return self.synthesize([request], settings=settings, max_attempts=max_attempts)[0]

    def tts_batch(
        self,
        texts: Sequence[str],
        *,
        prompts: Sequence[NDArray[np.float32] | None] | None = None,
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
            prompts: (T,) waveforms at the codec's rate, or None.
            prompt_texts: Transcripts of the prompts, or None.
            voices: Names out of `self.voices`, or None.
            seeds: 0, 1, 2 ... when None.
            settings: See `synthesize`, as for the others.
            max_attempts: See there.
            max_rows: See there.

        Raises:
            ValueError: As `synthesize`, or a column that has not one value a text.
        """
        count = len(texts)
        columns = (
            texts,
            _one_each(prompts or [None] * count, count, "prompts"),
            _one_each(prompt_texts or [None] * count, count, "prompt_texts"),
            _one_each(voices or [None] * count, count, "voices"),
            _one_each(range(count) if seeds is None else seeds, count, "seeds"),
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
        prompt_text: str | None = None,
        voice: str | None = None,
        seed: int = 0,
        language: str = "en",
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
        asked = SpeechRequest(text, prompt, prompt_text, voice, seed, language)
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
        waveform: NDArray[np.float32],
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
            waveform: (T,) at the codec's rate.
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
        given = self._encode_full_frames(waveform)
        request = continuation_request(self.lm, text_ids, given, seconds, seed)
        # Without settings the general ones: the low temperature of a model's own loses the voice.
        made = generate_until_ended(
            self.lm, [request], settings, rules=self.stop_rules, max_attempts=max_attempts
        )
        return self._decoded(request, made[0], keep_given=True)

    def score(
        self,
        waveform: NDArray[np.float32],
        *,
        text: str | None = None,
        prompt: NDArray[np.float32] | None = None,
    ) -> Score:
        """Log-likelihood of a recording's codes; see `score_batch`."""
        return self.score_batch([waveform], texts=[text], prompt=prompt)[0]

    def score_batch(
        self,
        waveforms: Sequence[NDArray[np.float32]],
        *,
        texts: Sequence[str | None] | None = None,
        prompt: NDArray[np.float32] | None = None,
    ) -> list[Score]:
        """Log-likelihoods of the codes of recordings.

        Args:
            waveforms: (T,) each at the codec's rate.
            texts: Transcripts, or None, one a recording.
            prompt: (T,) of another utterance of their speaker.

        Returns:
            One score a recording, in order.

        Raises:
            ValueError: A text for a model of aligned speech.
        """
        count, voice = len(waveforms), None
        if prompt is not None:
            voice = self._encode_prompt(prompt)
        documents = []
        for waveform, text in zip(
            waveforms, _one_each(texts or [None] * count, count, "texts"), strict=True
        ):
            check_no_text(self.lm.config, text)
            text_ids = None if text is None else self.tokenizer.encode(text)
            self._check_length(len(waveform))
            codes = self.encode(waveform)
            documents.append(
                build_document(self.lm.vocabulary, codes, text_ids=text_ids, prompt=voice)
            )
        return log_likelihood(self.lm, documents)

    def transcribe(
        self, recording: Spoken, *, settings: TranscriptionSettings | None = None, seed: int = 0
    ) -> Transcription:
        """Text of a recording, by a model that was trained to transcribe; see `Transcriber`."""
        transcriber = Transcriber(self.lm, self.tokenizer, self.codec)
        return transcriber.transcribe([recording], settings, seeds=[seed])[0]

    def encode(self, waveform: NDArray[np.float32]) -> NDArray[np.int64]:
        """Codes (L,) of a waveform (T,), L = ceil(T / hop_length)."""
        with torch.no_grad():
            codes, _ = self.codec.encode(self._on_device(waveform))  # (1, L)
        return codes[0].cpu().numpy()

    def decode(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Waveform (L * hop_length,) of codes (L,)."""
        with torch.no_grad():
            waveform, _ = self.codec.decode(self._on_device(codes))  # (1, L * hop_length)
        return waveform[0].float().cpu().numpy()

    def _on_device(self, values: NDArray[Any]) -> torch.Tensor:
        """(N,) as (1, N) where the codec is."""
        return torch.from_numpy(values)[None].to(next(self.codec.parameters()).device)

    @cached_property
    def stop_rules(self) -> StopRules:
        """Rules that end runaway speech; the codec's codes of silence are found at first use."""
        return StopRules(silence_codes(self.encode, self.codec.sample_rate))

    @cached_property
    def silence_code(self) -> NDArray[np.int64]:
        """(1,) the code of lasting digital silence."""
        codes = self.encode(np.zeros(self.codec.sample_rate, dtype=np.float32))
        return codes[len(codes) // 2 :][:1]

    def _token_request(self, request: SpeechRequest, settings: GenerationSettings) -> Request:
        """Check a text and its voice against the models, and encode them."""
        text, prompt, voice = request.text, request.prompt, request.voice
        if settings.interleaved and request.prompt_text is not None:
            raise ValueError(
                "expected no transcript of the prompt where text and speech take turns, got "
                f"{request.prompt_text!r}"
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
            voice = self._encode_prompt(prompt)
        # A prompt longer than those of training would be out of distribution.
        codes = NO_CODES if voice is None else voice[: self.lm.config.max_prompt_codes]
        # Aligned models read phones, and draw durations in place of an end.
        if self.lm.config.is_aligned:
            return AlignedRequest(np.array(text_ids), codes, request.seed)
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
        if not isinstance(prompt, Path | str):
            return prompt
        self._check_length(resampled_length(*audio_info(prompt), self.codec.sample_rate))
        return self.read(prompt)

    def _encode_prompt(self, prompt: Recording) -> NDArray[np.int64]:
        """Codes (P,) of the speech in a recording, P <= `max_prompt_codes`.

        What is encoded does not grow with the recording beyond a window of the codec.
        """
        rate, hop, count = (
            self.codec.sample_rate,
            self.codec.hop_length,
            self.lm.config.max_prompt_codes,
        )
        if isinstance(prompt, Path | str):
            length = resampled_length(*audio_info(prompt), rate)
        else:
            length = len(prompt)

        # No more of a file is read than is used.
        def read(first: int, samples: int) -> NDArray[np.float32]:
            if isinstance(prompt, Path | str):
                return read_samples(prompt, rate, first, samples)
            return prompt[first : first + samples]

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
        # Before silence the last sound dies away, where it would else be cut within a vowel.
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


def _one_each(values: Sequence[Each], count: int, name: str) -> Sequence[Each]:
    """The values; raises `ValueError` where they are not one for each of `count` texts."""
    if len(values) != count:
        raise ValueError(f"expected {name} for {count} texts, got {len(values)}")
    return values

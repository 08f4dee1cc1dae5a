"""Text or a recording in, speech out: codec, language model and text model as one synthesizer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from codec import HHCodec, StreamDecoder
from codec.audio import read_audio
from slm.data.documents import build_document
from slm.generation.aligned import AlignedSpeaking, speak_aligned
from slm.generation.config import GenerationSettings
from slm.generation.generate import Speaking
from slm.generation.retries import Attempts, Request, check_attempts, generate_until_ended
from slm.generation.stopping import StopRules, silence_codes
from slm.model.likelihood import Score, log_likelihood
from slm.model.speech_lm import SpeechLM, pretrained_folder
from slm.text.tokenizer import Tokenizer, load_tokenizer

from .requests import (
    NOTHING,
    Row,
    Start,
    Starts,
    check_no_text,
    check_seeds,
    code_bounds,
    one_each,
)
from .result import Synthesis
from .streaming import BeingSpoken, StreamWindow, decode_while_speaking
from .voices import load_voices

# Rows that are spoken together where nothing else is asked for: each holds keys and values, of
# which the longest speech of hh-mini-slm has 13 MB.
MAX_ROWS = 16


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
                f"expected codec {lm.config.codec_fingerprint}, which this language model speaks, "
                f"got codec {codec.code_fingerprint}; load the codec it was trained with"
            )
        trained_with = lm.vocabulary.text_fingerprint
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
    def from_pretrained(cls, codec: Path | str, lm: Path | str) -> "Synthesizer":
        """Load a codec folder and a language model folder, its text model and voices included."""
        folder = pretrained_folder(lm)
        model = SpeechLM.from_pretrained(folder)
        voices = load_voices(folder, model.config.codec_fingerprint)
        tokenizer = load_tokenizer(folder)
        return cls(HHCodec.from_pretrained(codec), model, tokenizer, voices)

    def read(self, path: Path | str) -> NDArray[np.float32]:
        """A recording as a (T,) waveform at the codec's rate."""
        return read_audio(path, self.codec.sample_rate)

    def tts(
        self,
        text: str,
        *,
        prompt: NDArray[np.float32] | None = None,
        prompt_text: str | None = None,
        voice: str | None = None,
        seed: int = 0,
        settings: GenerationSettings | None = None,
        max_attempts: int = 3,
    ) -> Synthesis:
        """Speak a text; see `tts_batch`."""
        return self.tts_batch(
            [text],
            prompts=[prompt],
            prompt_texts=[prompt_text],
            voices=[voice],
            seeds=[seed],
            settings=settings,
            max_attempts=max_attempts,
        )[0]

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
        """Speak several texts at once, each in its own voice.

        The voice of a row is that of its prompt (a recording) or of its named voice; with neither
        the model speaks in whichever voice it samples. A prompt is cut to the longest the model
        was trained with. When the transcript of a prompt is given, the model instead goes on
        speaking from the whole prompt, as if it were the start of the same utterance. A model of
        aligned speech takes no more than the voice from a prompt, and cannot run away.

        Args:
            texts: What to say.
            prompts: (T,) waveforms at the codec's rate, or None, one a text.
            prompt_texts: Transcripts of the prompts, or None, one a text.
            voices: Names out of `self.voices`, or None, one a text.
            seeds: One a text; 0, 1, 2 ... when None.
            settings: How codes are drawn; as suits the model when None.
            max_attempts: Speech that ran away is drawn anew, so many times in all.
            max_rows: Most texts spoken at a time; the others wait, which bounds the memory.

        Returns:
            One result a text, in order.

        Raises:
            ValueError: A text the text model does not know, an unknown voice, a prompt and a voice
                at once, a transcript without its prompt, too much text for the model's context, or
                a count below 1.
        """
        check_attempts(max_attempts)
        if max_rows < 1:
            raise ValueError(f"expected max_rows >= 1, got {max_rows}")
        settings = settings or GenerationSettings.for_model(self.lm.config)
        count = len(texts)
        nothing = [None] * count
        columns = (
            texts,
            one_each(prompts or nothing, count, "prompts"),
            one_each(prompt_texts or nothing, count, "prompt_texts"),
            one_each(voices or nothing, count, "voices"),
        )
        rows = [Row(*row) for row in zip(*columns, strict=True)]
        row_seeds = check_seeds(one_each(range(count) if seeds is None else seeds, count, "seeds"))
        # Everything is read and checked before any speech is made.
        if self.lm.config.is_aligned:
            asked = [
                self.starts.of_aligned(row, seed) for row, seed in zip(rows, row_seeds, strict=True)
            ]
            groups = [asked[first : first + max_rows] for first in range(0, count, max_rows)]
            spoken = [each for some in groups for each in speak_aligned(self.lm, some, settings)]
            return [
                self._spoken(NOTHING, Attempts(each, seed))
                for each, seed in zip(spoken, row_seeds, strict=True)
            ]
        starts = [self.starts.of_text(row) for row in rows]
        requests = [
            self._request(start, code_bounds(self.lm.config, row.text), seed, settings)
            for row, start, seed in zip(rows, starts, row_seeds, strict=True)
        ]
        made = generate_until_ended(
            self.lm,
            requests,
            settings,
            rules=self.stop_rules,
            max_attempts=max_attempts,
            max_rows=max_rows,
        )
        return [
            self._without_given(self._spoken(start.spoken, each))
            for start, each in zip(starts, made, strict=True)
        ]

    def stream(
        self,
        text: str,
        *,
        prompt: NDArray[np.float32] | None = None,
        prompt_text: str | None = None,
        voice: str | None = None,
        seed: int = 0,
        settings: GenerationSettings | None = None,
        window: StreamWindow | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Speak a text and hand out the waveform while it is being made; see `tts`.

        The first chunk comes after `window.delay_codes` codes. Runaway speech is not drawn anew.

        Yields:
            (T,) float32; together one attempt of `tts`, up to what the decoder hears further off
            (`codec.StreamDecoder`).
        """
        speaking: BeingSpoken
        settings = settings or GenerationSettings.for_model(self.lm.config)
        given, row = NOTHING, Row(text, prompt, prompt_text, voice)
        if self.lm.config.is_aligned:
            speaking = AlignedSpeaking(self.lm, [self.starts.of_aligned(row, seed)], settings)
        else:
            start = self.starts.of_text(row)
            given = start.spoken
            fewest, most = code_bounds(self.lm.config, text)
            speaking = Speaking(
                self.lm,
                [torch.from_numpy(start.tokens)],
                settings,
                max_new_tokens=most,
                min_new_tokens=fewest,
                seeds=[seed],
                unguided=[torch.from_numpy(start.without_text)],
                rules=self.stop_rules,
            )
        window = window or StreamWindow()
        yield from decode_while_speaking(
            speaking,
            StreamDecoder(self.codec, **vars(window)),
            self.lm.vocabulary.token_to_code,
            given=given,
            hop_length=self.codec.hop_length,
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
            seed: Draws the codes.
            settings: How codes are drawn.
            max_attempts: A continuation that falls silent or loops is drawn anew, so many times in
                all.

        Raises:
            ValueError: The recording and the continuation do not fit the model's context, or a text
                for a model of aligned speech, which would have to know when its words are said.
        """
        settings = settings or GenerationSettings()
        check_seeds([seed])
        start, wanted = self.starts.of_recording(waveform, text, seconds)
        request = self._request(start, (1, wanted), seed, settings, open_end=True)
        made = generate_until_ended(
            self.lm, [request], settings, rules=self.stop_rules, max_attempts=max_attempts
        )
        return self._spoken(start.spoken, made[0])

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
        count = len(waveforms)
        given = None if prompt is None else self.starts.as_prompt(self.encode(prompt))
        documents = []
        for waveform, text in zip(
            waveforms, one_each(texts or [None] * count, count, "texts"), strict=True
        ):
            check_no_text(self.lm.config, text)
            text_ids = None if text is None else self.tokenizer.encode(text)
            codes = self.encode(waveform)
            documents.append(
                build_document(self.lm.vocabulary, codes, text_ids=text_ids, prompt=given)
            )
        return log_likelihood(self.lm, documents)

    def encode(self, waveform: NDArray[np.float32]) -> NDArray[np.int64]:
        """Codes (L,) of a waveform (T,), L = ceil(T / hop_length)."""
        with torch.no_grad():
            codes, _ = self.codec.encode(torch.from_numpy(waveform)[None])
        return codes[0].cpu().numpy()

    def decode(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Waveform (L * hop_length,) of codes (L,)."""
        with torch.no_grad():
            waveform, _ = self.codec.decode(torch.from_numpy(codes)[None])
        return waveform[0].float().cpu().numpy()

    @property
    def starts(self) -> Starts:
        """What requests are checked by, and generation starts from."""
        return Starts(
            self.lm.config,
            self.lm.vocabulary,
            self.tokenizer,
            self.voices,
            self.encode,
            self.codec.hop_length,
        )

    @cached_property
    def stop_rules(self) -> StopRules:
        """What ends runaway speech; the codec says once which of its codes are silence."""
        return StopRules(silence_codes(self.encode, self.codec.sample_rate))

    def _request(
        self,
        start: Start,
        bounds: tuple[int, int],
        seed: int,
        settings: GenerationSettings,
        *,
        open_end: bool = False,
    ) -> Request:
        """A row of generation, of so many codes at least and at most."""
        guided = settings.guidance != 1
        unguided = torch.from_numpy(start.without_text) if guided else None
        return Request(torch.from_numpy(start.tokens), *bounds, seed, unguided, open_end)

    def _spoken(self, given: NDArray[np.int64], attempts: Attempts) -> Synthesis:
        made = attempts.generation
        new = self.lm.vocabulary.token_to_code(made.tokens.numpy())
        codes = np.concatenate([given, new])
        return Synthesis(
            waveform=self.decode(codes),
            codes=codes,
            sample_rate=self.codec.sample_rate,
            num_given_codes=len(given),
            truncated=attempts.ran_away,
            log_likelihood=made.log_likelihood,
            seed=attempts.seed,
            stopped=made.stopped,
            rejected=attempts.reasons,
            attempt=attempts.attempt,
        )

    def _without_given(self, result: Synthesis) -> Synthesis:
        """Only what was made, decoded with the given codes as context."""
        given = result.num_given_codes
        waveform = result.waveform[given * self.codec.hop_length :]
        return replace(result, waveform=waveform, codes=result.codes[given:], num_given_codes=0)

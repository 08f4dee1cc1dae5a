"""Text or a recording in, speech out: codec, language model and text model as one synthesizer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from codec import HHCodec, StreamDecoder
from codec.audio import read_audio, write_audio

from .aligned_generation import AlignedRequest, AlignedSpeaking, speak_aligned
from .config import GenerationSettings
from .generation import Speaking, generate
from .model import SpeechLM, pretrained_folder
from .resampling import Attempts, Request, generate_until_ended
from .scoring import Score, log_likelihood
from .sequence import build_document, prefix_tokens
from .starts import NOTHING, Start, check_no_text, check_voice, code_bounds, one_each, text_start
from .stopping import StopRules, silence_codes
from .streaming import BeingSpoken, StreamWindow, decode_while_speaking
from .tokenizers import Tokenizer, load_tokenizer
from .voices import load_voices


@dataclass(frozen=True)
class Synthesis:
    """Speech that was made.

    Attributes:
        waveform: (T,) float32 in [-1, 1]; for a continuation, the recording as the codec gives it
            back and what follows.
        codes: (L,) int64, of the whole waveform.
        sample_rate: Hz.
        num_given_codes: Codes at the start that were given, not made (0 for text to speech).
        truncated: Whether it was cut at its longest instead of ending by itself: runaway speech.
        log_likelihood: Of the codes that were made, nats, summed.
        seed: The one it was drawn with in the end; gives the same speech again.
        stopped: "end" by itself; "limit", "silence" or "loop" where it was cut.
        rejected: Why tries were given up, the last one included where all were.
    """

    waveform: NDArray[np.float32]
    codes: NDArray[np.int64]
    sample_rate: int
    num_given_codes: int
    truncated: bool
    log_likelihood: float
    seed: int
    stopped: str = "end"
    rejected: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.waveform) / self.sample_rate

    def save(self, path: Path | str) -> None:
        """Write a 16-bit WAV or FLAC file, whole or not at all."""
        write_audio(path, self.waveform, self.sample_rate)


# A text, a prompt (T,) and its transcript, and the name of a voice.
_Row = tuple[str, NDArray[np.float32] | None, str | None, str | None]


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
    ) -> Synthesis:
        """Speak a text; see `tts_batch`."""
        return self.tts_batch(
            [text],
            prompts=[prompt],
            prompt_texts=[prompt_text],
            voices=[voice],
            seeds=[seed],
            settings=settings,
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

        Returns:
            One result a text, in order.

        Raises:
            ValueError: A text the text model does not know, an unknown voice, a prompt and a voice
                at once, a transcript without its prompt, or too much text for the model's context.
        """
        settings = settings or self.lm.config.sampling
        count = len(texts)
        nothing = [None] * count
        rows = zip(
            texts,
            one_each(prompts or nothing, count, "prompts"),
            one_each(prompt_texts or nothing, count, "prompt_texts"),
            one_each(voices or nothing, count, "voices"),
            strict=True,
        )
        row_seeds = list(one_each(range(count) if seeds is None else seeds, count, "seeds"))
        # Everything is read and checked before any speech is made.
        if self.lm.config.is_aligned:
            pairs = zip(rows, row_seeds, strict=True)
            asked = [self._aligned_request(row, seed) for row, seed in pairs]
            spoken = zip(asked, speak_aligned(self.lm, asked, settings), strict=True)
            return [self._spoken(NOTHING, Attempts(each, row.seed, ())) for row, each in spoken]
        starts = [self._tts_start(row) for row in rows]
        guided = settings.guidance != 1
        requests = [
            Request(
                torch.from_numpy(start.tokens),
                *code_bounds(self.lm.config, text),
                seed,
                torch.from_numpy(start.without_text) if guided else None,
            )
            for text, start, seed in zip(texts, starts, row_seeds, strict=True)
        ]
        made = generate_until_ended(
            self.lm, requests, settings, rules=self.stop_rules, max_attempts=max_attempts
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
        settings = settings or self.lm.config.sampling
        given, row = NOTHING, (text, prompt, prompt_text, voice)
        if self.lm.config.is_aligned:
            speaking = AlignedSpeaking(self.lm, [self._aligned_request(row, seed)], settings)
        else:
            start = self._tts_start(row)
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
    ) -> Synthesis:
        """Continue a recording by at most `seconds`; the model may end it earlier.

        A last frame of the recording that is not full (under 43 ms) is left out.

        Args:
            waveform: (T,) at the codec's rate.
            seconds: Longest continuation.
            text: Transcript of the recording and of what is to follow; None leaves it to the model.
            seed: Draws the codes.
            settings: How codes are drawn.

        Raises:
            ValueError: The recording and the continuation do not fit the model's context, or a text
                for a model of aligned speech, which would have to know when its words are said.
        """
        check_no_text(self.lm.config, text)
        given = self._encode_whole(waveform)
        wanted = max(1, round(seconds * self.codec.frame_rate))
        text_ids = None if text is None else self.tokenizer.encode(text)
        start = prefix_tokens(self.lm.vocabulary, text_ids, speech=given)
        room = self.lm.config.max_seq_len - len(start)
        if wanted > room:
            raise ValueError(
                f"expected recording and continuation within {self.lm.config.max_seq_len} tokens, "
                f"got {len(start)} + {wanted}; ask for at most "
                f"{max(0, room) / self.codec.frame_rate:.1f} s or give a shorter recording"
            )
        unguided = torch.from_numpy(prefix_tokens(self.lm.vocabulary, None, speech=given))
        made = generate(
            self.lm,
            [torch.from_numpy(start)],
            settings,
            max_new_tokens=wanted,
            seeds=[seed],
            unguided=[unguided],
        )[0]
        reasons = (made.stopped,) if made.truncated else ()
        return self._spoken(given, Attempts(made, seed, reasons))

    def score(
        self,
        waveform: NDArray[np.float32],
        *,
        text: str | None = None,
        prompt: NDArray[np.float32] | None = None,
    ) -> Score:
        """Log-likelihood of a recording's codes, given its transcript and a speaker prompt if any.

        Args:
            waveform: (T,) at the codec's rate.
            text: Its transcript.
            prompt: (T,) of another utterance of the speaker.

        Raises:
            ValueError: A text for a model of aligned speech.
        """
        check_no_text(self.lm.config, text)
        document = build_document(
            self.lm.vocabulary,
            self.encode(waveform),
            text_ids=None if text is None else self.tokenizer.encode(text),
            prompt=None if prompt is None else self._as_prompt(self.encode(prompt)),
        )
        return log_likelihood(self.lm, [document])[0]

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

    def _tts_start(self, row: _Row) -> Start:
        """What generation starts from; everything a request can get wrong is found here."""
        text, prompt, prompt_text, voice = row
        check_voice(prompt, prompt_text, voice, self.voices)
        vocabulary = self.lm.vocabulary
        if prompt is not None and prompt_text is not None:
            text_ids = self.tokenizer.encode(f"{prompt_text} {text}")
            return text_start(vocabulary, text_ids, NOTHING, self._encode_whole(prompt))
        return text_start(vocabulary, self.tokenizer.encode(text), self._voice(prompt, voice))

    def _aligned_request(self, row: _Row, seed: int) -> AlignedRequest:
        """The same for a model of aligned speech."""
        text, prompt, prompt_text, voice = row
        check_voice(prompt, prompt_text, voice, self.voices)
        units = np.array(self.tokenizer.encode(text))
        return AlignedRequest(units, self._voice(prompt, voice), seed)

    def _voice(self, prompt: NDArray[np.float32] | None, voice: str | None) -> NDArray[np.int64]:
        """Codes of a prompt or of a named voice, none without either."""
        if prompt is not None:
            return self._as_prompt(self.encode(prompt))
        return NOTHING if voice is None else self._as_prompt(self.voices[voice])

    @cached_property
    def stop_rules(self) -> StopRules:
        """What ends runaway speech; the codec says once which of its codes are silence."""
        return StopRules(silence_codes(self.encode, self.codec.sample_rate))

    def _encode_whole(self, waveform: NDArray[np.float32]) -> NDArray[np.int64]:
        """Codes without an incomplete last frame: its padding would be heard as a gap."""
        hop_length = self.codec.hop_length
        whole = len(waveform) // hop_length * hop_length
        return self.encode(waveform[:whole] if whole else waveform)

    def _as_prompt(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        return codes[: self.lm.config.max_prompt_codes]

    def _spoken(self, given: NDArray[np.int64], attempts: Attempts) -> Synthesis:
        made = attempts.generation
        new = self.lm.vocabulary.token_to_code(made.tokens.numpy())
        codes = np.concatenate([given, new])
        return Synthesis(
            waveform=self.decode(codes),
            codes=codes,
            sample_rate=self.codec.sample_rate,
            num_given_codes=len(given),
            truncated=made.truncated,
            log_likelihood=made.log_likelihood,
            seed=attempts.seed,
            stopped=made.stopped,
            rejected=attempts.reasons,
        )

    def _without_given(self, result: Synthesis) -> Synthesis:
        """Only what was made, decoded with the given codes as context."""
        given = result.num_given_codes
        waveform = result.waveform[given * self.codec.hop_length :]
        return replace(result, waveform=waveform, codes=result.codes[given:], num_given_codes=0)

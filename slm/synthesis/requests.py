"""What a request to speak may be, and what generation starts from."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from slm.data.documents import prefix_tokens
from slm.data.vocabulary import Vocabulary
from slm.generation.aligned import AlignedRequest
from slm.generation.duration_prior import length_bounds
from slm.model.config import SpeechLMConfig
from slm.text.tokenizer import Tokenizer

NOTHING = np.zeros(0, dtype=np.int64)  # no codes
Each = TypeVar("Each")


class Start(NamedTuple):
    """A row's beginning.

    Attributes:
        tokens: (S,) int64.
        spoken: (G,) codes in it that count as already spoken.
        without_text: (S',) int64, the same without its text.
    """

    tokens: NDArray[np.int64]
    spoken: NDArray[np.int64]
    without_text: NDArray[np.int64]


class Row(NamedTuple):
    """One text to be spoken.

    Attributes:
        text: What to say.
        prompt: (T,) recording whose voice to take.
        prompt_text: Its transcript.
        voice: A named voice instead.
    """

    text: str
    prompt: NDArray[np.float32] | None = None
    prompt_text: str | None = None
    voice: str | None = None


@dataclass(frozen=True)
class Starts:
    """Makes of requests what generation starts from; what they can get wrong is found here.

    Args:
        config: Of the language model.
        vocabulary: Its token layout.
        tokenizer: Its text model.
        voices: Prompts by name, (L,) codes each.
        encode: Waveform (T,) to codes (L,).
        hop_length: Samples a code.
    """

    config: SpeechLMConfig
    vocabulary: Vocabulary
    tokenizer: Tokenizer
    voices: Mapping[str, NDArray[np.int64]]
    encode: Callable[[NDArray[np.float32]], NDArray[np.int64]]
    hop_length: int

    def of_text(self, row: Row) -> Start:
        """Where speech of a text begins.

        Raises:
            ValueError: The text or its voice is none, or leaves no room for speech.
        """
        check_voice(row.prompt, row.prompt_text, row.voice, self.voices)
        if row.prompt is not None and row.prompt_text is not None:
            text_ids = self.tokenizer.encode(f"{row.prompt_text} {row.text}")
            spoken = self.encode_whole(row.prompt)
            start = text_start(self.vocabulary, text_ids, NOTHING, spoken)
        else:
            text_ids = self.tokenizer.encode(row.text)
            start = text_start(self.vocabulary, text_ids, self._voice(row))
        most = self.config.max_seq_len - code_bounds(self.config, row.text)[0]
        if len(start.tokens) > most:
            raise ValueError(
                f"expected a text and a prompt of at most {most} tokens in the model's context, "
                f"got {len(start.tokens)}; shorten the text or the prompt"
            )
        return start

    def of_aligned(self, row: Row, seed: int) -> AlignedRequest:
        """The same for a model of aligned speech.

        Raises:
            ValueError: The text or its voice is none.
        """
        check_voice(row.prompt, row.prompt_text, row.voice, self.voices)
        return AlignedRequest(np.array(self.tokenizer.encode(row.text)), self._voice(row), seed)

    def of_recording(
        self, waveform: NDArray[np.float32], text: str | None, seconds: float
    ) -> tuple[Start, int]:
        """Where the continuation of a recording (T,) begins, and how many codes were asked for.

        Raises:
            ValueError: Seconds that are none, a text that the model cannot use, or too little room.
        """
        if not (math.isfinite(seconds) and seconds > 0):
            raise ValueError(f"expected seconds > 0 to continue by, got {seconds}")
        check_no_text(self.config, text)
        rate, given = self.config.frame_rate, self.encode_whole(waveform)
        wanted = max(1, round(seconds * rate))
        text_ids = None if text is None else self.tokenizer.encode(text)
        tokens = prefix_tokens(self.vocabulary, text_ids, speech=given)
        room = self.config.max_seq_len - len(tokens)
        if wanted > room:
            raise ValueError(
                f"expected recording and continuation within {self.config.max_seq_len} tokens, "
                f"got {len(tokens)} + {wanted}; ask for at most {max(0, room) / rate:.1f} s or "
                "give a shorter recording"
            )
        return Start(tokens, given, prefix_tokens(self.vocabulary, None, speech=given)), wanted

    def as_prompt(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """As many of the codes as training used."""
        return codes[: self.config.max_prompt_codes]

    def encode_whole(self, waveform: NDArray[np.float32]) -> NDArray[np.int64]:
        """Codes without an incomplete last frame: its padding would be heard as a gap."""
        whole = len(waveform) // self.hop_length * self.hop_length
        return self.encode(waveform[:whole] if whole else waveform)

    def _voice(self, row: Row) -> NDArray[np.int64]:
        """Codes of a prompt or of a named voice, none without either."""
        if row.prompt is not None:
            return self.as_prompt(self.encode(row.prompt))
        return NOTHING if row.voice is None else self.as_prompt(self.voices[row.voice])


def text_start(
    vocabulary: Vocabulary,
    text_ids: Sequence[int],
    prompt: NDArray[np.int64],
    spoken: NDArray[np.int64] = NOTHING,
) -> Start:
    """A text in the voice of a prompt's codes (P,), its beginning (G,) spoken already if any."""
    tokens = prefix_tokens(vocabulary, text_ids, prompt, speech=spoken)
    return Start(tokens, spoken, prefix_tokens(vocabulary, None, prompt, speech=spoken))


def code_bounds(config: SpeechLMConfig, text: str) -> tuple[int, int]:
    """Fewest and most codes of a text, by what the model knows of its training's speech."""
    mean, spread = config.codes_per_character, config.duration_spread
    return length_bounds(text, mean, config.frame_rate, config.max_seq_len, spread)


def check_voice(
    prompt: Any, prompt_text: str | None, voice: str | None, voices: Collection[str]
) -> None:
    """Raise `ValueError` for a voice that is none, or that is asked for in two ways."""
    if prompt is not None and voice is not None:
        raise ValueError(f"expected a prompt or a voice, got both (voice {voice!r})")
    if prompt is None and prompt_text is not None:
        raise ValueError(f"expected a prompt with its transcript, got only {prompt_text!r}")
    if voice is not None and voice not in voices:
        raise ValueError(f"expected a voice of {sorted(voices)}, got {voice!r}")


def check_no_text(config: SpeechLMConfig, text: str | None) -> None:
    """Raise `ValueError` for the text of a recording where a model needs its alignment."""
    if text is not None and config.is_aligned:
        raise ValueError(
            "expected no text for a model of aligned speech, which cannot know when its words are "
            f"said, got {text!r}"
        )


def one_each(values: Sequence[Each], count: int, name: str) -> Sequence[Each]:
    """The values; raises `ValueError` where they are not one for each of `count` texts."""
    if len(values) != count:
        raise ValueError(f"expected {name} for {count} texts, got {len(values)}")
    return values


def check_seeds(seeds: Sequence[int]) -> Sequence[int]:
    """The seeds; raises `ValueError` for one that does not fit 64 bits."""
    for seed in seeds:
        if not -(1 << 63) <= seed < 1 << 64:
            raise ValueError(f"expected seeds in [-2 ** 63, 2 ** 64), got {seed}")
    return seeds

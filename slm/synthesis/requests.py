"""Speech requests, and the token requests that generation makes of them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from slm.data.documents import prefix_tokens
from slm.generation.codes import TokenRequest
from slm.generation.duration_prior import length_bounds
from slm.generation.interleaved import InterleavedRequest
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM

from .recordings import Recording

Each = TypeVar("Each")
# Of speech beside the pace that the model has by itself.
SPEEDS = (0.25, 4.0)
NO_CODES: NDArray[np.int64] = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class SpeechRequest:
    """A text to be spoken.

    The voice is that of the prompt or the named one; with neither the model samples one. With a
    transcript of the prompt the model instead continues the whole prompt, as if it were the start
    of the same utterance.

    Args:
        text: The text.
        prompt: Recording of the voice: a path, samples (T,) at the codec's rate, or a pair of
            samples and their rate; see `slm.synthesis.recordings.as_recording`.
        prompt_text: Transcript of the prompt.
        voice: Name of a voice instead, or the (L,) codes of one.
        seed: Of the draws, in [-2 ** 63, 2 ** 64).
        language: Of the text and the transcript, as manifests spell it; English is written out.
        speed: Times as fast as the model speaks by itself, in `SPEEDS`; another than 1 needs a
            model of aligned speech.

    Raises:
        ValueError: A text that is no string, a prompt and a voice at once, a transcript without its
            prompt, a seed that does not fit 64 bits, or a speed out of range.
    """

    text: str
    prompt: Recording | None = None
    prompt_text: str | None = None
    voice: NDArray[np.int64] | str | None = None
    seed: int = 0
    language: str = "en"
    speed: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ValueError(f"expected a text, got {self.text!r:.60}")
        if self.prompt is not None and self.voice is not None:
            raise ValueError(f"expected a prompt or a voice, got both (voice {self.voice!r})")
        if self.prompt is None and self.prompt_text is not None:
            raise ValueError(
                f"expected a prompt with its transcript, got no prompt for {self.prompt_text!r}"
            )
        check_seed(self.seed)
        check_speed(self.speed)


def text_request(
    lm: SpeechLM,
    text: str,
    text_ids: Sequence[int],
    seed: int,
    *,
    prompt: NDArray[np.int64] = NO_CODES,
    given: NDArray[np.int64] = NO_CODES,
    own_ids: Sequence[int] | None = None,
) -> TokenRequest:
    """The codes of a text, in number as its characters let expect.

    Args:
        lm: Generates them.
        text: The text.
        text_ids: Its ids, after those of what is already spoken.
        seed: Of the draws.
        prompt: (P,) codes of the voice.
        given: (G,) codes that the speech begins with.
        own_ids: Ids of the text alone, where others stand before them in `text_ids`.

    Raises:
        ValueError: Text and prompt leave no room for speech.
    """
    config = lm.config
    # The bounds are of the text alone, what is given not counted.
    fewest, most = code_bounds(config, text)
    tokens = prefix_tokens(lm.vocabulary, text_ids, prompt, speech=given)
    room = config.max_seq_len - fewest
    if len(tokens) > room:
        raise ValueError(
            f"expected a text and a prompt of at most {room} tokens in the model's context, "
            f"got {len(tokens)}; shorten the text or the prompt, or synthesize each sentence alone "
            "(--long, speak_long)"
        )
    # Guidance leads away from the same voice without the text.
    unguided = prefix_tokens(lm.vocabulary, None, prompt, speech=given)
    return TokenRequest(
        torch.from_numpy(tokens),
        most,
        fewest,
        seed,
        torch.from_numpy(unguided),
        num_given=len(given),
        # Guidance on the voice leads away from the text alone, in whatever voice.
        unprompted=torch.from_numpy(prefix_tokens(lm.vocabulary, own_ids or text_ids)),
    )


def interleaved_request(
    lm: SpeechLM, text: str, text_ids: Sequence[int], seed: int, prompt: NDArray[np.int64]
) -> InterleavedRequest:
    """The codes of a text in turns with it; arguments as of `text_request`."""
    fewest, most = code_bounds(lm.config, text)
    return InterleavedRequest(np.array(text_ids), most, fewest, prompt, seed)


def continuation_request(
    lm: SpeechLM,
    text_ids: Sequence[int] | None,
    given: NDArray[np.int64],
    seconds: float,
    seed: int,
) -> TokenRequest:
    """The continuation of a recording's codes (G,) by at most `seconds`.

    Raises:
        ValueError: Seconds that are not finite and above 0, or too little room for them.
    """
    check_seconds(seconds)
    rate = lm.config.frame_rate
    wanted = max(1, round(seconds * rate))  # codes
    tokens = prefix_tokens(lm.vocabulary, text_ids, speech=given)
    room = lm.config.max_seq_len - len(tokens)
    if wanted > room:
        raise ValueError(
            f"expected recording and continuation within {lm.config.max_seq_len} tokens, "
            f"got {len(tokens)} + {wanted}; ask for at most {max(0, room) / rate:.1f} s or "
            "give a shorter recording"
        )
    unguided = prefix_tokens(lm.vocabulary, None, speech=given)
    return TokenRequest(
        torch.from_numpy(tokens),
        wanted,
        1,
        seed,
        torch.from_numpy(unguided),
        open_end=True,
        num_given=len(given),
        # What is continued is no prompt: guidance on it changes nothing here.
        unprompted=torch.from_numpy(tokens),
    )


def code_bounds(config: SpeechLMConfig, text: str) -> tuple[int, int]:
    """Fewest and most codes of a text, by the speech the model was trained on."""
    mean, spread = config.codes_per_character, config.duration_spread
    return length_bounds(text, mean, config.frame_rate, config.max_seq_len, spread)


def check_seed(seed: int) -> None:
    """Raise `ValueError` for what is no whole number of 64 bits."""
    is_whole = isinstance(seed, Integral) and not isinstance(seed, bool)
    if not (is_whole and -(1 << 63) <= seed < 1 << 64):
        raise ValueError(f"expected seeds in [-2 ** 63, 2 ** 64), got {seed!r}")


def check_speed(speed: float) -> None:
    """Raise `ValueError` for a speed that is no number in `SPEEDS`."""
    is_number = isinstance(speed, Real) and not isinstance(speed, bool)
    if not (is_number and SPEEDS[0] <= speed <= SPEEDS[1]):
        raise ValueError(f"expected a speed in [{SPEEDS[0]:g}, {SPEEDS[1]:g}], got {speed!r}")


def check_seconds(seconds: float) -> None:
    """Raise `ValueError` for seconds to continue by that are not finite and above 0."""
    if not (isinstance(seconds, Real) and math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"expected seconds > 0 to continue by, got {seconds!r}")


def check_no_text(config: SpeechLMConfig, text: str | None) -> None:
    """Raise `ValueError` for the text of a recording where a model needs its alignment."""
    if text is not None and config.is_aligned:
        raise ValueError(
            "expected no text for a model of aligned speech, which has no times of its words, "
            f"got {text!r}"
        )


def not_one(values: Sequence[Any], name: str) -> None:
    """Raise `ValueError` for a single text or path in place of several, a sequence of letters."""
    if isinstance(values, str | bytes | os.PathLike):
        raise ValueError(f"expected a list of {name}, got the single {values!r:.80}")


def one_each(values: Sequence[Each], count: int, name: str) -> Sequence[Each]:
    """The values; raises `ValueError` where they are not one for each of `count` texts."""
    not_one(values, name)
    if len(values) != count:
        raise ValueError(f"expected {name} for {count} texts, got {len(values)}")
    return values

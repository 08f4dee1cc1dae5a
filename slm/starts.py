"""What a request to speak may be, and what generation starts from."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .config import SpeechLMConfig
from .duration import length_bounds
from .sequence import prefix_tokens
from .vocabulary import Vocabulary

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

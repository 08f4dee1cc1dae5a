"""Documents: how text, a speaker prompt and speech become one token sequence.

    plain TTS       <bos> <text> t .. <speech> c .. <eos>
    zero-shot TTS   <bos> <prompt> p .. <text> t .. <speech> c .. <eos>
    speech only     <bos> <speech> c .. <eos>            (continuation; a prompt may come first)

The prompt holds codes of another utterance of the same speaker. It carries the voice, so that one
model speaks in many voices, ones it never trained on included, without a name for any.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .vocabulary import Vocabulary


class Document(NamedTuple):
    """One training document.

    Attributes:
        tokens: (S,) int64.
        loss_weights: (S,) float32, weight of predicting each token from those before it.
    """

    tokens: np.ndarray
    loss_weights: np.ndarray


def prefix_tokens(
    vocabulary: Vocabulary,
    text_ids: Sequence[int] | None = None,
    prompt: Sequence[int] | np.ndarray | None = None,
    *,
    speech: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Everything of a document up to where speech goes on; what generation starts from.

    Args:
        vocabulary: Token layout.
        text_ids: Ids of the text tokenizer; None for speech-only.
        prompt: Codes of another utterance of the speaker; None for no prompt.
        speech: Codes already spoken, which generation continues.

    Returns:
        (S,) int64, S = document_length(...) - 1 with `speech` as its codes.
    """
    parts: list[np.ndarray] = [np.array([vocabulary.bos_id])]
    if prompt is not None and len(prompt):
        parts += [np.array([vocabulary.prompt_id]), vocabulary.code_to_token(prompt)]
    if text_ids is not None:
        parts += [np.array([vocabulary.text_id]), vocabulary.text_to_token(text_ids)]
    parts.append(np.array([vocabulary.speech_id]))
    if speech is not None and len(speech):
        parts.append(vocabulary.code_to_token(speech))
    return np.concatenate(parts)


def build_document(
    vocabulary: Vocabulary,
    codes: Sequence[int] | np.ndarray,
    *,
    text_ids: Sequence[int] | None = None,
    prompt: Sequence[int] | np.ndarray | None = None,
    text_loss_weight: float = 0.0,
) -> Document:
    """A whole document, with loss on its speech and end (and, lightly if asked, on its text).

    Args:
        vocabulary: Token layout.
        codes: Codes of the utterance, (L,).
        text_ids: Its transcript; None for speech-only.
        prompt: Codes of another utterance of the speaker, never counted in the loss.
        text_loss_weight: Weight of text tokens.
    """
    start = prefix_tokens(vocabulary, text_ids, prompt)
    end = np.array([vocabulary.eos_id])
    tokens = np.concatenate([start, vocabulary.code_to_token(codes), end])
    weights = np.zeros(len(tokens), dtype=np.float32)
    weights[len(start) :] = 1.0
    if text_ids is not None and len(text_ids):
        stop = len(start) - 1  # the last of the prefix is <speech>
        weights[stop - len(text_ids) : stop] = text_loss_weight
    return Document(tokens, weights)


def document_length(num_codes: int, num_text: int | None, num_prompt: int) -> int:
    """Tokens of a document: codes + 3, and text + 1 and prompt + 1 where there is one."""
    text = 0 if num_text is None else num_text + 1
    prompt = num_prompt + 1 if num_prompt else 0
    return num_codes + 3 + text + prompt

"""Documents: how text, a speaker prompt and speech become one token sequence.

    plain TTS       <bos> <text> t .. <speech> c .. <eos>
    zero-shot TTS   <bos> <prompt> p .. <text> t .. <speech> c .. <eos>
      transcribed   <bos> <text> t' .. t .. <speech> p .. c .. <eos>    (p is speech of t')
    speech only     <bos> <speech> c .. <eos>            (continuation; a prompt may come first)
    interleaved     <bos> <text> t .. <speech> c .. <text> t .. <speech> c .. <eos>
                    (a prompt may come first)
    aligned         <bos> <text> u1 .. uk  u(k+1) d1 c .. c  u(k+2) d2 c .. c  ..  <eos>
    transcription   <bos> <speech> c .. <text> t .. <eos>          (speech to text)

In an aligned document units (phones and pauses) run k ahead of the speech, and before the codes of
a unit stands d, their number. `<speech>` stands for the units beyond the last. After ELLA-V
(https://arxiv.org/abs/2401.07333), in which phones and codes take turns, too.

The prompt holds codes of another utterance of the same speaker, or the first part of the utterance
whose rest follows, where the speaker has no other. It carries the voice, so that one
model has many voices, ones it never trained on included, without a name for any. Loss falls on the
codes of the utterance itself and on the end, never on a prompt; in a transcription on the text and
the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from slm.text.phone_tokenizer import DURATION_START

from .alignment import Alignment
from .vocabulary import Vocabulary

# Of one document, or of many.
Count = TypeVar("Count", int, np.ndarray)


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
    text_ids: Sequence[int] | np.ndarray | None = None,
    prompt: Sequence[int] | np.ndarray | None = None,
    *,
    speech: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """A document up to where speech goes on, (S,) int64; what generation starts from.

    Args:
        vocabulary: Token layout.
        text_ids: Ids of the text tokenizer; None for speech-only.
        prompt: Codes of another utterance of the speaker; None for no prompt.
        speech: Codes that generation continues.
    """
    parts = _opening(vocabulary, prompt)
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
    text_ids: Sequence[int] | np.ndarray | None = None,
    prompt: Sequence[int] | np.ndarray | None = None,
    spoken_before: Sequence[int] | np.ndarray = (),
    text_loss_weight: float = 0.0,
) -> Document:
    """A whole document, with loss on its speech and end, and on its text if asked.

    Args:
        vocabulary: Token layout.
        codes: Codes of the utterance, (L,).
        text_ids: Its transcript; None for speech-only.
        prompt: Codes of another utterance of the speaker, never counted in the loss.
        spoken_before: Codes of another utterance of the speaker whose transcript opens `text_ids`,
            never counted in the loss.
        text_loss_weight: Weight of text tokens.
    """
    start = prefix_tokens(vocabulary, text_ids, prompt, speech=spoken_before)
    end = np.array([vocabulary.eos_id])
    tokens = np.concatenate([start, vocabulary.code_to_token(codes), end])
    weights = np.zeros(len(tokens), dtype=np.float32)
    weights[len(start) :] = 1.0  # the codes and the end
    if text_ids is not None and len(text_ids):
        stop = len(start) - len(spoken_before) - 1  # <speech> lies between
        weights[stop - len(text_ids) : stop] = text_loss_weight
    return Document(tokens, weights)


def build_interleaved(
    vocabulary: Vocabulary,
    codes: Sequence[int] | np.ndarray,
    text_ids: Sequence[int] | np.ndarray,
    *,
    every: tuple[int, int],
    prompt: Sequence[int] | np.ndarray | None = None,
    text_loss_weight: float = 0.0,
) -> Document:
    """Text and speech of one utterance taking turns, so that speech can begin before text ends.

    Turns are counted, not aligned to words; the last takes what is left of both. Codes and the end
    weigh 1 in the loss, markers 0.

    Args:
        vocabulary: Token layout.
        codes: Codes of the utterance, (L,).
        text_ids: Its transcript, at least one id.
        every: Text tokens and codes of a turn.
        prompt: Codes of another utterance of the speaker, never counted in the loss.
        text_loss_weight: Weight of text tokens.
    """
    text, speech = vocabulary.text_to_token(text_ids), vocabulary.code_to_token(codes)
    turns = interleaved_turns(len(speech), len(text), every)
    tokens = _opening(vocabulary, prompt)
    weights: list[np.ndarray] = [np.zeros(sum(map(len, tokens)))]
    for turn in range(turns):
        last = turn == turns - 1
        # A turn: <text>, some text, <speech>, some codes.
        for marker, source, size, weight in (
            (vocabulary.text_id, text, every[0], text_loss_weight),
            (vocabulary.speech_id, speech, every[1], 1.0),
        ):
            part = source[turn * size : None if last else (turn + 1) * size]
            tokens += [np.array([marker]), part]
            weights += [np.zeros(1), np.full(len(part), weight)]
    tokens.append(np.array([vocabulary.eos_id]))
    weights.append(np.ones(1))
    return Document(np.concatenate(tokens), np.concatenate(weights).astype(np.float32))


def transcription_prefix(vocabulary: Vocabulary, codes: Sequence[int] | np.ndarray) -> np.ndarray:
    """A transcription up to where its text begins, (L + 3,) int64; recognition starts from it."""
    parts = [[vocabulary.bos_id, vocabulary.speech_id], vocabulary.code_to_token(codes)]
    return np.concatenate([*parts, [vocabulary.text_id]]).astype(np.int64)


def build_transcription(
    vocabulary: Vocabulary,
    codes: Sequence[int] | np.ndarray,
    text_ids: Sequence[int] | np.ndarray,
    *,
    code_loss_weight: float = 0.0,
) -> Document:
    """Speech, then its text: the text and the end weigh 1 in the loss. No prompt comes first.

    Its length is that of a plain document, `document_length`.

    Args:
        vocabulary: Token layout.
        codes: Codes of the utterance, (L,).
        text_ids: Its transcript.
        code_loss_weight: Weight of the codes.
    """
    start = transcription_prefix(vocabulary, codes)
    text = vocabulary.text_to_token(text_ids)
    tokens = np.concatenate([start, text, [vocabulary.eos_id]])
    weights = np.ones(len(tokens), dtype=np.float32)
    # The markers cannot be predicted: the task that is asked for puts them there.
    weights[: len(start)] = 0.0
    weights[2 : len(start) - 1] = code_loss_weight
    return Document(tokens, weights)


def aligned_prefix(
    vocabulary: Vocabulary,
    units: np.ndarray,
    lookahead: int,
    prompt: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """An aligned document before its first duration, (S,) int64; see `build_aligned`."""
    ahead = unit_tokens(vocabulary, units, lookahead)[: lookahead + 1]
    return np.concatenate([*_opening(vocabulary, prompt), [vocabulary.text_id], ahead])


def unit_tokens(vocabulary: Vocabulary, units: np.ndarray, lookahead: int) -> np.ndarray:
    """Units of an aligned document, then `lookahead` times `<speech>`: (N + lookahead,) int64."""
    behind = np.full(lookahead, vocabulary.speech_id)
    return np.concatenate([vocabulary.text_to_token(units), behind])


def build_aligned(
    vocabulary: Vocabulary,
    codes: Sequence[int] | np.ndarray,
    alignment: Alignment,
    *,
    lookahead: int,
    prompt: Sequence[int] | np.ndarray | None = None,
    duration_loss_weight: float = 1.0,
) -> Document:
    """A document in which text runs a little ahead of the speech it is aligned with.

    Args:
        vocabulary: Token layout.
        codes: Codes of the utterance, (L,).
        alignment: Its units, whose counts sum up to L.
        lookahead: Units ahead of the one whose codes follow, >= 1.
        prompt: Codes of another utterance of the speaker, never counted in the loss.
        duration_loss_weight: Weight of durations; codes and the end weigh 1.

    Raises:
        ValueError: The counts do not sum up to L.
    """
    speech = vocabulary.code_to_token(codes)
    units, counts = alignment
    if counts.sum() != len(speech):
        raise ValueError(f"expected counts of {len(speech)} codes, got {counts.sum()}")
    start = aligned_prefix(vocabulary, units, lookahead, prompt)
    ahead = unit_tokens(vocabulary, units, lookahead)[lookahead:]
    durations = vocabulary.text_to_token(DURATION_START + counts)
    # Body: d1 c .. c  u d2 c .. c  u d3 ..; where each duration stands in it:
    at = 2 * np.arange(len(durations)) + np.cumsum(counts) - counts
    body = np.zeros(len(speech) + 2 * len(durations) - 1, dtype=np.int64)
    weights = np.ones(len(body), dtype=np.float32)
    body[at], weights[at] = durations, duration_loss_weight
    # A unit ahead stands right before every duration but the first; units carry no loss.
    body[at[1:] - 1], weights[at[1:] - 1] = ahead[1:], 0.0
    is_code = np.ones(len(body), dtype=bool)
    is_code[at] = is_code[at[1:] - 1] = False
    body[is_code] = speech
    tokens = np.concatenate([start, body, [vocabulary.eos_id]])
    return Document(
        tokens, np.concatenate([np.zeros(len(start)), weights, [1.0]]).astype(np.float32)
    )


def aligned_length(num_codes: Count, num_units: Count, lookahead: int, num_prompt: int) -> Count:
    """Tokens of an aligned document: codes + 2 units + lookahead + 3, and prompt + 1 if any."""
    return num_codes + 2 * num_units + lookahead + 3 + (num_prompt + 1 if num_prompt else 0)


def interleaved_turns(num_codes: int, num_text: int, every: tuple[int, int]) -> int:
    """Turns of an interleaved document, >= 1; its length is text + codes + 2 turns + 2."""
    return max(1, min(-(-num_text // every[0]), -(-num_codes // every[1])))


def document_length(num_codes: int, num_text: int | None, num_prompt: int) -> int:
    """Tokens of a document: codes + 3, and text + 1 and prompt + 1 where there is one."""
    text = 0 if num_text is None else num_text + 1
    prompt = num_prompt + 1 if num_prompt else 0
    return num_codes + 3 + text + prompt


def _opening(vocabulary: Vocabulary, prompt: Sequence[int] | np.ndarray | None) -> list[np.ndarray]:
    """`<bos>`, and `<prompt>` with its codes if there are any."""
    parts = [np.array([vocabulary.bos_id])]
    if prompt is not None and len(prompt):
        parts += [np.array([vocabulary.prompt_id]), vocabulary.code_to_token(prompt)]
    return parts

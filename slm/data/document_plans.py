"""Plans of training documents: the form of each item, its prompt and its length, from draws."""

from __future__ import annotations

from typing import NamedTuple, get_type_hints

import numpy as np

from .alignment import cut_near, rest_after
from .config import DocumentSettings
from .corpus_index import NONE, CorpusIndex
from .documents import aligned_length, document_length


class DocumentPlan(NamedTuple):
    """Composition of one document of an epoch.

    Attributes:
        item: Its number in the `CorpusIndex`.
        prompt_item: Another utterance, -1 for no prompt; the item itself where its first part is
            the prompt and the rest what is spoken.
        prompt_start: First code of the prompt in it.
        prompt_codes: Codes of the prompt.
        length: Tokens.
        with_text: Whether its text comes with it.
        prompt_text: The prompt is a whole utterance whose transcript comes before the text.
        interleaved: Text and speech take turns.
        aligned: Units and durations stand between the codes.
        transcribed: The text comes after the codes.
    """

    item: int
    prompt_item: int
    prompt_start: int
    prompt_codes: int
    length: int
    with_text: bool
    prompt_text: bool
    interleaved: bool
    aligned: bool
    transcribed: bool


PLAN = np.dtype(
    [
        (name, np.int32 if kind is int else np.bool_)
        for name, kind in get_type_hints(DocumentPlan).items()
    ]
)


def plan_documents(
    index: CorpusIndex,
    settings: DocumentSettings,
    numbers: np.ndarray,
    draws: np.ndarray,
    seq_len: int,
    tasks: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Plan the documents of some items (M,) from seven uniform numbers each, (M, 7).

    One more each, `tasks` (M,), decides which are transcriptions; None for none.

    Returns:
        Every field of `PLAN`, (M,).
    """
    num_codes, num_text = index.num_codes[numbers], index.num_text[numbers]
    # Speech and then its text, as long as text and then speech;
    transcribed = np.zeros(len(numbers), dtype=bool)
    if tasks is not None:
        transcribed = (num_text > 0) & (tasks < settings.transcribe_probability)
    # text and speech, or speech alone;
    keeps_text = transcribed | (draws[:, 0] >= settings.text_drop_probability)
    with_text = keeps_text & (num_text != NONE)
    length = document_length(0, None, 0) + num_codes + np.where(with_text, num_text + 1, 0)
    # aligned, where there is an alignment;
    aligned = np.zeros(len(numbers), dtype=bool)
    if index.num_units is not None:
        aligned = keeps_text & (index.num_units[numbers] != NONE)
        length = np.where(aligned, index.aligned_lengths(numbers), length)
    # interleaved, where that still fits.
    turns = np.minimum(
        -(-num_text // settings.interleave_text), -(-num_codes // settings.interleave_codes)
    )
    turned = length + 2 * (np.maximum(turns, 1) - 1)
    interleaved = with_text & ~transcribed & (num_text > 0) & (turned <= seq_len)
    interleaved &= draws[:, 6] < settings.interleave_probability
    length = np.where(interleaved, turned, length)
    plan = {
        "item": numbers,
        "prompt_item": np.full(len(numbers), NONE, dtype=np.int32),
        "prompt_start": np.zeros(len(numbers), dtype=np.int32),
        "prompt_codes": np.zeros(len(numbers), dtype=np.int32),
        "length": length,
        "with_text": with_text,
        "prompt_text": np.zeros(len(numbers), dtype=bool),
        "interleaved": interleaved,
        "aligned": aligned,
        "transcribed": transcribed,
    }
    prompted = draws[:, 1] < settings.prompt_probability
    prompted &= ~transcribed & (~interleaved | settings.prompt_interleaved)
    _add_prompts(plan, index, settings, np.flatnonzero(prompted), draws, seq_len)
    return plan


def _add_prompts(
    plan: dict[str, np.ndarray],
    index: CorpusIndex,
    settings: DocumentSettings,
    at: np.ndarray,
    draws: np.ndarray,
    seq_len: int,
) -> None:
    """Let the documents `at` of a plan open with another utterance, where there is room."""
    other = index.others(plan["item"][at], draws[at, 2])
    if settings.own_recording_prompts:
        _add_own_prompts(plan, index, settings, at[other == NONE], draws, seq_len)
    at, other = at[other != NONE], other[other != NONE]
    draws, length = draws[at], plan["length"][at]
    codes, text = index.num_codes[other], index.num_text[other]
    # Another whole utterance and its transcript, where that is possible,
    whole = plan["with_text"][at] & ~plan["interleaved"][at]
    whole &= draws[:, 5] < settings.prompt_text_probability
    whole &= (text != NONE) & (codes <= settings.max_prompt_codes)
    whole &= length + text + codes <= seq_len
    # else a piece of it.
    longest = np.minimum(np.minimum(codes, settings.max_prompt_codes), seq_len - length - 1)
    cut = ~whole & (longest >= settings.min_prompt_codes)
    span = longest - settings.min_prompt_codes + 1
    taken = settings.min_prompt_codes + (draws[:, 3] * span).astype(np.int32)
    start = (draws[:, 4] * (codes - taken + 1)).astype(np.int32)
    prompted = whole | cut
    longer = np.where(whole, text + codes, taken + 1)
    plan["prompt_item"][at[prompted]] = other[prompted]
    plan["prompt_start"][at[cut]] = start[cut]
    plan["prompt_codes"][at[prompted]] = np.where(whole, codes, taken)[prompted]
    plan["length"][at[prompted]] = (length + longer)[prompted]
    plan["prompt_text"][at[whole]] = True


def _add_own_prompts(
    plan: dict[str, np.ndarray],
    index: CorpusIndex,
    settings: DocumentSettings,
    at: np.ndarray,
    draws: np.ndarray,
    seq_len: int,
) -> None:
    """Let the first part of the documents `at` of a plan be the prompt of their rest."""
    shortest = settings.min_prompt_codes
    for each in at[~plan["with_text"][at]].tolist():
        item = int(plan["item"][each])
        codes = int(index.num_codes[item])
        # Both parts have enough of the voice; the prompt is no longer than any other.
        longest = min(settings.max_prompt_codes, codes - shortest)
        if longest < shortest:
            continue
        cut: int | None = shortest + int(draws[each, 3] * (longest - shortest + 1))
        length = document_length(codes - cut, None, cut)
        alignment = index.alignment(item) if index.has_alignment(item) else None
        if alignment is not None:
            cut = cut_near(alignment, cut, shortest, longest)
        if cut is None:
            continue
        if plan["aligned"][each]:
            assert alignment is not None
            units = len(rest_after(alignment, cut).units)
            length = aligned_length(codes - cut, units, settings.lookahead, cut)
        if length > seq_len:
            continue
        plan["prompt_item"][each], plan["prompt_codes"][each] = item, cut
        plan["length"][each] = length

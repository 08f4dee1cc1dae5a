"""What an epoch of training reads: every document and the row it is packed into, as arrays.

A document costs 24 bytes, a row 8 more. Items are planned a block at a time from numbers that the
generator gives one after another, so that the plan does not depend on the size of the blocks.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np

from .config import DocumentSettings
from .corpus_index import NONE, CorpusIndex
from .documents import document_length

PACKING_BLOCK = 8192  # documents packed together; bounds the cost of a large corpus
_PLANNING_BLOCK = 1 << 18  # items planned together


class DocumentPlan(NamedTuple):
    """What one document of an epoch is made of.

    Attributes:
        item: Its number in `CorpusIndex`.
        prompt_item: Another utterance, -1 for no prompt.
        prompt_start: First code of the prompt in it.
        prompt_codes: Codes of the prompt.
        length: Tokens.
        with_text: Whether its text comes with it.
        prompt_text: The prompt is spoken first, and its transcript comes with it.
        interleaved: Text and speech take turns.
        aligned: Units and durations stand between the codes.
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


PLAN = np.dtype(
    [
        (name, np.int32 if kind is int else np.bool_)
        for name, kind in DocumentPlan.__annotations__.items()
    ]
)


class Epoch(Sequence[list[DocumentPlan]]):
    """The rows of an epoch in the order they are trained on, each the plans of its documents.

    Args:
        plans: Of all documents, `PLAN` (N,), those of a row beside each other.
        ends: Documents up to the end of each row, int64 (R,).
    """

    def __init__(self, plans: np.ndarray, ends: np.ndarray) -> None:
        self._plans, self._ends = plans, ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> list[DocumentPlan]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[DocumentPlan]]: ...

    def __getitem__(self, index: int | slice) -> list[DocumentPlan] | list[list[DocumentPlan]]:
        """The documents of a row, or of each row of a slice."""
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        stop = self._ends[index]
        start = self._ends[index - 1] if index % len(self) else 0
        return [DocumentPlan(*plan) for plan in self._plans[start:stop].tolist()]

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents together."""
        return int(self._plans["length"].sum(dtype=np.int64))


def plan_epoch(
    items: CorpusIndex, settings: DocumentSettings, *, seq_len: int, seed: int, epoch: int
) -> Epoch:
    """Draw the documents of an epoch and pack them; a pure function of its arguments.

    Args:
        items: All of them, of which `settings.shares` leaves some out.
        settings: Chances of prompts, of leaving text out and so on.
        seq_len: Tokens of a row, >= the length of every item's bare document.
        seed: >= 0.
        epoch: >= 0.
    """
    generator = np.random.default_rng([seed, epoch])
    # Of streams of their own: kinds of documents that came later change no earlier draw.
    later = np.random.default_rng([seed, epoch, 1])
    order = generator.permutation(len(items))
    plans = np.empty(len(items), dtype=PLAN)
    for numbers in _blocks(len(items), _PLANNING_BLOCK):
        draws = [generator.random((len(numbers), 5)), later.random((len(numbers), 2))]
        planned = _planned(items, settings, numbers, np.concatenate(draws, axis=1), seq_len)
        for name, values in planned.items():
            plans[name][numbers] = values
    if items.shares is not None:
        kept = np.random.default_rng([seed, epoch, 2]).random(len(items)) < items.shares
        order = order[kept[order]]
    packed, counts = _packed(plans["length"][order], seq_len)
    # Packing puts long documents first; a batch should hold a fair mix.
    mixed = generator.permutation(len(counts))
    ends = np.cumsum(counts)
    lengths = counts[mixed]
    # Places of the documents of row mixed[0], then of mixed[1], ...
    new_ends = np.cumsum(lengths)
    places = np.repeat(ends[mixed] - new_ends, lengths) + np.arange(len(packed))
    return Epoch(plans[order[packed[places]]], new_ends)


def pack_best_fit(lengths: Sequence[int] | np.ndarray, seq_len: int) -> list[list[int]]:
    """Best-fit decreasing: each document, longest first, joins the row it leaves least room in.

    Args:
        lengths: Tokens of each document, at most `seq_len`.
        seq_len: Tokens of a row.

    Returns:
        The documents of each row by their numbers.
    """
    lengths = np.asarray(lengths)
    most = len(lengths) + 1  # rows; free tokens * most + row sorts by both
    rows: list[list[int]] = []
    room: list[int] = []
    order = np.argsort(-lengths, kind="stable")
    for document, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        place = bisect_left(room, length * most)
        if place == len(room):
            insort(room, (seq_len - length) * most + len(rows))
            rows.append([document])
        else:
            space = room.pop(place)
            rows[space % most].append(document)
            insort(room, space - length * most)
    return rows


def _packed(lengths: np.ndarray, seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    """Documents row after row, int32 (N,), and how many each row has, int64 (R,)."""
    documents, counts = [], []
    for numbers in _blocks(len(lengths), PACKING_BLOCK):
        rows = pack_best_fit(lengths[numbers], seq_len)
        counts.append(np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)))
        flat = np.fromiter((each for row in rows for each in row), np.int32, len(numbers))
        documents.append(flat + numbers[0])
    return np.concatenate(documents), np.concatenate(counts)


def _blocks(count: int, size: int) -> Iterator[np.ndarray]:
    """The numbers from 0 to `count`, int32, `size` at a time."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count), dtype=np.int32)


def _planned(
    items: CorpusIndex,
    settings: DocumentSettings,
    numbers: np.ndarray,
    draws: np.ndarray,
    seq_len: int,
) -> dict[str, np.ndarray]:
    """The documents of some items from seven uniform numbers each: every field of `PLAN`, (M,)."""
    num_codes, num_text = items.num_codes[numbers], items.num_text[numbers]
    keeps_text = draws[:, 0] >= settings.text_drop_probability
    with_text = keeps_text & (num_text != NONE)
    length = document_length(0, None, 0) + num_codes + np.where(with_text, num_text + 1, 0)
    aligned = np.zeros(len(numbers), dtype=bool)
    if items.num_units is not None:
        aligned = keeps_text & (items.num_units[numbers] != NONE)
        length = np.where(aligned, items.aligned_lengths(numbers), length)
    turns = np.minimum(
        -(-num_text // settings.interleave_text), -(-num_codes // settings.interleave_codes)
    )
    turned = length + 2 * (np.maximum(turns, 1) - 1)
    interleaved = with_text & (num_text > 0) & (turned <= seq_len)
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
    }
    prompted = ~interleaved & (draws[:, 1] < settings.prompt_probability)
    _add_prompts(plan, items, settings, np.flatnonzero(prompted), draws, seq_len)
    return plan


def _add_prompts(
    plan: dict[str, np.ndarray],
    items: CorpusIndex,
    settings: DocumentSettings,
    places: np.ndarray,
    draws: np.ndarray,
    seq_len: int,
) -> None:
    """Let documents at some places of a plan open with another utterance, where there is room."""
    other = items.others(plan["item"][places], draws[places, 2])
    places, other = places[other != NONE], other[other != NONE]
    draws, length = draws[places], plan["length"][places]
    codes, text = items.num_codes[other], items.num_text[other]
    # Another whole utterance and its transcript, where that is possible,
    whole = plan["with_text"][places] & (draws[:, 5] < settings.prompt_text_probability)
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
    plan["prompt_item"][places[prompted]] = other[prompted]
    plan["prompt_start"][places[cut]] = start[cut]
    plan["prompt_codes"][places[prompted]] = np.where(whole, codes, taken)[prompted]
    plan["length"][places[prompted]] = (length + longer)[prompted]
    plan["prompt_text"][places[whole]] = True

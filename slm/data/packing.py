"""Packing: the documents of an epoch and the rows they are packed into, as arrays.

A document costs 25 bytes, a row 8 more. Items are planned a block at a time from numbers that the
generator gives one after another, so that the plan does not depend on the size of the blocks.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

import numpy as np

from .config import DocumentSettings
from .corpus_index import CorpusIndex
from .document_plans import PLAN, DocumentPlan, plan_documents

PACKING_BLOCK = 8192  # documents packed together; bounds the cost of a large corpus
_PLANNING_BLOCK = 1 << 18  # items planned together


class Epoch:
    """Rows of an epoch in the order they are trained on, each the plans of its documents.

    Args:
        plans: Of all documents, `PLAN` (N,), those of a row beside each other.
        ends: Documents up to the end of each row, int64 (R,).
    """

    def __init__(self, plans: np.ndarray, ends: np.ndarray) -> None:
        self._plans, self._ends = plans, ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: int) -> list[DocumentPlan]:
        """The documents of a row in [0, R)."""
        start = self._ends[row - 1] if row else 0
        return [DocumentPlan(*plan) for plan in self._plans[start : self._ends[row]].tolist()]

    def __iter__(self) -> Iterator[list[DocumentPlan]]:
        return (self[row] for row in range(len(self)))

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents together."""
        return int(self._plans["length"].sum(dtype=np.int64))


def plan_epoch(
    index: CorpusIndex, settings: DocumentSettings, *, seq_len: int, seed: int, epoch: int
) -> Epoch:
    """Draw the documents of an epoch and pack them; a pure function of its arguments.

    Args:
        index: Of all items, of which `settings.shares` leaves some out and
            `settings.speaker_power` takes some more than once.
        settings: Of the documents.
        seq_len: Tokens of a row, >= the length of every item's bare document.
        seed: >= 0.
        epoch: >= 0.
    """
    generator = np.random.default_rng([seed, epoch])
    # 0. Random streams of their own: kinds of documents that came later change no earlier draw.
    later = np.random.default_rng([seed, epoch, 1])
    transcriptions = np.random.default_rng([seed, epoch, 5])
    # 1. Draw every document.
    items = _drawn_items(index, np.random.default_rng([seed, epoch, 3]))
    count = len(index) if items is None else len(items)
    order = generator.permutation(count)
    plans = np.empty(count, dtype=PLAN)
    for numbers in _blocks(count, _PLANNING_BLOCK):
        draws = np.concatenate(
            [generator.random((len(numbers), 5)), later.random((len(numbers), 2))], axis=1
        )
        of = numbers if items is None else items[numbers]
        tasks = transcriptions.random(len(numbers))
        planned = plan_documents(index, settings, of, draws, seq_len, tasks)
        for name, values in planned.items():
            plans[name][numbers] = values
    # 2. Leave out those of rarer sources.
    if index.shares is not None and items is None:
        kept = np.random.default_rng([seed, epoch, 2]).random(len(index)) < index.shares
        order = order[kept[order]]
    # 3. Pack them, and mix the rows: packing puts long documents first, and a batch should not.
    packed, counts = _packed(plans["length"][order], seq_len)
    mixed = generator.permutation(len(counts))
    ends = np.cumsum(counts)
    lengths = counts[mixed]
    # Where the documents of row mixed[0] stand in `packed`, then those of mixed[1], ...
    new_ends = np.cumsum(lengths)
    at = np.repeat(ends[mixed] - new_ends, lengths) + np.arange(len(packed))
    return Epoch(plans[order[packed[at]]], new_ends)


def _drawn_items(index: CorpusIndex, generator: np.random.Generator) -> np.ndarray | None:
    """The item of each document of an epoch, int32 (M,) ascending; None for every item once."""
    if index.copies is None:
        return None
    # In a random order, so that rare items are not drawn with their neighbours; one number for
    # all leaves each a count next to its mean, and the epoch a length next to its mean.
    order = generator.permutation(len(index))
    reached = np.floor(np.cumsum(index.copies[order]) + generator.random()).astype(np.int64)
    counts = np.empty(len(index), dtype=np.int64)
    counts[order] = np.diff(reached, prepend=0)
    if not counts.any():
        counts[index.copies.argmax()] = 1  # an epoch must not come out empty
    return np.repeat(np.arange(len(index), dtype=np.int32), counts)


def pack_best_fit(lengths: Sequence[int] | np.ndarray, seq_len: int) -> list[list[int]]:
    """Best-fit decreasing: each document, longest first, joins the row it leaves least room in.

    Takes the tokens of each document, at most `seq_len`; gives the numbers of each row's documents.
    """
    lengths = np.asarray(lengths)
    most = len(lengths) + 1  # rows
    rows: list[list[int]] = []
    room: list[int] = []  # free tokens * most + row, ascending: by room, then by row
    order = np.argsort(-lengths, kind="stable")
    for document, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        tightest = bisect_left(room, length * most)
        if tightest == len(room):
            insort(room, (seq_len - length) * most + len(rows))
            rows.append([document])
        else:
            space = room.pop(tightest)
            rows[space % most].append(document)
            insort(room, space - length * most)
    return rows


def _packed(lengths: np.ndarray, seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    """Documents row after row, int32 (N,), and how many each row has, int64 (R,)."""
    # Blocks of the shuffled documents, so that packing's cost grows in step with the corpus.
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

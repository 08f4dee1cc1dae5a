"""Index of the utterances of token stores for training, as arrays of small integers.

An item costs 36 bytes: its row, its codes (here and in `TokenStore.lengths`), text tokens, speaker
and base, 4 each, and 12 as a prompt of others. Text is 8 more and 2 to 4 a token. Everything else
stays in the stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from slm.text.tokenizer import Tokenizer

from .alignment import Alignment
from .config import DocumentSettings
from .corpus_fields import NONE, CorpusFields, int32_array
from .documents import aligned_length, document_length
from .token_store import TokenStore


class CorpusIndex:
    """Items of some stores that fit a row of training, numbered from 0 in their order.

    Args:
        stores: Of one codec.
        tokenizer: Encodes the rows' `text`; rows without text have none.
        settings: Their lookahead, shortest prompt, shares and speakers' power count.
        longest: Most tokens of a document.
        text_size: Ids that the tokenizer gives lie in [0, text_size).
        alignments: By id; when given, no row has text of its own.

    Attributes:
        num_codes: Codes of each, int32 (N,).
        num_text: Text tokens of each, int32 (N,), -1 without text.
        num_units: Units of each one's alignment, int32 (N,), -1 without; None where there are no
            alignments.
        base: The item that each is a shifted copy of, itself for most, int32 (N,).
        shares: Probability that an epoch takes each, float64 (N,); None where it takes all.
        copies: Mean number of times that an epoch takes each, float64 (N,), `shares` included;
            None where each is taken once or, by its share, not at all.

    Raises:
        ValueError: A text with no known piece, no item that fits, or none that every epoch takes.
    """

    def __init__(
        self,
        stores: Sequence[TokenStore],
        tokenizer: Tokenizer,
        settings: DocumentSettings,
        *,
        longest: int,
        text_size: int,
        alignments: Mapping[str, Alignment] | None = None,
    ) -> None:
        self._stores = list(stores)
        self._first = [0, *accumulate(map(len, stores))]
        # 1. One pass over the rows, which stay on disk.
        found = CorpusFields(tokenizer, settings, text_size, alignments)
        for store in stores:
            for row in store.rows:
                found.add(row)
        # 2. Keep those whose shortest document fits.
        num_codes = np.concatenate([store.lengths for store in stores])
        num_text, num_units = int32_array(found.num_text), int32_array(found.num_units)
        lengths = _bare_lengths(num_codes, num_text, num_units, settings.lookahead)
        fits = lengths <= longest
        self._long = np.flatnonzero(~fits), lengths[~fits]
        self._rows = np.flatnonzero(fits).astype(np.int32)
        if not len(self._rows):
            raise ValueError(
                f"expected documents of at most seq_len = {longest} tokens, got "
                f"{len(lengths)} that are all longer; raise seq_len"
            )
        self._alignments = found.alignments
        self.num_codes, self.num_text = num_codes[fits], num_text[fits]
        self.num_units = num_units[fits] if len(num_units) else None
        self._lookahead = settings.lookahead
        # 3. Text end to end, copies with their originals, and prompts by speaker.
        self._texts = np.frombuffer(found.text_ids, dtype=found.text_ids.typecode)
        ends = np.cumsum(np.maximum(num_text, 0))
        self._text_ends = ends[fits] if len(self._texts) else ends[:0]
        self.base = self._find_bases(found.base_ids)
        self.shares = self._find_shares(found, settings.shares)
        is_copy = np.zeros(len(fits), dtype=bool)
        is_copy[list(found.base_ids)] = True
        self._speaker = int32_array(found.speaker)[fits]
        self.copies = self._find_copies(~is_copy[fits], settings.speaker_power)
        self._prompts, self._prompt_keys = self._group(~is_copy[fits], settings.min_prompt_codes)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def too_long(self) -> list[dict[str, Any]]:
        """Rows whose shortest document is longer than a row, with `num_tokens`; read anew."""
        rows, lengths = self._long
        return [
            {**self._row(int(row)), "num_tokens": int(length)}
            for row, length in zip(rows, lengths, strict=True)
        ]

    def codes(self, item: int) -> np.ndarray:
        """Codes of an item, uint16 (L,), a view of the mapped file."""
        store, index = self._locate(int(self._rows[item]))
        return self._stores[store].codes(index)

    def text_ids(self, item: int) -> np.ndarray | None:
        """Text tokens of an item, (S,), None without text."""
        count = self.num_text[item]
        if count == NONE:
            return None
        end = self._text_ends[item]
        return self._texts[end - count : end]

    def alignment(self, item: int) -> Alignment:
        """The alignment of an item that has one."""
        return self._alignments[int(self._rows[item])]

    def has_alignment(self, item: int) -> bool:
        """True if an item has an alignment."""
        return self.num_units is not None and self.num_units[item] != NONE

    def speaker(self, item: int) -> int:
        """Number of the speaker of an item, -1 where it has none."""
        return int(self._speaker[item])

    def aligned_lengths(self, items: np.ndarray) -> np.ndarray:
        """Tokens of the aligned document of each of some items, (M,); they have alignments."""
        assert self.num_units is not None
        return aligned_length(self.num_codes[items], self.num_units[items], self._lookahead, 0)

    def others(self, items: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Another utterance of the speaker for each of some items, int32 (M,), -1 for none.

        Args:
            items: (M,) numbers.
            draws: (M,) in [0, 1), which choose among those there are.
        """
        # Prompts are sorted by speaker * N + item, so those of a speaker lie in [low, high).
        speaker = self._speaker[items].astype(np.int64)
        size = len(self)
        low, own = (
            np.searchsorted(self._prompt_keys, speaker * size + offset)
            for offset in (0, self.base[items])
        )
        high = np.searchsorted(self._prompt_keys, (speaker + 1) * size)
        is_own = np.zeros(len(items), dtype=bool)  # whether the item's own is among them
        if len(self._prompts):
            at = np.minimum(own, len(self._prompts) - 1)
            is_own = (own < high) & (self._prompts[at] == self.base[items])
        count = high - low - is_own
        found = (speaker != NONE) & (count > 0)
        choice = (draws * count).astype(np.int64)
        chosen = low + choice + (is_own & (choice >= own - low))  # passes over its own
        others = np.full(len(items), NONE, dtype=np.int32)
        others[found] = self._prompts[chosen[found]]
        return others

    def _locate(self, row: int) -> tuple[int, int]:
        """Store of a row of all stores, and its number in there."""
        store = next(n for n, first in enumerate(self._first[1:]) if row < first)
        return store, row - self._first[store]

    def _item_of(self, row: int) -> int:
        """Number of a row of all stores among those that fit, -1 where it does not."""
        item = int(np.searchsorted(self._rows, row))
        return item if item < len(self) and self._rows[item] == row else NONE

    def _row(self, row: int) -> dict[str, Any]:
        store, index = self._locate(row)
        return self._stores[store].rows[index]

    def _find_bases(self, base_ids: Mapping[int, str]) -> np.ndarray:
        """`base`, by looking for the ids that copies name in the same store."""
        base = np.arange(len(self), dtype=np.int32)
        if not base_ids:
            return base
        # Only ids that copies name are kept, since all ids would cost more than the index.
        wanted = {(self._locate(row)[0], name) for row, name in base_ids.items()}
        item_of: dict[tuple[int, str], int] = {}
        for store, of_store in enumerate(self._stores):
            for index, row in enumerate(of_store.rows):
                key = store, row["id"]
                item = self._item_of(self._first[store] + index) if key in wanted else NONE
                if item != NONE:
                    item_of[key] = item
        # A copy whose original is not there stands for itself.
        for row, name in base_ids.items():
            item = self._item_of(row)
            if item != NONE:
                base[item] = item_of.get((self._locate(row)[0], name), item)
        return base

    def _find_shares(self, found: CorpusFields, shares: Mapping[str, float]) -> np.ndarray | None:
        if not shares:
            return None
        of_source = np.array([shares.get(name, 1.0) for name in found.sources])
        taken = of_source[int32_array(found.source)[self._rows]]
        # An epoch must not come out empty.
        if taken.max() < 1:
            raise ValueError(
                "expected rows of a source that `shares` does not make rarer, got none: an epoch "
                "might be empty"
            )
        return taken

    def _find_copies(self, is_original: np.ndarray, power: float) -> np.ndarray | None:
        if power == 1:
            return None
        # A recording without a speaker is one of a speaker of its own.
        alone = self._speaker.max(initial=NONE) + 1 + self.base
        speaker = np.where(self._speaker == NONE, alone, self._speaker)
        codes = self.num_codes.astype(np.float64)
        amount = np.bincount(speaker, codes * is_original)
        held = np.bincount(speaker, codes)
        # Copies whose original is not there: what there is of the speaker is its amount.
        amount = np.where(amount > 0, amount, held)
        # An item comes (amount ** power / held) times as often, scaled so that codes add up.
        often = np.zeros(len(held))
        np.divide(amount**power, held, out=often, where=held > 0)
        each = often[speaker]
        each *= codes.sum() / (each @ codes)
        return each if self.shares is None else each * self.shares

    def _group(self, is_original: np.ndarray, enough: int) -> tuple[np.ndarray, np.ndarray]:
        """Items that may be prompts, by speaker, and speaker * N + item of each, ascending.

        Copies are the same recording once more: one of them is enough.
        """
        # One sorted array in place of a list a speaker: 12 bytes an item.
        allowed = is_original & (self._speaker != NONE) & (self.num_codes >= enough)
        items = np.flatnonzero(allowed)
        keys = np.sort(self._speaker[items].astype(np.int64) * len(self) + items)
        return (keys % len(self)).astype(np.int32), keys


def _bare_lengths(
    num_codes: np.ndarray, num_text: np.ndarray, num_units: np.ndarray, lookahead: int
) -> np.ndarray:
    """Tokens of each row's document without a prompt, (N,)."""
    # `document_length` of many: text counts only where there is some.
    lengths = document_length(0, None, 0) + num_codes + np.where(num_text >= 0, num_text + 1, 0)
    if not len(num_units):
        return lengths
    aligned = aligned_length(num_codes, num_units, lookahead, 0)
    return np.where(num_units >= 0, aligned, lengths)

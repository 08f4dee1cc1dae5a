"""Packed training rows: documents of token stores, laid end to end without being cut.

Everything random is drawn from (seed, epoch), so batch n is a pure function of (seed, n): a run
continues exactly from one integer, whatever was read before.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .alignment import Spoken
from .config import DocumentSettings
from .sequence import (
    Document,
    aligned_length,
    build_aligned,
    build_document,
    build_interleaved,
    document_length,
    interleaved_turns,
)
from .store import TokenStore
from .tokenizers import Tokenizer
from .vocabulary import Vocabulary

_PACKING_BLOCK = 8192  # documents packed together; bounds the cost of a large corpus
PADDING_ID = -1  # document id of padding


class PackedBatch(NamedTuple):
    """Rows of packed documents, all (B, S).

    Attributes:
        tokens: int64, padded with `pad_id`.
        positions: int64, place within the document.
        document_ids: int64, equal within a document, -1 on padding.
        loss_weights: float32, weight of predicting each token; 0 on padding and document starts.
    """

    tokens: Tensor
    positions: Tensor
    document_ids: Tensor
    loss_weights: Tensor


class DocumentPlan(NamedTuple):
    """What one document of one epoch is made of: small enough to plan a whole epoch at once."""

    item: int
    with_text: bool
    prompt_item: int  # -1 for no prompt
    prompt_start: int
    prompt_codes: int
    length: int
    prompt_text: bool = False  # the prompt is spoken first, and its transcript comes with it
    interleaved: bool = False
    aligned: bool = False


class PackedRows:
    """The documents of one or more token stores as an endless stream of packed rows.

    Args:
        stores: Stores of one codec.
        tokenizer: Encodes the rows' `text`; rows without text become speech-only documents.
        vocabulary: Token layout.
        seq_len: S, tokens a row.
        batch_size: B, rows a batch.
        settings: Prompts and text dropping.
        seed: Draws prompts, order and packing.
        alignments: Of rows by id. When given, a row that is in it becomes an aligned document, and
            every other one speech without text.

    Attributes:
        too_long: Rows whose shortest document exceeds `seq_len`, with a `num_tokens` beside each;
            they are in no batch.

    Raises:
        ValueError: Stores of different codecs, codes that are not the vocabulary's, a text with no
            known piece, alignments without a lookahead, or no document that fits.
    """

    def __init__(
        self,
        stores: Sequence[TokenStore],
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        *,
        seq_len: int,
        batch_size: int,
        settings: DocumentSettings | None = None,
        seed: int = 0,
        alignments: Mapping[str, Spoken] | None = None,
    ) -> None:
        _check_stores(stores, vocabulary)
        if alignments and not (settings and settings.lookahead):
            raise ValueError("expected settings with lookahead >= 1 for aligned rows, got none")
        self.vocabulary = vocabulary
        self.codec_fingerprint = stores[0].codec_fingerprint
        self.seq_len = seq_len
        self.batch_size = batch_size
        self.settings = settings or DocumentSettings()
        self.seed = seed
        self.too_long: list[dict[str, Any]] = []
        self._stores = list(stores)
        self._items: list[tuple[int, int]] = []  # (store, row) of each item
        self._text_ids: list[list[int] | None] = []
        self._num_codes: list[int] = []
        self._spoken: list[Spoken | None] = []
        self._collect(tokenizer, alignments)
        self._base = self._find_bases()
        self._shares = self._find_shares()
        self._by_speaker = self._group_speakers()
        self._row_counts: list[int] = []  # rows of epoch 0, 1, ... as far as asked for
        self._planned: tuple[int, list[list[DocumentPlan]]] = (-1, [])

    def __len__(self) -> int:
        """Items that fit a row."""
        return len(self._items)

    def batch(self, index: int) -> PackedBatch:
        """Batch `index` >= 0 of the endless stream: rows [index * B, (index + 1) * B)."""
        first = index * self.batch_size
        return self._stack([self._row(first + i) for i in range(self.batch_size)])

    def epoch_batches(self, epoch: int = 0) -> Iterator[PackedBatch]:
        """Batches of one epoch, each document once; the last batch may hold fewer rows."""
        rows = self._epoch_rows(epoch)
        for start in range(0, len(rows), self.batch_size):
            yield self._stack(rows[start : start + self.batch_size])

    def epoch_documents(self, epoch: int = 0) -> Iterator[Document]:
        """Every document of one epoch on its own, in packed order."""
        for row in self._epoch_rows(epoch):
            yield from map(self._document, row)

    def rows_in_epoch(self, epoch: int) -> int:
        """Packed rows of an epoch; differs a little between epochs as prompts are drawn anew."""
        while len(self._row_counts) <= epoch:
            self._epoch_rows(len(self._row_counts))
        return self._row_counts[epoch]

    def padding_fraction(self, epoch: int = 0) -> float:
        """Share of an epoch's slots that hold padding, in [0, 1)."""
        rows = self._epoch_rows(epoch)
        used = sum(plan.length for row in rows for plan in row)
        return 1 - used / (len(rows) * self.seq_len)

    def _collect(self, tokenizer: Tokenizer, alignments: Mapping[str, Spoken] | None) -> None:
        for store_index, store in enumerate(self._stores):
            for row_index, row in enumerate(store.rows):
                spoken = None if alignments is None else alignments.get(row["id"])
                ids = _encode_text(tokenizer, row) if alignments is None else None
                num_codes = int(row["num_codes"])
                if spoken is None:
                    length = document_length(num_codes, None if ids is None else len(ids), 0)
                else:
                    length = self._aligned_length(spoken, num_codes)
                if length > self.seq_len:
                    self.too_long.append({**row, "num_tokens": length})
                    continue
                self._items.append((store_index, row_index))
                self._text_ids.append(ids)
                self._num_codes.append(num_codes)
                self._spoken.append(spoken)
        if not self._items:
            raise ValueError(
                f"expected documents of at most seq_len = {self.seq_len} tokens, got "
                f"{len(self.too_long)} that are all longer; raise seq_len"
            )

    def _find_shares(self) -> np.ndarray:
        """How likely an epoch takes each item, (N,); at least one is taken for certain.

        Raises:
            ValueError: No row is taken in every epoch.
        """
        sources = (self._stores[store].rows[row].get("source") for store, row in self._items)
        shares = np.array([self.settings.shares.get(str(source), 1.0) for source in sources])
        if shares.max() < 1:
            raise ValueError(
                "expected rows of a source that `shares` does not make rarer, got none: an epoch "
                "might be empty"
            )
        return shares

    def _find_bases(self) -> list[int]:
        """The item that each is a shifted copy of: itself for most."""
        rows = [(store, self._stores[store].rows[row]) for store, row in self._items]
        found = {(store, row["id"]): item for item, (store, row) in enumerate(rows)}
        bases = ((store, row.get("base_id", row["id"])) for store, row in rows)
        return [found.get(base, item) for item, base in enumerate(bases)]

    def _group_speakers(self) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = defaultdict(list)
        for item, (store, row) in enumerate(self._items):
            about = self._stores[store].rows[row]
            speaker, enough = about.get("speaker"), self.settings.min_prompt_codes
            # Rows with a base are the same recording once more: one of them is enough.
            if speaker and "base_id" not in about and self._num_codes[item] >= enough:
                groups[str(speaker)].append(item)
        return groups

    def _aligned_length(self, spoken: Spoken, num_codes: int) -> int:
        return aligned_length(num_codes, len(spoken.units), self.settings.lookahead, 0)

    def _codes(self, item: int) -> np.ndarray:
        store, row = self._items[item]
        return self._stores[store].codes(row)

    def _plan(self, item: int, draws: np.ndarray) -> DocumentPlan:
        """One document from seven uniform numbers, so that each item uses the stream alike."""
        settings = self.settings
        ids = self._text_ids[item]
        with_text = ids is not None and draws[0] >= settings.text_drop_probability
        num_text = len(ids) if with_text and ids is not None else None
        bare = document_length(self._num_codes[item], num_text, 0)
        plain = DocumentPlan(item, with_text, -1, 0, 0, bare)
        spoken = self._spoken[item]
        if spoken is not None and draws[0] >= settings.text_drop_probability:
            length = self._aligned_length(spoken, self._num_codes[item])
            plain = plain._replace(aligned=True, length=length)
        if num_text and draws[6] < settings.interleave_probability:
            every = (settings.interleave_text, settings.interleave_codes)
            turns = interleaved_turns(self._num_codes[item], num_text, every)
            length = bare + 2 * (turns - 1)
            if length <= self.seq_len:
                return plain._replace(interleaved=True, length=length)
        if draws[1] >= settings.prompt_probability:
            return plain
        other = self._other_utterance(item, draws[2])
        if other is None:
            return plain
        if with_text and draws[5] < settings.prompt_text_probability:
            whole = self._whole_prompt(plain, other)
            if whole is not None:
                return whole
        return self._cut_prompt(plain, other, draws[3:5])

    def _whole_prompt(self, plain: DocumentPlan, other: int) -> DocumentPlan | None:
        """The document after another whole utterance and its transcript, where that is possible."""
        ids, codes = self._text_ids[other], self._num_codes[other]
        if ids is None or codes > self.settings.max_prompt_codes:
            return None
        length = plain.length + len(ids) + codes
        if length > self.seq_len:
            return None
        return DocumentPlan(plain.item, True, other, 0, codes, length, prompt_text=True)

    def _cut_prompt(self, plain: DocumentPlan, other: int, draws: np.ndarray) -> DocumentPlan:
        """The document after a piece of another utterance, where there is room for one."""
        settings, bare = self.settings, plain.length
        room = self.seq_len - bare - 1
        longest = min(settings.max_prompt_codes, self._num_codes[other], room)
        if longest < settings.min_prompt_codes:
            return plain
        span = longest - settings.min_prompt_codes + 1
        codes = settings.min_prompt_codes + int(draws[0] * span)
        start = int(draws[1] * (self._num_codes[other] - codes + 1))
        return plain._replace(
            prompt_item=other, prompt_start=start, prompt_codes=codes, length=bare + 1 + codes
        )

    def _other_utterance(self, item: int, draw: float) -> int | None:
        store, row = self._items[item]
        speaker = self._stores[store].rows[row].get("speaker")
        candidates = self._by_speaker.get(str(speaker), []) if speaker else []
        own = self._base[item]
        place = bisect_left(candidates, own)
        held = place < len(candidates) and candidates[place] == own
        if len(candidates) - held < 1:
            return None
        choice = int(draw * (len(candidates) - held))
        return candidates[choice + (held and choice >= place)]

    def _epoch_rows(self, epoch: int) -> list[list[DocumentPlan]]:
        if self._planned[0] == epoch:
            return self._planned[1]
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(self._items))
        draws = generator.random((len(self._items), 5))
        # Of a stream of their own: kinds of documents that came later change no earlier draw.
        later = np.random.default_rng([self.seed, epoch, 1]).random((len(self._items), 2))
        draws = np.concatenate([draws, later], axis=1)
        kept = np.random.default_rng([self.seed, epoch, 2]).random(len(self._items)) < self._shares
        plans = [self._plan(int(item), draws[item]) for item in order if kept[item]]
        rows: list[list[DocumentPlan]] = []
        for start in range(0, len(plans), _PACKING_BLOCK):
            rows += pack_best_fit(plans[start : start + _PACKING_BLOCK], self.seq_len)
        # Packing puts long documents first; a batch should hold a fair mix.
        rows = [rows[index] for index in generator.permutation(len(rows))]
        self._planned = (epoch, rows)
        if epoch == len(self._row_counts):
            self._row_counts.append(len(rows))
        return rows

    def _row(self, index: int) -> list[DocumentPlan]:
        epoch = 0
        while index >= self.rows_in_epoch(epoch):
            index -= self.rows_in_epoch(epoch)
            epoch += 1
        return self._epoch_rows(epoch)[index]

    def _document(self, plan: DocumentPlan) -> Document:
        settings, codes = self.settings, self._codes(plan.item)
        text_ids = self._text_ids[plan.item] if plan.with_text else None
        options: dict[str, Any] = {"text_loss_weight": settings.text_loss_weight}
        if plan.interleaved:
            assert text_ids is not None
            every = (settings.interleave_text, settings.interleave_codes)
            return build_interleaved(self.vocabulary, codes, text_ids, every=every, **options)
        if plan.prompt_item >= 0:
            stop = plan.prompt_start + plan.prompt_codes
            given = self._codes(plan.prompt_item)[plan.prompt_start : stop]
            options["spoken_before" if plan.prompt_text else "prompt"] = given
        if plan.aligned:
            spoken = self._spoken[plan.item]
            assert spoken is not None
            return build_aligned(
                self.vocabulary,
                codes,
                spoken,
                lookahead=settings.lookahead,
                prompt=options.get("prompt"),
                duration_loss_weight=settings.duration_loss_weight,
            )
        if plan.prompt_text:
            text_ids = [*(self._text_ids[plan.prompt_item] or ()), *(text_ids or ())]
        return build_document(self.vocabulary, codes, text_ids=text_ids, **options)

    def _stack(self, rows: list[list[DocumentPlan]]) -> PackedBatch:
        documents = [[self._document(plan) for plan in row] for row in rows]
        return stack_rows(documents, self.seq_len, self.vocabulary.pad_id)


def pack_best_fit(plans: Sequence[DocumentPlan], seq_len: int) -> list[list[DocumentPlan]]:
    """Best-fit decreasing: each document, longest first, joins the row it leaves least room in."""
    rows: list[list[DocumentPlan]] = []
    room: list[tuple[int, int]] = []  # (free tokens, row), ascending
    for plan in sorted(plans, key=lambda plan: -plan.length):
        place = bisect_left(room, (plan.length, -1))
        if place == len(room):
            rows.append([plan])
            insort(room, (seq_len - plan.length, len(rows) - 1))
        else:
            free, row = room.pop(place)
            rows[row].append(plan)
            insort(room, (free - plan.length, row))
    return rows


def stack_rows(rows: Sequence[Sequence[Document]], seq_len: int, pad_id: int) -> PackedBatch:
    """Lay each row's documents end to end in (B, seq_len) tensors; a row's documents must fit."""
    shape = (len(rows), seq_len)
    tokens = np.full(shape, pad_id, dtype=np.int64)
    positions = np.zeros(shape, dtype=np.int64)
    document_ids = np.full(shape, PADDING_ID, dtype=np.int64)
    weights = np.zeros(shape, dtype=np.float32)
    for row, documents in enumerate(rows):
        start = 0
        for number, document in enumerate(documents):
            stop = start + len(document.tokens)
            tokens[row, start:stop] = document.tokens
            positions[row, start:stop] = np.arange(stop - start)
            document_ids[row, start:stop] = number
            weights[row, start:stop] = document.loss_weights
            start = stop
    arrays = (tokens, positions, document_ids, weights)
    return PackedBatch(*(torch.from_numpy(array) for array in arrays))


def _check_stores(stores: Sequence[TokenStore], vocabulary: Vocabulary) -> None:
    if not stores:
        raise ValueError("expected at least one token store, got none")
    first = stores[0]
    for store in stores:
        if store.codec_fingerprint != first.codec_fingerprint:
            raise ValueError(
                f"expected stores of one codec, got {first.codec_fingerprint} in {first.folder} "
                f"and {store.codec_fingerprint} in {store.folder}; encode one of them again"
            )
        if store.codebook_size != vocabulary.codebook_size:
            raise ValueError(
                f"expected codes of a vocabulary with codebook_size {vocabulary.codebook_size}, "
                f"got {store.codebook_size} in {store.folder}"
            )


def _encode_text(tokenizer: Tokenizer, row: dict[str, Any]) -> list[int] | None:
    text = row.get("text") or ""
    try:
        return tokenizer.encode(text) if text.strip() else None
    except ValueError as error:
        raise ValueError(f"row {row['id']!r}: {error}") from error

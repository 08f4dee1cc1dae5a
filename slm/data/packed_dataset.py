"""Dataset of packed rows: documents of token stores, laid end to end without being cut.

Everything random is drawn from (seed, epoch), so batch n is a pure function of (seed, n): a run
continues exactly from one integer, whatever was read before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np

from codec.checks import count
from slm.text.phone_tokenizer import PhoneTokenizer
from slm.text.tokenizer import Tokenizer

from .alignment import Alignment, rest_after
from .config import DocumentSettings
from .corpus_index import CorpusIndex
from .document_plans import DocumentPlan
from .documents import (
    Document,
    build_aligned,
    build_document,
    build_interleaved,
    build_transcription,
)
from .packed_batch import PackedBatch, stack_rows
from .packing import Epoch, plan_epoch
from .provenance import alignments_digest, store_digest
from .token_store import TokenStore
from .vocabulary import Vocabulary


class PackedDataset:
    """Documents of one or more token stores as an endless stream of packed rows.

    Args:
        stores: Stores of one codec.
        tokenizer: Encodes the rows' `text`; rows without text become speech-only documents.
        vocabulary: Token layout.
        seq_len: S, tokens a row.
        batch_size: B, rows a batch.
        settings: Of the documents.
        seed: Of prompts, order and packing.
        alignments: Of rows by id. When given, a row that is in it becomes an aligned document, and
            every other one speech without text.

    Attributes:
        index: The items of the stores that fit.

    Raises:
        ValueError: Sizes below 1, stores of different codecs, codes that are not the vocabulary's,
            a text with no known piece, alignments without a lookahead, transcriptions of phones,
            or no document that fits.
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
        alignments: Mapping[str, Alignment] | None = None,
    ) -> None:
        count("seq_len", seq_len, 1)
        count("batch_size", batch_size, 1)
        count("seed", seed)
        _check_stores(stores, vocabulary)
        if alignments and not (settings and settings.lookahead):
            raise ValueError("expected settings with lookahead >= 1 for aligned rows, got none")
        of_phones = alignments is not None or isinstance(tokenizer, PhoneTokenizer)
        if of_phones and settings and settings.transcribe_probability:
            raise ValueError(
                "transcribe_probability: expected 0 with a text model of phones, which spell no "
                f"words, got {settings.transcribe_probability}; train a text model of pieces"
            )
        self.vocabulary = vocabulary
        self.codec_fingerprint = stores[0].codec_fingerprint
        self.seq_len = seq_len
        self.batch_size = batch_size
        self.settings = settings or DocumentSettings()
        self.seed = seed
        self.index = CorpusIndex(
            stores,
            tokenizer,
            self.settings,
            longest=seq_len,
            text_size=vocabulary.text_size,
            alignments=alignments,
        )
        self._stores = list(stores)
        self._alignments = alignments_digest(alignments)  # of all, also those of no row
        self._row_counts: list[int] = []  # rows of epoch 0, 1, ... as far as known
        self._planned: tuple[int, Epoch] | None = None

    def __len__(self) -> int:
        """Items that fit a row."""
        return len(self.index)

    def check_stores(self) -> None:
        """Compare the token stores with their checksums, those not checked before.

        Raises:
            ValueError: A file is not what was written; names it.
        """
        for store in self._stores:
            store.check()

    def describe(self) -> dict[str, Any]:
        """Everything that decides the batches, by names that a user knows; JSON-able."""
        documents = {f"documents.{name}": value for name, value in asdict(self.settings).items()}
        return {
            "seq_len": self.seq_len,
            "batch_size": self.batch_size,
            "seed of the rows": self.seed,
            "token stores": [store_digest(store) for store in self._stores],
            "alignments": self._alignments,
            **documents,
        }

    @property
    def row_counts(self) -> list[int]:
        """Packed rows of epochs 0, 1, ... as far as they are known."""
        return list(self._row_counts)

    def know_row_counts(self, counts: Sequence[int]) -> None:
        """Take over the `row_counts` of an equal dataset, so that those epochs need no planning.

        Raises:
            ValueError: They contradict what is known; an epoch planned later is compared, too.
        """
        for epoch, (known, given) in enumerate(zip(self._row_counts, counts, strict=False)):
            _check_count(epoch, given, known)
        self._row_counts += counts[len(self._row_counts) :]

    @property
    def too_long(self) -> list[dict[str, Any]]:
        """Rows whose shortest document exceeds `seq_len`, with a `num_tokens` beside each.

        They are in no batch.
        """
        return self.index.too_long

    def batch(self, index: int) -> PackedBatch:
        """Batch `index` >= 0 of the endless stream: rows [index * B, (index + 1) * B)."""
        first = index * self.batch_size
        return self._stack([self._row(first + i) for i in range(self.batch_size)])

    def epoch_batches(self, epoch: int = 0) -> Iterator[PackedBatch]:
        """Batches of one epoch, each document once; the last batch may hold fewer rows."""
        rows = iter(self._epoch_rows(epoch))
        while batch := list(islice(rows, self.batch_size)):
            yield self._stack(batch)

    def epoch_documents(self, epoch: int = 0) -> Iterator[Document]:
        """Every document of one epoch on its own, in packed order."""
        for row in self._epoch_rows(epoch):
            yield from map(self._planned_document, row)

    def rows_in_epoch(self, epoch: int) -> int:
        """Packed rows of an epoch; differs a little between epochs as prompts are drawn anew."""
        while len(self._row_counts) <= epoch:
            self._epoch_rows(len(self._row_counts))
        return self._row_counts[epoch]

    def padding_fraction(self, epoch: int = 0) -> float:
        """Share of an epoch's slots that hold padding, in [0, 1)."""
        rows = self._epoch_rows(epoch)
        return 1 - rows.num_tokens / (len(rows) * self.seq_len)

    def _epoch_rows(self, epoch: int) -> Epoch:
        if self._planned is None or self._planned[0] != epoch:
            self._planned = None  # the old one goes before the new one is made
            sizes = {"seq_len": self.seq_len, "seed": self.seed, "epoch": epoch}
            self._planned = epoch, plan_epoch(self.index, self.settings, **sizes)
        # Counts of epochs are known in order, and each new plan is checked against what is known.
        rows = self._planned[1]
        if epoch < len(self._row_counts):
            _check_count(epoch, self._row_counts[epoch], len(rows))
        elif epoch == len(self._row_counts):
            self._row_counts.append(len(rows))
        return rows

    def _row(self, index: int) -> list[DocumentPlan]:
        # Epochs differ a little in their rows, so they are gone through one by one.
        epoch = 0
        while index >= self.rows_in_epoch(epoch):
            index -= self.rows_in_epoch(epoch)
            epoch += 1
        return self._epoch_rows(epoch)[index]

    def _planned_document(self, plan: DocumentPlan) -> Document:
        return self.document(plan, self.prompt_of(plan))

    def prompt_of(self, plan: DocumentPlan) -> np.ndarray | None:
        """The codes that a document opens with, uint16 (P,); None without a prompt."""
        if plan.prompt_item < 0:
            return None
        stop = plan.prompt_start + plan.prompt_codes
        return self.index.codes(plan.prompt_item)[plan.prompt_start : stop]

    def document(self, plan: DocumentPlan, prompt: np.ndarray | None) -> Document:
        """The document of a plan, with the plan's own prompt, another one (P,) or none."""
        # Interleaved, aligned or plain.
        settings, index, codes = self.settings, self.index, self.index.codes(plan.item)
        text_ids = index.text_ids(plan.item) if plan.with_text else None
        alignment = index.alignment(plan.item) if plan.aligned else None
        if plan.transcribed:
            assert text_ids is not None
            weight = settings.transcribe_code_loss_weight
            return build_transcription(self.vocabulary, codes, text_ids, code_loss_weight=weight)
        options: dict[str, Any] = {"text_loss_weight": settings.text_loss_weight}
        if plan.prompt_item == plan.item:
            # The rest of the recording, whose first part was the prompt.
            codes = codes[plan.prompt_codes :]
            if alignment is not None:
                alignment = rest_after(alignment, plan.prompt_codes)
        if prompt is not None:
            options["spoken_before" if plan.prompt_text else "prompt"] = prompt
        if plan.interleaved:
            assert text_ids is not None
            every = (settings.interleave_text, settings.interleave_codes)
            return build_interleaved(self.vocabulary, codes, text_ids, every=every, **options)
        if alignment is not None:
            return build_aligned(
                self.vocabulary,
                codes,
                alignment,
                lookahead=settings.lookahead,
                prompt=options.get("prompt"),
                duration_loss_weight=settings.duration_loss_weight,
            )
        if plan.prompt_text:
            # The transcript of both, then the speech of both.
            before = index.text_ids(plan.prompt_item)
            assert before is not None
            assert text_ids is not None
            text_ids = np.concatenate([before, text_ids])
        return build_document(self.vocabulary, codes, text_ids=text_ids, **options)

    def _stack(self, rows: list[list[DocumentPlan]]) -> PackedBatch:
        documents = [[self._planned_document(plan) for plan in row] for row in rows]
        return stack_rows(documents, self.seq_len, self.vocabulary.pad_id)


def _check_count(epoch: int, expected: int, found: int) -> None:
    if expected != found:
        raise ValueError(
            f"expected {expected} packed rows in epoch {epoch}, as the checkpoint has, got "
            f"{found}: the data, or this program's way of packing, has changed since"
        )


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

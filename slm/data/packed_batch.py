"""Batches of rows of documents, laid end to end in tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .documents import Document

PADDING_ID = -1  # document id of padding


class PackedBatch(NamedTuple):
    """Rows of packed documents, all (B, S).

    Attributes:
        tokens: int64, padded with `pad_id`.
        positions: int64, of each token within its document.
        document_ids: int64, equal within a document, -1 on padding.
        loss_weights: float32, weight of predicting each token; 0 on padding and document starts.
    """

    tokens: Tensor
    positions: Tensor
    document_ids: Tensor
    loss_weights: Tensor


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
    # Without a copy: the tensors own the arrays' memory.
    return PackedBatch(*map(torch.from_numpy, (tokens, positions, document_ids, weights)))

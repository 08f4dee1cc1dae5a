"""Preference training: speech that verifiers rank higher becomes likelier than what they do not.

"dpo" compares with the model as it was, whose likelihoods are computed once, before the training
(https://arxiv.org/abs/2305.18290); "simpo" needs no reference and compares means a token
(https://arxiv.org/abs/2405.14734).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.checks import above, all_finite, at_least, one_of
from slm.data.documents import Document
from slm.data.packed_batch import PADDING_ID, PackedBatch
from slm.model.code_embeddings import plain_weight
from slm.model.speech_lm import SpeechLM

from .microbatches import MicroBatch

KINDS = ("dpo", "simpo")


class PreferencePair(NamedTuple):
    """Two documents of one text and voice: the speech that is preferred, and another one."""

    chosen: Document
    rejected: Document


@dataclass(frozen=True)
class PreferenceSettings:
    """Settings of preference optimization.

    Args:
        kind: "dpo", with the model before the training as a reference, or "simpo", without one.
        beta: Scale of the differences: how far the model may move ("dpo", about 0.1), or how steep
            the loss is ("simpo", about 2).
        margin: Nats a token by which the chosen is to be likelier ("simpo" alone).
        likelihood_weight: Weight of the mean negative log-likelihood of a token of the chosen,
            which keeps it from falling along with the rejected.

    Raises:
        ValueError: A value is out of its range.
    """

    kind: str = "dpo"
    beta: float = 0.1
    margin: float = 0.0
    likelihood_weight: float = 0.0

    def __post_init__(self) -> None:
        all_finite("", self)
        one_of("kind", self.kind, KINDS)
        above("beta", self.beta, 0)
        at_least("margin", self.margin, 0)
        at_least("likelihood_weight", self.likelihood_weight, 0)


def preference_loss(
    sums: Tensor, counts: Tensor, reference: Tensor, settings: PreferenceSettings
) -> Tensor:
    """Loss of pairs, (B,) float32; columns are the chosen and the rejected.

    Args:
        sums: (B, 2) log-likelihoods of the documents' speech, nats.
        counts: (B, 2) tokens that they are sums over.
        reference: (B, 2) as `sums`, under the model before the training; not used by "simpo".
        settings: Kind and scales.
    """
    if settings.kind == "dpo":
        # -log sigmoid(beta ((log p - log p_ref)(chosen) - the same of the rejected))
        # How far training has moved each document from the reference, (B, 2).
        moved = settings.beta * (sums - reference)
        lead = moved[:, 0] - moved[:, 1]
    else:
        # SimPO: no reference, but means, so that length alone is no preference, and a margin.
        means = settings.beta * sums / counts
        lead = means[:, 0] - means[:, 1] - settings.beta * settings.margin
    # Against both likelihoods falling while their difference grows.
    chosen = sums[:, 0] / counts[:, 0]
    return -F.logsigmoid(lead) - settings.likelihood_weight * chosen


class PreferenceRows:
    """Pairs as an endless stream of rows, in place of a `PackedDataset` in `fit_speech_lm`.

    A row holds one pair, the chosen first. Batch n is a function of the seed and n.

    Args:
        pairs: At least one; only tokens with a loss weight above 0 are compared, so no prompt.
        lm: The model before the training, as whoever continues a run makes it again: the reference.
        batch_size: Pairs a batch.
        settings: Of the loss.
        seed: Of the order.

    Attributes:
        seq_len: Tokens of the longest document.
        loss_settings: Of the loss.

    Raises:
        ValueError: No pair, or a document that does not fit the model or has nothing to compare.
    """

    def __init__(
        self,
        pairs: Sequence[PreferencePair],
        lm: SpeechLM,
        *,
        batch_size: int,
        settings: PreferenceSettings,
        seed: int = 0,
    ) -> None:
        self._pairs = list(pairs)
        _check(self._pairs, lm.config.max_seq_len)
        self.vocabulary, self.codec_fingerprint = lm.vocabulary, lm.config.codec_fingerprint
        self.batch_size, self.seed, self.loss_settings = batch_size, seed, settings
        self.seq_len = max(len(each.tokens) for pair in self._pairs for each in pair)
        # Rows of one width, padded: a compiled step sees one shape.
        self._width = max(sum(len(each.tokens) for each in pair) for pair in self._pairs)
        self._reference = torch.zeros(len(self._pairs), 2)
        if settings.kind == "dpo":
            self._reference = self._reference_of(lm)

    def check_stores(self) -> None:
        """Do nothing, as pairs are in memory: see `PackedDataset.check_stores`."""

    def __len__(self) -> int:
        """Pairs."""
        return len(self._pairs)

    @property
    def row_counts(self) -> list[int]:
        """Nothing: every epoch has as many rows."""
        return []

    def know_row_counts(self, counts: Sequence[int]) -> None:
        """Do nothing; see `row_counts`."""
        del counts

    def describe(self) -> dict[str, Any]:
        """Everything that decides the batches and their loss, by names; JSON-able."""
        digest = hashlib.sha256()
        for pair in self._pairs:
            for document in pair:
                digest.update(document.tokens.tobytes() + document.loss_weights.tobytes())
        settings = asdict(self.loss_settings).items()
        return {
            "batch_size": self.batch_size,
            "seed of the rows": self.seed,
            "pairs": digest.hexdigest()[:16],
            **{f"preferences.{name}": value for name, value in settings},
        }

    def batch(self, index: int) -> PackedBatch:
        """Batch `index` >= 0 of the endless stream, every pair once an epoch."""
        first = index * self.batch_size
        numbers = [self._number(first + offset) for offset in range(self.batch_size)]
        return self._stacked(numbers)

    def loss(self, lm: SpeechLM, given: MicroBatch) -> Tensor:
        """Mean loss of the pairs of a batch, float32 scalar."""
        sums, counts = pair_sums(lm, given.batch)
        # A row's first id is twice the number of its pair.
        numbers = given.batch.document_ids[:, 0].cpu() // 2
        reference = self._reference[numbers].to(sums.device)
        return preference_loss(sums, counts, reference, self.loss_settings).mean()

    def validation(self) -> dict[str, list[PackedBatch]]:
        """Batches of all chosen and of all rejected, by the names of their likelihoods."""
        found: dict[str, list[PackedBatch]] = {}
        for name, kept in (("valid_nats_chosen", 0), ("valid_nats_rejected", 1)):
            found[name] = [
                # Both documents stay in the row; the loss weights leave one out.
                batch._replace(
                    loss_weights=batch.loss_weights * (batch.document_ids % 2 == kept).float()
                )
                for batch in self._batches()
            ]
        return found

    def _number(self, position: int) -> int:
        epoch, within = divmod(position, len(self._pairs))
        # A function of seed and position alone: a resumed run needs no state of a generator.
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self._pairs))
        return int(order[within])

    def _batches(self) -> Iterator[PackedBatch]:
        """Every pair once, in order."""
        for first in range(0, len(self._pairs), self.batch_size):
            stop = min(first + self.batch_size, len(self._pairs))
            yield self._stacked(range(first, stop))

    def _stacked(self, numbers: Sequence[int]) -> PackedBatch:
        """Rows of some pairs; documents 2 n and 2 n + 1 are those of pair n."""
        shape = (len(numbers), self._width)
        tokens = np.full(shape, self.vocabulary.pad_id, dtype=np.int64)
        positions, weights = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
        document_ids = np.full(shape, PADDING_ID, dtype=np.int64)
        for row, number in enumerate(numbers):
            start = 0
            for side, document in enumerate(self._pairs[number]):
                stop = start + len(document.tokens)
                tokens[row, start:stop] = document.tokens
                positions[row, start:stop] = np.arange(stop - start)
                # Log-likelihoods are compared unweighted: a token counts or does not.
                weights[row, start:stop] = document.loss_weights > 0
                document_ids[row, start:stop] = 2 * number + side
                start = stop
        return PackedBatch(*map(torch.from_numpy, (tokens, positions, document_ids, weights)))

    @torch.no_grad()
    def _reference_of(self, lm: SpeechLM) -> Tensor:
        """(N, 2) float32: log-likelihoods under a model in eval mode."""
        was_training = lm.training
        lm.eval()
        try:
            device = plain_weight(lm.head).device
            moved = (PackedBatch(*(t.to(device) for t in each)) for each in self._batches())
            return torch.cat([pair_sums(lm, each)[0].cpu() for each in moved])
        finally:
            lm.train(was_training)


def pair_sums(lm: SpeechLM, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """Log-likelihoods of the compared tokens of each row's two documents, nats, and their counts.

    Both (B, 2) float32, the chosen first.
    """
    tokens, positions, document_ids, weights = batch
    selected = weights > 0
    nll = lm.token_nll(tokens, selected, positions=positions, document_ids=document_ids)
    rows, columns = selected.nonzero(as_tuple=True)
    # (N,) 0 for the chosen, 1 for the rejected: sums are scattered by row and side.
    side = document_ids[rows, columns] % 2
    sums = nll.new_zeros(len(tokens), 2).index_put((rows, side), -nll, accumulate=True)
    counts = nll.new_zeros(len(tokens), 2).index_put(
        (rows, side), torch.ones_like(nll), accumulate=True
    )
    return sums, counts


def _check(pairs: Sequence[PreferencePair], longest: int) -> None:
    if not pairs:
        raise ValueError("expected at least one pair of preferences, got none")
    for number, pair in enumerate(pairs):
        for document in pair:
            length = len(document.tokens)
            if length > longest or not (document.loss_weights[1:] > 0).any():
                raise ValueError(
                    f"expected documents of at most {longest} tokens with some to compare, got "
                    f"{length} in pair {number}"
                )

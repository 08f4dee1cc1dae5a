"""Log-likelihoods under the model, in nats: of speech over its codes, of text over its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from slm.data.documents import Document
from slm.data.packed_batch import PackedBatch, stack_rows

from .code_embeddings import plain_weight
from .speech_lm import SpeechLM

# (B, S) bool of a batch: the tokens that are counted.
Positions = Callable[[SpeechLM, PackedBatch], Tensor]
CODE, TEXT_TOKEN = "speech code", "text token with a loss"


@dataclass(frozen=True)
class Score:
    """Likelihood of one document's speech.

    Attributes:
        log_likelihood: Sum over the codes, nats; higher is likelier.
        num_codes: Codes scored.
        per_code: (L,) float32, nats of each code in order.
    """

    log_likelihood: float
    num_codes: int
    per_code: Tensor

    @property
    def log_likelihood_per_code(self) -> float:
        """Mean over the codes, nats."""
        return self.log_likelihood / self.num_codes

    def log_likelihood_per_second(self, frame_rate: float) -> float:
        """Nats a second of speech, at so many codes a second (Hz)."""
        return self.log_likelihood_per_code * frame_rate


def scored_positions(lm: SpeechLM, batch: PackedBatch) -> Tensor:
    """(B, S) bool: code tokens with a loss, so without prompts and the end."""
    return (batch.tokens >= lm.vocabulary.code_start) & (batch.loss_weights > 0)


@torch.no_grad()
def log_likelihood(
    lm: SpeechLM, documents: Sequence[Document], *, batch_tokens: int = 4096
) -> list[Score]:
    """Log-likelihood of each document's speech codes given what comes before each.

    Dropout is off. Documents of like length go through the model together; a score depends on
    them by float rounding alone.

    Args:
        lm: The model.
        documents: In any order; there is a score for each.
        batch_tokens: Most tokens, padding included, that go through together; 1 scores each alone.

    Raises:
        ValueError: A document has no speech codes or does not fit the model.
    """
    for document in documents:
        _check(lm, document)
    # Documents of like length share a batch, so that little is padding.
    order = sorted(range(len(documents)), key=lambda index: len(documents[index].tokens))
    scores: dict[int, Score] = {}
    with _evaluating(lm):
        for group in _groups(order, documents, batch_tokens):
            rows = [[documents[index]] for index in group]
            # The last of a group is the longest.
            batch = stack_rows(rows, len(rows[-1][0].tokens), lm.vocabulary.pad_id)
            counts = scored_positions(lm, batch).sum(dim=1).tolist()
            parts = _nll(lm, batch).cpu().split(counts)
            # Sums in float64: a long document's would round.
            for index, nll in zip(group, parts, strict=True):
                scores[index] = Score(-nll.double().sum().item(), len(nll), -nll)
    return [scores[index] for index in range(len(documents))]


@dataclass(frozen=True)
class NatsTotal:
    """Negative log-likelihood of some tokens: totals of parts add up to those of the whole."""

    nats: float
    tokens: int

    def mean(self, what: str) -> float:
        """Nats a token.

        Raises:
            ValueError: There is none; `what` names the kind.
        """
        if self.tokens == 0:
            raise ValueError(f"expected batches with at least one {what}, got none")
        return self.nats / self.tokens


def nats_per_code(lm: SpeechLM, batches: Iterable[PackedBatch]) -> float:
    """Mean negative log-likelihood of a code, nats; lower is better.

    Counted: speech codes. Not counted: text, prompts, specials and the end of speech.

    Raises:
        ValueError: The batches hold no speech code.
    """
    return code_nats(lm, batches).mean(CODE)


def nats_per_text_token(lm: SpeechLM, batches: Iterable[PackedBatch]) -> float:
    """Mean negative log-likelihood of a text token with a loss, nats; lower is better.

    Of transcriptions it tells how well speech is recognised. Not counted: codes, specials, ends.

    Raises:
        ValueError: The batches hold no such token.
    """
    return text_nats(lm, batches).mean(TEXT_TOKEN)


def code_nats(lm: SpeechLM, batches: Iterable[PackedBatch]) -> NatsTotal:
    """Sum what `nats_per_code` is the mean of."""
    return _total(lm, batches, scored_positions)


def text_nats(lm: SpeechLM, batches: Iterable[PackedBatch]) -> NatsTotal:
    """Sum what `nats_per_text_token` is the mean of."""
    return _total(lm, batches, _text_positions)


def _text_positions(lm: SpeechLM, batch: PackedBatch) -> Tensor:
    """(B, S) bool: text tokens with a loss."""
    start, stop = lm.vocabulary.ranges["text"]
    return (batch.tokens >= start) & (batch.tokens < stop) & (batch.loss_weights > 0)


@torch.no_grad()
def _total(lm: SpeechLM, batches: Iterable[PackedBatch], positions: Positions) -> NatsTotal:
    """Nats of the tokens of batches at some positions."""
    total, count = 0.0, 0
    with _evaluating(lm):
        for batch in batches:
            nll = _nll(lm, batch, positions)
            # A mean over tokens, not over batches, whatever their sizes.
            total += nll.double().sum().item()
            count += len(nll)
    return NatsTotal(total, count)


@contextmanager
def _evaluating(lm: SpeechLM) -> Iterator[None]:
    """Eval mode inside the block, the mode before it afterwards."""
    was_training = lm.training
    lm.eval()
    try:
        yield
    finally:
        lm.train(was_training)


def _nll(lm: SpeechLM, batch: PackedBatch, at: Positions = scored_positions) -> Tensor:
    """(N,) nats of the tokens of a batch at some positions, row after row."""
    # `lm.head.weight` would be made anew where it comes from a code table.
    batch = PackedBatch(*(tensor.to(plain_weight(lm.head).device) for tensor in batch))
    tokens, positions, document_ids, _ = batch
    scored = at(lm, batch)
    return lm.token_nll(tokens, scored, positions=positions, document_ids=document_ids)


def _groups(
    order: Sequence[int], documents: Sequence[Document], batch_tokens: int
) -> Iterator[list[int]]:
    """Documents in ascending length, as many together as their padded rows allow."""
    group: list[int] = []
    for index in order:
        if group and (len(group) + 1) * len(documents[index].tokens) > batch_tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _check(lm: SpeechLM, document: Document) -> None:
    length = len(document.tokens)
    if length > lm.config.max_seq_len:
        raise ValueError(
            f"expected a document of at most {lm.config.max_seq_len} tokens, got {length}"
        )
    scored = (document.tokens >= lm.vocabulary.code_start) & (document.loss_weights > 0)
    if not scored.any():
        raise ValueError(f"expected a document with speech codes, got {length} tokens with none")

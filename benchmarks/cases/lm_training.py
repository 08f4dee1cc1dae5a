"""Training steps of the language model: ours beside x-transformers and transformers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.harness.benchmark import Benchmark, Call, Contestant, CostCurve, Figure
from recipes.planning.calibration import packed_utterances
from slm.bench.contestants import random_lm, stock_twin, transformers_twin
from slm.bench.training import utterances
from slm.data.documents import build_document
from slm.data.packed_batch import PackedBatch, stack_rows
from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM

MODEL = {"tiny": "1M", "small": "10M", "full": "10M"}
ROW_TOKENS = {"tiny": 384, "small": 512, "full": 1024}
ROWS = {"tiny": 1, "small": 1, "full": 2}


def build(size: str, folder: Path) -> dict[str, Contestant]:
    """Build optimizer steps on packed, padded and full rows; work is tokens without padding."""
    lm = cache(lambda: random_lm(MODEL[size]).train())
    stock = cache(lambda: stock_twin(lm()).net.train())
    rows, row_tokens = ROWS[size], ROW_TOKENS[size]
    like = random_lm("1M")  # documents depend on the vocabulary alone, which all sizes share
    batches = {
        "packed": packed_utterances(like, rows, row_tokens),
        "padded": _padded(like, rows, row_tokens),
        "full": _full(like, rows, row_tokens),
    }
    makers: dict[str, tuple[Callable[[PackedBatch], Call], str]] = {
        "packed": (lambda batch: own_step(lm(), batch), "packed"),
        "full": (lambda batch: own_step(lm(), batch), "full"),
        "x-transformers padded": (lambda batch: _stock_step(stock(), batch), "padded"),
        "x-transformers full": (lambda batch: _stock_step(stock(), batch), "full"),
        "transformers full": (lambda batch: _transformers_step(lm(), batch), "full"),
    }
    return {
        name: Contestant(partial(make, batches[kind]), int((batches[kind].document_ids >= 0).sum()))
        for name, (make, kind) in makers.items()
    }


def build_model_size(folder: Path) -> Callable[[float], Call]:
    """Build steps of models of about so many million weights, 8 layers, a row of 384 tokens."""

    def make(millions: float) -> Call:
        lm = sized_lm(millions)
        return own_step(lm, packed_utterances(lm, 1, 384))

    return make


def sized_lm(millions: float, num_layers: int = 8) -> SpeechLM:
    """Build a random model of about so many weights, few of them in embeddings."""
    torch.manual_seed(0)
    # A layer of width D has about 12 D^2 weights; the width is a multiple of 32, a head.
    heads = max(1, round((millions * 1e6 / 12 / num_layers) ** 0.5 / 32))
    config = SpeechLMConfig(
        vocabulary=Vocabulary(64, 256).to_dict(),
        codec_fingerprint="benchmark",
        frame_rate=23.4375,
        dim=32 * heads,
        num_layers=num_layers,
        num_heads=heads,
        dim_head=32,
        max_seq_len=1024,
    )
    return SpeechLM(config).train()


def own_step(lm: SpeechLM, batch: PackedBatch) -> Call:
    """Make an optimizer step like `SpeechLMTraining`."""

    def loss() -> Tensor:
        return lm.loss(
            batch.tokens,
            batch.loss_weights,
            positions=batch.positions,
            document_ids=batch.document_ids,
        )

    return _step(lm, loss)


def _stock_step(net: nn.Module, batch: PackedBatch) -> Call:
    """A step of x-transformers' model as in its own examples: causal, padding left to the loss."""
    targets = batch.tokens[:, 1:].masked_fill(batch.loss_weights[:, 1:] == 0, -1)

    def loss() -> Tensor:
        logits = net(batch.tokens[:, :-1])  # (B, S - 1, V), to (B, V, S - 1) for the loss
        return nn.functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-1)

    return _step(net, loss)


def _transformers_step(lm: SpeechLM, batch: PackedBatch) -> Call:
    """A step of `LlamaForCausalLM` with its own loss."""
    model: Any = transformers_twin(lm).train()
    labels = batch.tokens.masked_fill(batch.loss_weights == 0, -100)
    return _step(model, lambda: model(input_ids=batch.tokens, labels=labels, use_cache=False).loss)


def _step(model: nn.Module, loss: Callable[[], Tensor]) -> Call:
    """A call of forward, backward and AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _padded(lm: SpeechLM, rows: int, row_tokens: int) -> PackedBatch:
    """A row for each utterance, padded to its length."""
    documents = utterances(lm, rows)
    return stack_rows([[each] for each in documents], row_tokens, lm.vocabulary.pad_id)


def _full(lm: SpeechLM, rows: int, row_tokens: int) -> PackedBatch:
    """Rows filled by one document each, without padding."""
    codes = np.arange(row_tokens - 3) % lm.vocabulary.codebook_size
    return stack_rows(
        [[build_document(lm.vocabulary, codes)]] * rows, row_tokens, lm.vocabulary.pad_id
    )


BENCHMARKS = (
    Benchmark(
        "lm.training",
        "optimizer steps of a 10 M model, the same weights in all",
        "tokens",
        build,
        (
            Figure(
                "packed",
                "x-transformers padded",
                "packed rows beside x-transformers on an utterance a row, per token that is no "
                "padding",
            ),
            Figure("full", "x-transformers full", "rows of one document: no gain by packing"),
            Figure("full", "transformers full", "rows of one document, LlamaForCausalLM"),
        ),
        rounds=3,
    ),
)

CURVES = (
    CostCurve(
        "lm.training.size",
        "one optimizer step, 384 tokens, 8 layers of growing width",
        "million weights",
        {"tiny": (0.1, 0.2, 0.4, 0.8), "full": (2, 4, 8, 16, 32, 64)},
        build_model_size,
    ),
)

"""Training speed beside the stock decoder library and beside padded rows, in one run.

All contestants take turns in every round and the fastest round of each counts, so that a busy
machine slows them alike. A round is one optimizer step: forward, backward, AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.bench.memory import peak_memory
from slm.data.documents import Document, build_document
from slm.data.packed_batch import PackedBatch, stack_rows
from slm.data.packing import pack_best_fit
from slm.model.speech_lm import SpeechLM
from slm.training.flops import (
    measured_peak_flops,
    peak_flops,
    training_flops,
)

from .contestants import clock_name, fastest, names, random_lm, stock_twin, transformers_twin

_SECONDS = (8.0, 12.0)  # of the utterances, ten on average
_PIECES_PER_SECOND = 5.0  # of English read aloud, in pieces of a small text model


def bench_training(
    size: str = "10M",
    *,
    row_tokens: int = 1024,
    rows: int = 2,
    rounds: int = 3,
    device: str = "cpu",
    bf16: bool = False,
    compile: bool = False,  # noqa: A002 - as PyTorch calls it
) -> dict[str, Any]:
    """Useful tokens a second of training steps: ours and stock, packed, padded and full rows.

    Args:
        size: One of `slm.bench.contestants.SIZES`.
        row_tokens: S.
        rows: Of a step.
        rounds: Of which the fastest counts.
        device: Where to train.
        bf16: Autocast to bfloat16.
        compile: Compile both contestants; the first round, which does it, is not counted.

    Returns:
        `tokens_per_second` of each contestant, padding not counted; `packed_over_padded` (ours
        packed over stock padded, and over ours padded), `full_over_stock` on equal rows of one
        document each; the share of padding; for the contestants on full rows `mfu`, the share
        of the device's peak (of its data sheet, on the CPU of a large matrix product timed
        here) that useful operations reach, and `peak_memory_bytes`: on CUDA all that is
        allocated, on the CPU what a step needs on top of what the process already holds.

    Raises:
        ValueError: A size that is not known.
    """
    lm = random_lm(size).train().to(device)
    stock = stock_twin(lm).net.train().to(device)
    if compile:
        lm.compile_training()
    own = _own_step(lm, bf16)
    library = _stock_step(torch.compile(stock) if compile else stock, bf16)
    packed, padded, full = (_on(batch, device) for batch in _batches(lm, row_tokens, rows))
    contestants = {
        "packed": (own, packed),
        "padded": (own, padded),
        "stock_padded": (library, padded),
        "full": (own, full),
        "stock_full": (library, full),
    }
    if "transformers" in names():
        contestants["transformers_full"] = (_transformers_step(lm, device, bf16, compile), full)
    runs = {name: partial(step, batch) for name, (step, batch) in contestants.items()}
    seconds = fastest(runs, rounds, clock_name(device))
    # Padding is no work: only tokens of documents count.
    useful = {
        name: int((batch.document_ids >= 0).sum()) for name, (_, batch) in contestants.items()
    }
    rates = {name: useful[name] / seconds[name] for name in contestants}
    report: dict[str, Any] = {
        "size": size,
        "parameters": lm.num_parameters,
        "tokens_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "packed_over_padded": rates["packed"] / rates["padded"],
        "packed_over_stock_padded": rates["packed"] / rates["stock_padded"],
        "full_over_stock": rates["full"] / rates["stock_full"],
        "packed_padding": 1 - useful["packed"] / packed.tokens.numel(),
        "padded_padding": 1 - useful["padded"] / padded.tokens.numel(),
    }
    place = torch.device(device)
    peak = peak_flops(place, bf16) or (None if bf16 else measured_peak_flops(place))
    full_rows = [name for name in contestants if name.endswith("full")]
    if peak is not None:
        work = training_flops(lm.config, full)
        report["peak_flops"] = peak
        report["mfu"] = {name: work / seconds[name] / peak for name in full_rows}
    memory = {}
    for name in full_rows:
        memory[name] = peak_memory(runs[name], place)
    if None not in memory.values():
        report["peak_memory_bytes"] = memory
    return report


def table(report: dict[str, Any]) -> str:
    """A report as a Markdown table, one contestant a row."""
    memory, mfu = report.get("peak_memory_bytes", {}), report.get("mfu", {})
    lines = ["| contestant | tokens/s | of the device's peak | peak memory, MB |"]
    lines.append("| --- | --- | --- | --- |")
    for name, rate in report["tokens_per_second"].items():
        share = f"{mfu[name]:.1%}" if name in mfu else ""
        peak = f"{memory[name] / 1e6:.0f}" if name in memory else ""
        lines.append(f"| {name} | {rate:.1f} | {share} | {peak} |")
    return "\n".join(lines)


def utterances(lm: SpeechLM, count: int, seed: int = 0) -> list[Document]:
    """Documents of 8 to 12 s of random codes with a transcript each."""
    generator = np.random.default_rng(seed)
    vocabulary, documents = lm.vocabulary, []
    for seconds in generator.uniform(*_SECONDS, count):
        num_codes, num_text = (round(seconds * rate) for rate in (23.4375, _PIECES_PER_SECOND))
        codes = generator.integers(0, vocabulary.codebook_size, num_codes, dtype=np.int64)
        text = generator.integers(0, vocabulary.text_size, num_text, dtype=np.int64)
        documents.append(build_document(vocabulary, codes, text_ids=text.tolist()))
    return documents


def _batches(lm: SpeechLM, row_tokens: int, rows: int) -> tuple[PackedBatch, ...]:
    """Rows of packed utterances, of one utterance each, and of one document that fills each."""
    pad = lm.vocabulary.pad_id
    documents = utterances(lm, 16 * rows)
    packed = pack_best_fit([len(document.tokens) for document in documents], row_tokens)
    middle = packed[len(packed) // 2 - rows // 2 :][:rows]  # neither the fullest nor the last
    full = build_document(lm.vocabulary, np.arange(row_tokens - 3) % lm.vocabulary.codebook_size)
    laid_out: Sequence[Sequence[Sequence[Document]]] = (
        [[documents[number] for number in row] for row in middle],
        [[document] for document in documents[:rows]],
        [[full]] * rows,
    )
    return tuple(stack_rows(each, row_tokens, pad) for each in laid_out)


def _on(batch: PackedBatch, device: str) -> PackedBatch:
    return PackedBatch(*(tensor.to(device) for tensor in batch))


def _own_step(lm: SpeechLM, bf16: bool) -> Callable[[PackedBatch], None]:
    """A step as `SpeechLMTraining` makes it."""

    def loss(batch: PackedBatch) -> Tensor:
        return lm.loss(
            batch.tokens,
            batch.loss_weights,
            positions=batch.positions,
            document_ids=batch.document_ids,
        )

    return _step(lm, loss, bf16)


def _stock_step(net: Any, bf16: bool) -> Callable[[PackedBatch], None]:
    """A step of the library's model as its users make it: causal, padding ignored by the loss."""

    def loss(batch: PackedBatch) -> Tensor:
        targets = batch.tokens[:, 1:].masked_fill(batch.loss_weights[:, 1:] == 0, -1)
        logits = net(batch.tokens[:, :-1])
        return torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-1)

    return _step(net, loss, bf16)


def _transformers_step(
    lm: SpeechLM, device: str, bf16: bool, compiled: bool
) -> Callable[[PackedBatch], None]:
    """A step of `LlamaForCausalLM`, whose own loss is used."""
    model = transformers_twin(lm).train().to(device)
    net = torch.compile(model) if compiled else model

    def loss(batch: PackedBatch) -> Tensor:
        labels = batch.tokens.masked_fill(batch.loss_weights == 0, -100)
        return net(input_ids=batch.tokens, labels=labels, use_cache=False).loss

    return _step(model, loss, bf16)


def _step(
    model: torch.nn.Module, loss: Callable[[PackedBatch], Tensor], bf16: bool
) -> Callable[[PackedBatch], None]:
    parameters = list(model.parameters())
    fused = parameters[0].is_cuda or None
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=fused)

    def step(batch: PackedBatch) -> None:
        with torch.autocast(batch.tokens.device.type, torch.bfloat16, enabled=bf16):
            value = loss(batch)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step

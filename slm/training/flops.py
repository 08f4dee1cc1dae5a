"""Floating-point operations of a training step, and the peak rate of a device."""

from __future__ import annotations

import time
from functools import cache
from typing import NamedTuple

import torch

from slm.data.packed_batch import PackedBatch
from slm.model.config import SpeechLMConfig

# Peak dense bfloat16 rate by a part of CUDA's device name, TFLOP/s, from the vendors' data sheets;
# the first that fits counts, so that longer names come first.
_PEAKS = {
    "B200": 2250.0,
    "GH200": 989.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "A10": 125.0,
    "A6000": 155.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
}

_MEASURED_SIZES = {"cuda": 8192}  # rows of the matrices multiplied there


def block_parameters(config: SpeechLMConfig) -> int:
    """Weights of the matrices of all blocks, with which every token is multiplied."""
    attention = 2 * config.dim_head * (config.num_heads + config.kv_heads) * config.dim
    return config.num_layers * (attention + 3 * config.dim * config.ff_dim)


class BatchCounts(NamedTuple):
    """Counts of tokens in a batch.

    Attributes:
        tokens: Without padding.
        targets: Tokens with a loss.
        seen: Tokens that each token may see, itself included, added up.
    """

    tokens: int
    targets: int
    seen: int


def batch_counts(batch: PackedBatch) -> BatchCounts:
    """Count a batch; waits for its device, so count before it goes to one."""
    real = batch.document_ids >= 0
    return BatchCounts(
        tokens=int(real.sum()),
        targets=int((batch.loss_weights[:, 1:] > 0).sum()),
        seen=int((batch.positions[real] + 1).sum()),
    )


def training_flops(config: SpeechLMConfig, batch: PackedBatch) -> float:
    """`counted_flops` of packed rows."""
    return counted_flops(config, batch_counts(batch))


def counted_flops(config: SpeechLMConfig, counts: BatchCounts) -> float:
    """Floating-point operations of a batch, forward and backward, without recomputation.

    With N block weights, V x D head weights, L layers, H heads of width D':

        6 N                 a token: 2 a weight forward, 4 backward
        6 V D               a token with a loss: others need no logits
        12 L H D'           a token and a token it may see, itself included

    Padding counts nothing, nor do embeddings, norms, and pairs that attention masks.
    """
    tokens, targets, seen = counts
    head = config.vocabulary["ranges"]["code"][1] * config.dim  # V D: codes are the last tokens
    width = config.num_layers * config.num_heads * config.dim_head
    return 6.0 * (block_parameters(config) * tokens + head * targets + 2 * width * seen)


def peak_flops(device: torch.device, bf16: bool) -> float | None:
    """Peak operations a second of a CUDA device in bfloat16, by its name; None where not known."""
    if device.type != "cuda" or not bf16:
        return None
    name = torch.cuda.get_device_name(device)
    return next((rate * 1e12 for part, rate in _PEAKS.items() if part in name), None)


def measured_peak_flops(
    device: torch.device, dtype: torch.dtype = torch.float32, rounds: int = 5
) -> float:
    """Operations a second of a product of two square matrices, the fastest of a few rounds.

    For devices without a data sheet, such as so many cores of a CPU. Measured once in a process for
    as many threads.
    """
    return _measured_peak(device, dtype, rounds, torch.get_num_threads())


@cache
def _measured_peak(device: torch.device, dtype: torch.dtype, rounds: int, threads: int) -> float:
    del threads  # only tells results apart
    size = _MEASURED_SIZES.get(device.type, 1024)
    matrix = torch.ones(size, size, dtype=dtype, device=device)
    best = float("inf")
    # The fastest: a slower round shared the device with something else.
    for _ in range(rounds):
        wait_for_device(device)
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        wait_for_device(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def wait_for_device(device: torch.device | None = None) -> None:
    """Return when all that CUDA was given is done, so that a clock may be read; else at once.

    Args:
        device: The device; None for the current CUDA device where there is one.
    """
    if device.type == "cuda" if device is not None else torch.cuda.is_available():
        torch.cuda.synchronize(device)

"""What a training step costs in operations and memory, and what a device could do."""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from slm.data.packed_dataset import PackedBatch
from slm.model.config import SpeechLMConfig

# Peak dense bfloat16 rate by a part of CUDA's device name, TFLOP/s, from the vendors' data sheets;
# the first that fits counts.
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
    """Weights of the matrices of all blocks: what every token is multiplied with."""
    attention = 2 * config.dim_head * (config.num_heads + config.kv_heads) * config.dim
    return config.num_layers * (attention + 3 * config.dim * config.ff_dim)


class BatchCounts(NamedTuple):
    """What a batch holds.

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
    """Floating-point operations a batch needs, forward and backward; recomputation is not counted.

    With N block weights, V x D head weights, L layers, H heads of width D':

        6 N                 a token: 2 a weight forward, 4 backward
        6 V D               a token with a loss: others need no logits
        12 L H D'           a token and a token it may see, itself included

    Padding counts nothing, nor do embeddings, norms, and what attention must not see.

    Args:
        config: Of the model.
        counts: Of the batch.
    """
    tokens, targets, seen = counts
    head = config.vocabulary["ranges"]["code"][1] * config.dim
    width = config.num_layers * config.num_heads * config.dim_head
    return 6.0 * (block_parameters(config) * tokens + head * targets + 2 * width * seen)


def peak_flops(device: torch.device, bf16: bool) -> float | None:
    """Floating-point operations a second that a device can do at best; None where not known.

    Known are CUDA devices by their names, in bfloat16 only.
    """
    if device.type != "cuda" or not bf16:
        return None
    name = torch.cuda.get_device_name(device)
    return next((rate * 1e12 for part, rate in _PEAKS.items() if part in name), None)


def gradient_norm(parameters: Any) -> Tensor:
    """Euclidean norm of all gradients together, float32 scalar, whole where they are sharded."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # type: ignore[union-attr]


def measured_peak_flops(
    device: torch.device, dtype: torch.dtype = torch.float32, rounds: int = 5
) -> float:
    """Operations a second of a product of two square matrices, the fastest of a few.

    For devices of which no data sheet says what they can do, such as so many cores of a CPU. Made
    once in a process for as many threads.

    Args:
        device: Where.
        dtype: Of the matrices.
        rounds: How often.
    """
    return _measured_peak(device, dtype, rounds, torch.get_num_threads())


@cache
def _measured_peak(device: torch.device, dtype: torch.dtype, rounds: int, threads: int) -> float:
    del threads  # only tells results apart
    size = _MEASURED_SIZES.get(device.type, 1024)
    matrix = torch.ones(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(rounds):
        _wait_for(device)
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        _wait_for(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(run: Callable[[], object], device: torch.device) -> int | None:
    """Bytes at the highest point of a call; None where there is no way to measure.

    On CUDA all that is allocated then; on the CPU, under Linux, resident memory beyond what the
    process held before.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device)
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if device.type != "cpu" or not reset.exists():
        return None
    try:
        reset.write_text("5", encoding="ascii")  # forgets the highest resident size so far
    except OSError:
        return None
    before = _status_bytes(status, "VmRSS")
    run()
    return _status_bytes(status, "VmHWM") - before


def process_peak_memory() -> int | None:
    """Most bytes of memory this process has held so far; None outside Linux.

    Not `getrusage`'s figure, which a process takes over from the one that started it.
    """
    status = Path("/proc/self/status")
    return _status_bytes(status, "VmHWM") if status.exists() else None


def _status_bytes(path: Path, name: str) -> int:
    line = next(each for each in path.read_text("ascii").splitlines() if each.startswith(name))
    return 1024 * int(line.split()[1])


def wait_for_device() -> None:
    """Return when all that CUDA was given is done, so that a clock may be read; else at once."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()

"""Devices and precisions: the check of those that a caller names, and the choice of others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

CPUINFO = Path("/proc/cpuinfo")
DEVICE_HELP = "cpu, cuda, cuda:N, or auto for a GPU where there is one"
# Instructions that multiply bfloat16 matrices; without them a processor converts every number.
BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16")
FULL, MIXED = "32-true", "bf16-mixed"  # Lightning's names


class Precision(NamedTuple):
    """Precision of a training, by Lightning's name, and why it is that one."""

    name: str
    reason: str


def usable_device(name: str) -> torch.device:
    """Find the device of a name, in a form that can be used.

    Args:
        name: "cpu", "cuda", "cuda:1" or another of torch's names; "auto" is the first GPU where
            there is one, else the CPU.

    Raises:
        ValueError: No name of a device, or one that this machine does not have.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name!r} cannot be used: expected {DEVICE_HELP}") from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {name!r} cannot be used: {_lacking(device, error)}") from error
    if device.type == "meta":
        raise ValueError(f"device {name!r} cannot be used: its tensors hold no values")
    return device


def _lacking(device: torch.device, error: Exception) -> str:
    """Name in a line the part of a device that is not there."""
    import torch

    if device.type != "cuda":
        return str(error).partition("\n")[0]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        return "expected a CUDA device, found none"
    return f"expected a CUDA device in 0..{count - 1}, got {device.index}"


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Compute products and convolutions of a CUDA device in float32 itself, not in TF32.

    TF32 keeps 10 bits of a factor's fraction; it is torch's default for convolutions and recurrent
    layers, and what it does to latents is enough to change codes.
    """
    if device.type != "cuda":
        yield
        return
    import torch

    backends: Any = torch.backends
    if hasattr(backends.cuda.matmul, "fp32_precision"):  # torch 2.9 and later
        places: tuple[Any, ...] = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
        field, exact = "fp32_precision", "ieee"
    else:
        places, field, exact = (backends.cuda.matmul, backends.cudnn), "allow_tf32", False
    before = [getattr(place, field) for place in places]
    for place in places:
        setattr(place, field, exact)
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            setattr(place, field, value)


def trained_on(accelerator: str) -> torch.device:
    """Find the device on which the first process of a training by Lightning's accelerator was."""
    import torch

    wants = accelerator in ("auto", "gpu", "cuda")
    return torch.device("cuda" if wants and torch.cuda.is_available() else "cpu")


def training_precision(
    wanted: str, accelerator: str = "auto", *, cpuinfo: Path = CPUINFO
) -> Precision:
    """Choose the precision of a training where it is "auto".

    That is bfloat16 where the device multiplies it itself, else float32: a processor that has to
    convert it trains 14 to 21 times as slowly in bfloat16.

    Args:
        wanted: One of Lightning's names, which stays, or "auto".
        accelerator: Lightning's name of the device kind.
        cpuinfo: Description of the processor in the form of Linux.
    """
    if wanted != "auto":
        return Precision(wanted, "as set")
    import torch

    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision(MIXED, f"{name} multiplies bfloat16 itself")
        return Precision(FULL, f"{name} does not multiply bfloat16 itself")
    if accelerator not in ("auto", "cpu"):
        return Precision(FULL, f"nothing is known of bfloat16 on {accelerator}")
    native = native_bf16(cpuinfo)
    if native:
        return Precision(MIXED, f"this processor multiplies bfloat16 itself ({native})")
    return Precision(FULL, "this processor does not multiply bfloat16 itself")


def native_bf16(cpuinfo: Path = CPUINFO) -> str | None:
    """Name the instructions by which the processor multiplies bfloat16, None where it has none."""
    from .provenance import instructions

    found = instructions(cpuinfo)
    return next((name for name in BF16_INSTRUCTIONS if name in found), None)

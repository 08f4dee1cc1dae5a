"""Tensors that are marked as on the pretended device, and who called an operation on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

SOURCES = str(Path(__file__).resolve().parents[2])


class OnDevice(Tensor):
    """Marks a tensor; the mode alone decides what its calls do."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


def leaves_of(value: Any) -> Iterator[Any]:
    """What lies in nested sequences and mappings; torch's own walk takes a third of a step."""
    if isinstance(value, Tensor) or not isinstance(value, tuple | list | dict):
        yield value
        return
    for each in value.values() if isinstance(value, dict) else value:
        yield from leaves_of(each)


def is_short(tensor: Tensor) -> bool:
    return tensor.dtype in (torch.float16, torch.bfloat16)


def widened(value: Any) -> Any:
    return value.float() if isinstance(value, OnDevice) and is_short(value) else value


def is_spectrum(name: str) -> bool:
    return name in ("stft", "istft") or name.startswith("fft_")


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    return function(value) if isinstance(value, Tensor) else tree_map(function, value)


def marked_on_device(value: Any) -> Any:
    plain = isinstance(value, Tensor) and not isinstance(value, OnDevice)
    return value.as_subclass(OnDevice) if plain else value


def unmarked(value: Any) -> Any:
    return value.as_subclass(Tensor) if isinstance(value, OnDevice) else value


def in_backward() -> bool:
    """True in a backward pass of the sources' own, to which autograd hands unmarked tensors."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "backward" and code.co_filename.startswith(SOURCES):
            return "/.venv/" not in code.co_filename
        frame = frame.f_back
    return False


def source_place() -> str:
    """The function of the sources that is at work, as path::name, and its line."""
    frame, own = sys._getframe(1), f"{SOURCES}/tests/"
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(SOURCES) and not path.startswith(own) and "/.venv/" not in path:
            where = path.removeprefix(f"{SOURCES}/")
            return f"{where}::{frame.f_code.co_name} {frame.f_lineno}"
        frame = frame.f_back
    return "tests"

"""Stored weights: a model that is built is no larger than its file, and all is finite.

A model folder may come from anywhere. Its config is a few lines that can ask for a model of any
size, so the file of weights, which is as large as it is, bounds what is built.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from codec.error_text import message_of

# Of a model over its file. A weight is registered up to three times on its way (with weight norm,
# in a table of codes), and one that parts share is stored once.
_SHARE = 8
# What models of few weights may have beyond, such as positions that are computed: tensors, values.
_MORE_TENSORS, _MORE_VALUES = 2000, 1 << 23
# Draws of first weights. Zeros lie in the bounds that a truncated normal draws again for.
_DRAWS = {
    *(nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_),
    *(Tensor.uniform_, Tensor.normal_),
}


def save_tensors(
    tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file.

    Args:
        tensors: Contiguous, by name.
        path: Of the file.
        metadata: Words of its header.

    Raises:
        OSError: The disk refused, which safetensors tells by an error of its own.
    """
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error


class ZerosAsFirstWeights(TorchFunctionMode):
    """A context in which models are built with zeros where their first weights would be drawn.

    For models whose weights are loaded next, where the draws are a third of the time to load. The
    global random state stays as it was, so numbers drawn after it are others than without it. Of
    this thread alone.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func not in _DRAWS:
            return func(*args, **given)
        with torch.no_grad():
            return (args[0] if args else given["tensor"]).zero_()


@contextmanager
def bounded_build(
    what: object, tensors: Mapping[str, Tensor], *, error: type[ValueError] = ValueError
) -> Iterator[None]:
    """Refuse to build a model that is much larger than its stored weights, before it is filled.

    Args:
        what: Folder of the model, for the message.
        tensors: The stored weights.
        error: Class of the error.

    Raises:
        ValueError: The model has far more tensors or values than are stored, or cannot be built at
            all.
    """
    stored = sum(tensor.numel() for tensor in tensors.values())
    most_tensors = _SHARE * len(tensors) + _MORE_TENSORS
    most_values = _SHARE * stored + _MORE_VALUES
    thread, counts = threading.get_ident(), [0, 0]

    def count(module: nn.Module, name: str, value: object) -> None:
        # The hooks are of the process: other threads may build models of their own.
        if isinstance(value, Tensor) and threading.get_ident() == thread:
            counts[0] += 1
            counts[1] += value.numel()
            if counts[0] > most_tensors or counts[1] > most_values:
                raise error(
                    f"{what}: expected a config of its weights' sizes, {len(tensors)} tensors of "
                    f"{stored} values, got one of another size, of a far larger model"
                )

    with ExitStack() as hooks:
        hooks.enter_context(register_module_parameter_registration_hook(count))
        hooks.enter_context(register_module_buffer_registration_hook(count))
        try:
            yield
        except (ValueError, ImportError):  # these say what is wrong already
            raise
        except Exception as problem:  # whatever sizes without sense lead to
            raise error(
                f"{what}: expected a config of its weights' sizes, got one that no model can be "
                f"built from ({type(problem).__name__}: {message_of(problem)})"
            ) from problem


def check_finite(
    what: object, tensors: Mapping[str, Tensor], *, error: type[ValueError] = ValueError
) -> None:
    """Refuse weights that are NaN or infinite, in float32 at the latest.

    They would give codes or speech without a word.

    Args:
        what: File of the weights, for the message.
        tensors: The stored weights.
        error: Class of the error.

    Raises:
        ValueError: Names the first such tensor, or one of complex numbers.
    """
    for name, tensor in tensors.items():
        if tensor.is_complex():
            raise error(f"{what}: expected real weights, got {tensor.dtype} in {name}")
        if not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        # NaN passes through both; one pass without a copy, which 8-bit numbers alone need.
        low, high = (tensor.float() if tensor.element_size() == 1 else tensor).aminmax()
        # A model computes in float32, where what only float64 can hold becomes infinite.
        if not (low.float().isfinite() and high.float().isfinite()):
            raise error(f"{what}: expected finite weights, got NaN or infinity in {name}")

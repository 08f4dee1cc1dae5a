"""Precision of a codec's parts: decoding may take half of float32, encoding never does.

Codes have to be the same wherever a recording is encoded, and spectra, pitch and the phases of a
pulse train lose too much in 8 or 11 bits. What decides on those stays in float32 when a codec is
converted; the rest of decoding follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from codec.devices import exact_float32

if TYPE_CHECKING:
    from typing_extensions import Self

DECODING = {str(dtype).removeprefix("torch."): dtype
            for dtype in (torch.float32, torch.float16, torch.bfloat16)}  # fmt: skip


def decoding_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """Find the precision of a name or dtype.

    Raises:
        ValueError: None in which a codec decodes.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in DECODING:
        raise ValueError(f"expected a dtype of {', '.join(DECODING)}, got {dtype}")
    return DECODING[name]


class Float32Module(nn.Module):
    """Module whose tensors never get narrower than float32; to devices they move as others do."""

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:
        """Convert or move parameters and buffers, of the modules inside too."""

        def kept(tensor: Tensor) -> Tensor:
            changed = fn(tensor)
            narrows = changed.is_floating_point() and changed.dtype.itemsize < 4
            # From the tensor itself: what was lost on the way does not come back.
            is_full = tensor.is_floating_point() and tensor.dtype.itemsize >= 4
            return tensor.to(changed.device) if narrows and is_full else changed

        super()._apply(kept, *args, **kwargs)
        return self


class Float32Linear(Float32Module, nn.Linear):
    """Linear map in float32."""


@contextmanager
def inference(codec: nn.Module, device: torch.device | None = None) -> Iterator[None]:
    """Run a codec in eval mode, without gradients, and on a given device in float32 itself."""
    full_precision = exact = nullcontext()
    if device is not None:
        exact = exact_float32(device)
        if torch.amp.is_autocast_available(device.type):
            full_precision = torch.autocast(device.type, enabled=False)
    training = [module for module in codec.modules() if module.training]
    if training:
        codec.eval()
    try:
        with torch.no_grad(), full_precision, exact:
            yield
    finally:
        for module in training:  # parts may be in different modes, and stay so
            module.training = True

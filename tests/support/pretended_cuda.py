"""A pretended CUDA device: tensors that say they are on cuda:0 and are computed on the CPU.

On a machine without a GPU it finds what would break or wait on one: tensors of two devices in one
call, generators of the CPU, `.numpy()` of a tensor on the device, and every place where the host
waits. Values are real, so that shapes may follow from them, and autograd works.

Under autocast the operations that CUDA computes in float32 are computed in it, which a CPU would do
in bfloat16; spectra of 16 bits, which cuFFT does not have, are errors. While a graph is recorded
(`recording`), so are waits and copies from the host. In a process group (`nccl`) tensors that NCCL
refuses are errors.

Not seen: kernels, cuDNN, streams, and what runs inside C++.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from tests.support.device_tensors import (
    OnDevice,
    in_backward,
    is_short,
    is_spectrum,
    leaves_of,
    mapped,
    marked_on_device,
    source_place,
    unmarked,
    widened,
)

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
# Calls after which the host has waited for the device.
WAITS = {
    *("__bool__", "__float__", "__index__", "__int__", "allclose", "argwhere", "bincount", "cpu"),
    *("equal", "is_nonzero", "item", "masked_select", "nonzero", "tolist", "unique"),
}
# Calls that may see both devices.
MIXED = {
    *("__get__", "__set__", "_has_compatible_shallow_copy_type", "copy_", "data_ptr", "set_", "to"),
}
# Operations that autocast computes in float32 on CUDA, and on the CPU as they come
# (https://docs.pytorch.org/docs/stable/amp.html); `square` is a power.
IN_FLOAT32 = {
    *("__pow__", "__rpow__", "__rtruediv__", "acos", "asin", "binary_cross_entropy_with_logits"),
    *("cdist", "cosh", "cosine_embedding_loss", "cosine_similarity", "cross_entropy", "cumprod"),
    *("cumsum", "dist", "erfinv", "exp", "expm1", "group_norm", "hinge_embedding_loss", "kl_div"),
    *("l1_loss", "layer_norm", "log", "log10", "log1p", "log2", "log_softmax", "mse_loss"),
    *("margin_ranking_loss", "multi_margin_loss", "multilabel_margin_loss", "nll_loss", "norm"),
    *("normalize", "pdist", "poisson_nll_loss", "pow", "prod", "reciprocal", "renorm", "rsqrt"),
    *("sinh", "smooth_l1_loss", "soft_margin_loss", "softmax", "softmin", "softplus", "square"),
    *("sum", "tan", "triplet_margin_loss"),
}
# Calls that make tensors from values of the host.
FROM_HOST = {"as_tensor", "cuda", "new_tensor", "tensor", "to"}
# What NCCL takes: tensors of the device, in one piece.
COLLECTIVES = ("all_gather", "all_reduce", "broadcast")
Module = TypeVar("Module", bound=nn.Module)


class PretendedCuda(TorchFunctionMode):
    """While it is on, `device="cuda"` gives marked tensors.

    Attributes:
        errors: What a device would refuse, by place, and how often.
        waits: Where the host would wait for it, likewise.
    """

    current: PretendedCuda | None = None  # the one that is on

    def __init__(self) -> None:
        super().__init__()
        self.errors: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.records = False  # a graph

    def waiting(self) -> Counter[str]:
        """Waits by function of the sources, lines and kinds of calls left out."""
        found: Counter[str] = Counter()
        for place, count in self.waits.items():
            found[place.split(" ")[0]] += count
        return found

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", str(func))
        if name == "_parse_to":
            return func(*args, **kwargs)
        if name == "__get__" and isinstance(args[0], OnDevice):
            known = {Tensor.device: CUDA, Tensor.is_cuda: True, Tensor.is_cpu: False}
            owner = getattr(func, "__self__", None)
            if owner in known:
                return known[owner]
        if name in ("pin_memory", "is_pinned"):
            return args[0] if name == "pin_memory" else False
        # 1. Where the call goes, and what would be wrong with it.
        target = _target(name, args, kwargs)
        comes = target is not None and target.type == "cuda"
        leaves = name == "cpu" or (target is not None and target.type == "cpu")
        flat = [each for each in leaves_of((args, kwargs)) if isinstance(each, Tensor)]
        on = [each for each in flat if isinstance(each, OnDevice)]
        self._check(name, args, kwargs, flat, on, comes=comes, leaves=leaves)
        # 2. The call itself, on the CPU.
        if on and name in IN_FLOAT32 and torch.is_autocast_enabled("cuda"):
            args, kwargs = tree_map(widened, args), tree_map(widened, kwargs)
        if name == "cuda":
            func, args, kwargs = Tensor.clone, args[:1], {}
        elif target is not None:
            args, kwargs = _on_cpu(name, args), _on_cpu(name, kwargs)
        out = func(*args, **kwargs)
        # 3. Marks on what would be on the device.
        if leaves:
            return mapped(unmarked, out)
        return mapped(marked_on_device, out) if comes or (on and name not in _PLAIN) else out

    def _check(
        self,
        name: str,
        args: Any,
        kwargs: dict[str, Any],
        flat: Sequence[Tensor],
        on: Sequence[Tensor],
        *,
        comes: bool,
        leaves: bool,
    ) -> None:
        if kwargs.get("generator") is not None and (comes or on) and not leaves:
            self.errors[f"{source_place()} {name}: a generator of the CPU"] += 1
        if self.records and comes and name in FROM_HOST and not on:
            self.errors[f"{source_place()} {name}: a copy from the host in a graph"] += 1
        if not on:
            return
        if is_spectrum(name) and any(is_short(each) for each in on):
            self.errors[f"{source_place()} {name}: a spectrum of 16 bits"] += 1
        if name in _PLAIN:
            self.errors[f"{source_place()} {name} of a tensor on the device"] += 1
        if name in WAITS or (name == "to" and leaves):
            self.waits[f"{source_place()} {name}"] += 1
            if self.records:
                self.errors[f"{source_place()} {name}: a wait in a graph"] += 1
        off = [each for each in flat if not isinstance(each, OnDevice) and each.dim() > 0]
        if name in ("__getitem__", "__setitem__"):
            self._check_index(args)
            # Indices may lie on the CPU, what is read or written may not.
            own = args[0]
            values = args[2:] if name == "__setitem__" else ()
            off = [each for each in values if isinstance(each, Tensor) and each.dim() > 0]
            off = [each for each in off if isinstance(each, OnDevice) != isinstance(own, OnDevice)]
            off = off if isinstance(own, OnDevice) else list(on)
        if off and name not in MIXED:
            self.errors[
                f"{source_place()} {name}: tensors of two devices, one {tuple(off[0].shape)}"
            ] += 1

    def _check_index(self, args: Any) -> None:
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        if any(isinstance(each, OnDevice) and each.dtype == torch.bool for each in index):
            self.waits[f"{source_place()} index of bools"] += 1
            if self.records:
                self.errors[f"{source_place()} index of bools: a wait in a graph"] += 1

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """What is called within is recorded as a graph: it may not wait nor read the host."""
        self.records = True
        try:
            yield
        finally:
            self.records = False

    @contextlib.contextmanager
    def nccl(self) -> Iterator[None]:
        """A group of this process alone, whose collectives are as strict as those of NCCL."""
        plain = {name: getattr(distributed, name) for name in COLLECTIVES}

        def checked(name: str) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                for each in leaves_of((args, kwargs)):
                    if not isinstance(each, Tensor):
                        continue
                    if not isinstance(each, OnDevice) and not in_backward():
                        self.errors[f"{source_place()} {name}: a tensor of the CPU"] += 1
                    elif not each.is_contiguous():
                        self.errors[f"{source_place()} {name}: a tensor in pieces"] += 1
                return plain[name](*args, **kwargs)

            return call

        store = distributed.HashStore()  # pyright: ignore[reportPrivateImportUsage]
        distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        try:
            for name in COLLECTIVES:
                setattr(distributed, name, checked(name))
            yield
        finally:
            for name, call in plain.items():
                setattr(distributed, name, call)
            distributed.destroy_process_group()


# Calls that give no tensor of the device.
_PLAIN = ("numpy", "__array__")


def _target(name: str, args: Any, kwargs: dict[str, Any]) -> torch.device | None:
    """The device that a call names, None for none."""
    if name == "cuda":
        return CUDA
    given = kwargs.get("device")
    if given is None and name == "to" and len(args) > 1:
        if isinstance(args[1], Tensor):
            return CUDA if isinstance(args[1], OnDevice) else CPU
        given = args[1] if isinstance(args[1], str | torch.device) else None
    if given is None:
        given = next((each for each in leaves_of(args) if isinstance(each, torch.device)), None)
    return None if given is None else torch.device(given)


def _on_cpu(name: str, given: Any) -> Any:
    """Arguments of a call with the CPU in place of the device."""
    if isinstance(given, dict):
        return {k: CPU if k == "device" and v is not None else v for k, v in given.items()}
    if name == "to" and isinstance(given[1] if len(given) > 1 else None, str):
        return (given[0], CPU, *given[2:])
    return tree_map(lambda each: CPU if isinstance(each, torch.device) else each, given)


@contextlib.contextmanager
def pretended_cuda() -> Iterator[PretendedCuda]:
    """The mode, with CUDA's autocast acting as the CPU's own so that 16-bit paths run."""
    plain, enabled, dtype = torch.autocast, torch.is_autocast_enabled, torch.get_autocast_dtype
    available = torch.amp.is_autocast_available

    class OfCpu(plain):  # type: ignore[misc, valid-type]
        def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
            super().__init__(kind_of(device_type), *args, **kwargs)

    def kind_of(kind: str = "cpu") -> str:
        return "cpu" if kind == "cuda" else kind

    def grouped(tensors: Any, *rest: Any) -> Any:
        """C++ asks for the devices themselves, and would answer with the CPU."""
        return {
            (CUDA if isinstance(lists[0][0], OnDevice) else CPU, dtype): (lists, indices)
            for (_, dtype), (lists, indices) in group(tensors, *rest).items()
        }

    clip: Any = torch.nn.utils.clip_grad
    group = clip._group_tensors_by_device_and_dtype
    acceptable = torch.backends.cudnn.is_acceptable
    clip._group_tensors_by_device_and_dtype = grouped
    torch.backends.cudnn.is_acceptable = lambda tensor: False
    torch.autocast = OfCpu  # type: ignore[misc]
    torch.is_autocast_enabled = lambda kind="cpu": enabled(kind_of(kind))  # type: ignore
    torch.get_autocast_dtype = lambda kind="cpu": dtype(kind_of(kind))  # type: ignore
    torch.amp.is_autocast_available = lambda kind: available(kind_of(kind))  # type: ignore
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # keeps the marks
    try:
        with PretendedCuda() as mode:
            PretendedCuda.current = mode
            yield mode
    finally:
        PretendedCuda.current = None
        clip._group_tensors_by_device_and_dtype = group
        torch.backends.cudnn.is_acceptable = acceptable
        torch.autocast = plain  # type: ignore[misc]
        torch.is_autocast_enabled, torch.get_autocast_dtype = enabled, dtype
        torch.amp.is_autocast_available = available
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)


def moved(module: Module) -> Module:
    """A module on the pretended device; within `pretended_cuda`."""
    return module._apply(lambda each: each.detach().to("cuda"))


def unknown(gpu: PretendedCuda, waits: Mapping[str, int]) -> dict[str, int]:
    """What was wrong, and where the host waited more often than it is known to."""
    more = {where: n for where, n in gpu.waiting().items() if n > waits.get(where, 0)}
    return {**gpu.errors, **more}

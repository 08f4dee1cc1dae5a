"""Import what is used of `vocos`, `bigvgan` and packages that ask for einx, and nothing else.

The codec itself needs none of this: it is for the discriminators of training, for BigVGAN as the
vocoder, and for the language model.

`vocos` imports `torchaudio`, whose wheels do not load beside a CPU-only torch, and `encodec`,
whose release is licensed CC BY-NC. Its discriminators need of both only a spectrogram and two
mel-scale formulas. `bigvgan` imports librosa and matplotlib for its mels and plots, and its
generator needs two one-line functions of those modules. So the imports are given stand-ins, and
none of the four has to be installed. `x_transformers` imports einx, which takes longer to load than
torch (with torch's compiler and sympy), for functions that nothing here calls.
"""

from __future__ import annotations

import importlib.util
import io
import math
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from .requirements import install_command


class _Spectrogram(nn.Module):
    """Stand-in for torchaudio's transform with the arguments that `vocos` passes."""

    window: Tensor

    def __init__(self, n_fft: int, hop_length: int, win_length: int, power: float | None) -> None:
        super().__init__()
        if power is not None or win_length != n_fft:
            raise ValueError(f"expected power=None and win_length={n_fft}, got {power, win_length}")
        self.n_fft, self.hop_length = n_fft, hop_length
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, T) to complex (B, n_fft // 2 + 1, T // hop + 1)."""
        with torch.autocast(waveform.device.type, enabled=False):
            return torch.stft(
                waveform.float(),
                self.n_fft,
                self.hop_length,
                window=self.window,
                return_complex=True,
            )


def _module(name: str, **values: Any) -> ModuleType:
    """A module that holds the given values."""
    module = ModuleType(name)
    vars(module).update(values)
    return module


def _for_vocos(folders: list[str]) -> dict[str, ModuleType]:
    """Modules that satisfy the import lines of `vocos`, without its `__init__`.

    That would load the Hugging Face hub's client.
    """
    transforms = _module("torchaudio.transforms", Spectrogram=_Spectrogram)
    scales = _module(
        "torchaudio.functional.functional",
        _hz_to_mel=lambda hz: 2595.0 * math.log10(1.0 + hz / 700.0),
        _mel_to_hz=lambda mel: 700.0 * (10.0 ** (mel / 2595.0) - 1.0),
    )
    modules = [
        _module("vocos", __path__=folders),
        _module("torchaudio", transforms=transforms),
        transforms,
        _module("torchaudio.functional"),
        scales,
        _module("encodec", EncodecModel=object),
    ]
    return {module.__name__: module for module in modules}


def _for_bigvgan(folders: list[str]) -> dict[str, ModuleType]:
    """The package without its `__init__`, and the two functions its generator calls.

    Weight norm replaces what `init_weights` draws before it is ever used, so that does nothing.
    """
    parts = [
        _module("bigvgan", __path__=folders),
        _module(
            "bigvgan.utils",
            init_weights=lambda module: None,
            get_padding=lambda kernel, dilation=1: dilation * (kernel - 1) // 2,
        ),
    ]
    return {module.__name__: module for module in parts}


@contextmanager
def _replaced(modules: dict[str, ModuleType]) -> Iterator[None]:
    """Put modules into `sys.modules`, and what was there back afterwards."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def import_vocos(submodule: str) -> Any:
    """Import `vocos.<submodule>`, whether or not torchaudio loads here.

    Raises:
        ImportError: `vocos` is not installed; the message names the command that does it.
    """
    name = f"vocos.{submodule}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec("vocos")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"the discriminators need the package vocos: {install_command('vocos')}")
    with _replaced(_for_vocos(list(spec.submodule_search_locations))):
        return import_module(name)


class _Deferred(ModuleType):
    """A module that is imported when one of its functions is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **named: getattr(import_module(self.__name__), name)(*given, **named)


def without_einx() -> AbstractContextManager[None]:
    """A context in which packages may import einx, which is loaded when they first call it."""
    return nullcontext() if "einx" in sys.modules else _replaced({"einx": _Deferred("einx")})


@cache
def import_bigvgan() -> Any:
    """The `bigvgan.bigvgan` module, with weight norm as a parametrization.

    The copy is private: nothing of it stays in `sys.modules`, where others find the whole package.

    Raises:
        ImportError: `bigvgan` is not installed; the message names the command that does it.
    """
    spec = importlib.util.find_spec("bigvgan")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"this vocoder needs the package bigvgan: {install_command('bigvgan')}")
    own = [name for name in sys.modules if name.split(".")[0] == "bigvgan"]
    others = {name: sys.modules.pop(name) for name in own}
    try:
        with _replaced(_for_bigvgan(list(spec.submodule_search_locations))):
            module = import_module("bigvgan.bigvgan")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "bigvgan"]:
            del sys.modules[name]
        sys.modules.update(others)
    module.weight_norm = weight_norm  # type: ignore[attr-defined]
    return module


def import_without_torchaudio(name: str) -> ModuleType:
    """Import a package that asks for torchaudio in parts of it that are never called here.

    What it prints while it is imported is dropped.

    Raises:
        ImportError: The package is missing or needs another that is.
    """
    wanted = [_module("torchaudio"), _module("torchaudio.transforms", MFCC=None)]
    # Left behind, they would break every later look for torchaudio.
    missing = {each.__name__: each for each in wanted if each.__name__ not in sys.modules}
    with _replaced(missing), redirect_stdout(io.StringIO()):
        return import_module(name)

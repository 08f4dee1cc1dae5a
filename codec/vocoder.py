"""Log-mel to waveform with Vocos, built from the `vocos` package.

`vocos` imports `torchaudio`, whose wheels do not load beside a CPU-only torch, and `encodec`,
whose release is licensed CC BY-NC. What is used of `vocos` (backbone, Fourier head,
discriminators) needs of both only a spectrogram and two mel-scale formulas, so the import is
given stand-ins for them and neither package has to be installed.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from .config import CodecConfig, MelConfig
from .mel import LogMel


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


def _stand_ins() -> dict[str, ModuleType]:
    """Modules that satisfy the import lines of `vocos`."""
    names = ("torchaudio", "torchaudio.transforms", "torchaudio.functional", "encodec")
    modules = {name: ModuleType(name) for name in (*names, "torchaudio.functional.functional")}
    modules["torchaudio"].transforms = modules["torchaudio.transforms"]  # type: ignore[attr-defined]
    modules["torchaudio.transforms"].Spectrogram = _Spectrogram  # type: ignore[attr-defined]
    scales = modules["torchaudio.functional.functional"]
    scales._hz_to_mel = lambda hz: 2595.0 * math.log10(1.0 + hz / 700.0)  # type: ignore[attr-defined]
    scales._mel_to_hz = lambda mel: 700.0 * (10.0 ** (mel / 2595.0) - 1.0)  # type: ignore[attr-defined]
    modules["encodec"].EncodecModel = object  # type: ignore[attr-defined]
    return modules


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
        ImportError: `vocos` is not installed; the message says how to get it.
    """
    name = f"vocos.{submodule}"
    if name in sys.modules:
        return sys.modules[name]
    try:
        with _replaced(_stand_ins()):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            "the vocoder needs the package vocos: pip install --no-deps vocos==0.1.0"
        ) from error


class Vocoder(nn.Module):
    """Vocos (https://arxiv.org/abs/2306.00814): ConvNeXt backbone and inverse-STFT head.

    Args:
        config: sizes and the mel convention; the vocoder owns the convention, and `check_mel`
            refuses another.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        size, mel = config.vocoder, config.mel
        self.mel_config = mel
        self.mel = LogMel(mel)
        self.backbone = import_vocos("models").VocosBackbone(
            mel.n_mels, size.dim, size.intermediate_dim, size.num_layers
        )
        self.head = import_vocos("heads").ISTFTHead(
            size.dim, mel.n_fft, mel.hop_length, padding=mel.padding
        )

    def check_mel(self, mel_config: MelConfig) -> None:
        """Refuse log-mels of another convention than this vocoder was built for.

        Raises:
            ValueError: the conventions differ.
        """
        if mel_config.fingerprint != self.mel_config.fingerprint:
            raise ValueError(f"the vocoder expects mels of {self.mel_config}, got {mel_config}")

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel to waveform.

        Args:
            mel: (B, M, F) in the convention of `mel_config`; F = T / hop_length for both
                paddings ("center" repeats the last frame, which its inverse needs).

        Returns:
            (B, F * hop_length) float32, about [-1, 1].
        """
        if self.mel_config.padding == "center":
            mel = torch.cat([mel, mel[..., -1:]], dim=-1)
        hidden = self.backbone(mel)
        # the inverse transform needs fp32; exp() of the head overflows in half precision
        with torch.autocast(mel.device.type, enabled=False):
            return self.head(hidden.float())

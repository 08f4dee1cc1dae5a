"""Levels of clips: what is taken off before encoding and given back after decoding."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from codec.speech_level import SILENT_DBFS, Level, measure_level


def clip_level(waveform: Tensor, sample_rate: int) -> Level:
    """Measure the level of a clip (T,)."""
    return measure_level([waveform.detach().double().cpu().numpy()], sample_rate)


class LevelConfig(Protocol):
    """Fields of a codec's config that its level depends on."""

    @property
    def loudness_dbfs(self) -> float | None:
        """Level that clips are brought to; None leaves them as they are."""

    @property
    def mel(self) -> Any:
        """With the `sample_rate` of clips, Hz."""


@torch.no_grad()
def level_change(waveform: Tensor, config: LevelConfig) -> tuple[Tensor, Tensor]:
    """Compute what brings clips to a codec's level: (waveform - offset) * factor.

    Args:
        waveform: (B, T) float.
        config: Its `loudness_dbfs` is not None.

    Returns:
        Factors and offsets, (B, 1) each; factor 1 for silence.
    """
    rms = waveform.square().mean(dim=-1, keepdim=True).sqrt()
    if not torch.isfinite(rms).all():  # squares beyond the precision
        return level_change(waveform.double(), config)
    assert config.loudness_dbfs is not None
    levels = [clip_level(row, config.mel.sample_rate) for row in waveform]
    rms = rms * rms.new_tensor([[level.ratio] for level in levels])
    gain = 10.0 ** (config.loudness_dbfs / 20.0) / rms  # (B, 1)
    offset = waveform.new_tensor([[level.offset] for level in levels])
    return torch.where(rms > 1e-6, gain, torch.ones_like(gain)), offset


def decoding_gain(config: LevelConfig, level_dbfs: float | None) -> float:
    """Compute the factor from a codec's level to a recording's; see `HHCodec.decoding_gain`."""
    if config.loudness_dbfs is None or level_dbfs is None:
        return 1.0
    is_silent = level_dbfs <= SILENT_DBFS
    return 0.0 if is_silent else 10.0 ** ((level_dbfs - config.loudness_dbfs) / 20.0)


def decoding_gains(config: LevelConfig, levels: Any, rows: int) -> list[float]:
    """Compute the factors from a codec's level to those asked for.

    Args:
        config: Of the codec.
        levels: (rows,) dBFS, or None for the codec's own.
        rows: Number of clips.

    Raises:
        ValueError: Another number of levels, or some that are not finite.
    """
    if levels is None or config.loudness_dbfs is None:
        return [1.0] * rows
    given = torch.as_tensor(levels).double().cpu()
    if given.shape != (rows,) or not given.isfinite().all():
        raise ValueError(f"expected {rows} finite levels in dBFS, got {given.tolist()}")
    return [decoding_gain(config, level) for level in given.tolist()]

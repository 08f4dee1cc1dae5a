"""Training batches: random crops that are a pure function of seed and step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soxr
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from .store import AudioStore


class CropBatches(IterableDataset[tuple[int, Tensor]]):
    """Batches of crops; batch number n is the same whatever came before it.

    Args:
        store: the training clips.
        batch_size: crops a batch.
        crop_samples: length of a crop; shorter clips are zero-padded on the right.
        seed: of the draw.
        start: number of the first batch.
        speed: crops are played up to this share faster or slower, log-uniformly; it moves pitch
            and formants too, so that few speakers act as many. 0 leaves them alone.
    """

    def __init__(
        self,
        store: AudioStore,
        batch_size: int,
        crop_samples: int,
        *,
        seed: int,
        start: int = 0,
        speed: float = 0.0,
    ) -> None:
        if not 0.0 <= speed < 0.5:
            raise ValueError(f"expected speed in [0, 0.5), got {speed}")
        if len(store) == 0:
            raise ValueError(f"{store.folder}: expected at least one clip to train on, got none")
        self.store = store
        self.batch_size = batch_size
        self.crop_samples = crop_samples
        self.seed = seed
        self.start = start
        self.speed = speed
        sizes = np.array([row["num_samples"] for row in store.rows], dtype=np.float64)
        self._ends = np.cumsum(sizes)

    def batch(self, number: int) -> Tensor:
        """Batch `number`, (batch_size, crop_samples) float32.

        Clips are drawn in proportion to their length, so every second of audio is equally
        likely; the crop's place in the clip is uniform.
        """
        draw = np.random.default_rng((self.seed, number))
        clips = np.searchsorted(self._ends, draw.random(self.batch_size) * self._ends[-1], "right")
        crops = []
        for clip in clips:
            factor = np.exp(draw.uniform(-1, 1) * np.log1p(self.speed)) if self.speed else 1.0
            taken = round(self.crop_samples * factor)
            spare = self.store.rows[clip]["num_samples"] - taken
            start = int(draw.integers(0, spare + 1)) if spare > 0 else 0
            crops.append(self._at_speed(self.store.crop(int(clip), start, taken)))
        return torch.from_numpy(np.stack(crops))

    def _at_speed(self, crop: NDArray[np.float32]) -> NDArray[np.float32]:
        """A crop of any length played within `crop_samples` samples."""
        if len(crop) == self.crop_samples:
            return crop
        played = soxr.resample(crop, len(crop), self.crop_samples, quality="MQ")
        fitted = np.zeros(self.crop_samples, dtype=np.float32)
        fitted[: len(played)] = played[: self.crop_samples]
        return fitted

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        number = self.start
        while True:
            yield number, self.batch(number)
            number += 1


class CodecData(LightningDataModule):
    """Training crops from the step the trainer is at, and a fixed set of validation crops."""

    def __init__(
        self, batches: CropBatches, valid: AudioStore, *, num_valid_crops: int = 48
    ) -> None:
        super().__init__()
        self.batches = batches
        self.valid_batches = CropBatches(
            valid, num_valid_crops, batches.crop_samples, seed=batches.seed
        )

    def train_dataloader(self) -> DataLoader[tuple[int, Tensor]]:
        """Batches from the trainer's (restored) step on, forever."""
        assert self.trainer is not None
        self.batches.start = self.trainer.global_step
        return DataLoader(self.batches, batch_size=None)

    def valid_batch(self) -> Tensor:
        """The validation crops, (num_valid_crops, crop_samples), always the same."""
        return self.valid_batches.batch(0)

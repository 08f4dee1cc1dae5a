"""Training batches: random crops that are a pure function of seed and step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import soxr
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from codec.audio.sources import AudioSource, CropPlace
from codec.checks import count, in_range, require

from .config import PerturbationConfig
from .perturbation import Perturbation
from .pitch_targets import track_pitch

Sources = AudioSource | Sequence[tuple[AudioSource, float | None]]


class Batch(NamedTuple):
    """A process's rows of a batch."""

    number: int  # of the batch
    crops: Tensor  # (B, T) float32
    inputs: Tensor | None = None  # (B, T) of the encoder, where it is perturbed by itself
    # Pitch and voicing (B, F) of the crops as of `track_pitch`, where a loss needs them.
    pitch: Tensor | None = None
    voiced: Tensor | None = None
    # (B, T) for the encoder, another place of each crop's recording, where there is a voice code.
    voices: Tensor | None = None


# Keeps what perturbs a crop, and where its voice is read, apart from what chooses it.
_CHANGED, _DEGRADED, _VOICE = 0xC4A, 0xDE6, 0x401CE


class CropBatches(IterableDataset[Batch]):
    """Batches of crops; batch number n is the same whatever came before it.

    Iterated by W workers, worker k makes the batches start + k, start + k + W, ..., which a
    DataLoader hands on in order: what is trained on does not depend on W.

    Args:
        sources: The training clips; or several sources, each with the share of crops that it
            gives (relative to the others'), or None for a share in proportion to its duration.
        batch_size: Crops a batch, over all processes that train together.
        crop_samples: Length of a crop; shorter clips are zero-padded on the right.
        seed: Of the draw.
        start: Number of the first batch.
        speed: Crops are played up to this share faster or slower, log-uniformly; it moves pitch
            and formants too, so that few speakers act as many. 0 leaves them alone.
        perturbation: Further changes of a crop, drawn for seed, batch and row; None for none.
        pitch_hop: Samples a frame of the pitch that is tracked in the crops; 0 tracks none.
        voices: Whether batches have `voices`, from which a voice code is read.

    Raises:
        ValueError: Sizes below 1, a speed outside [0, 0.5), a source without clips, sources of
            different sample rates, or shares that are negative or all 0.
    """

    def __init__(
        self,
        sources: Sources,
        batch_size: int,
        crop_samples: int,
        *,
        seed: int,
        start: int = 0,
        speed: float = 0.0,
        perturbation: PerturbationConfig | None = None,
        pitch_hop: int = 0,
        voices: bool = False,
    ) -> None:
        count("batch_size", batch_size, 1)
        count("crop_samples", crop_samples, 1)
        count("seed", seed)
        in_range("speed", speed, 0.0, 0.5, ends="[)")
        pairs = source_shares(sources)
        self.sources = [source for source, _ in pairs]
        self.shares = [share for _, share in pairs]
        self.batch_size = batch_size
        self.crop_samples = crop_samples
        self.seed = seed
        self.start = start
        self.speed = speed
        self.pitch_hop, self.has_voices = pitch_hop, voices
        self.perturbation = perturbation or PerturbationConfig()
        self._perturb = Perturbation(self.perturbation, self.sources[0].sample_rate)
        # Set by `CodecData`: each process that trains has its rows of a batch.
        self.rank, self.processes = 0, 1
        # Clips are numbered through all sources: number of each source's first, and the cumulative
        # likelihood at the end of each clip.
        self._firsts = np.cumsum([0] + [len(source) for source in self.sources])
        self._ends = np.cumsum(_likelihoods(pairs))

    def positions(self, number: int) -> list[CropPlace]:
        """Draw source, clip and offset of this process's crops of batch `number`, unread.

        Clips are drawn in proportion to their length, so every second of a source is equally
        likely; the crop's offset in the clip is uniform.
        """
        draw = np.random.default_rng((self.seed, number))
        clips = np.searchsorted(self._ends, draw.random(self.batch_size) * self._ends[-1], "right")
        positions = []
        for chosen in clips:
            source = int(np.searchsorted(self._firsts, chosen, "right")) - 1
            clip = int(chosen - self._firsts[source])
            # samples read a sample played, log-uniform around 1
            factor = np.exp(draw.uniform(-1, 1) * np.log1p(self.speed)) if self.speed else 1.0
            taken = round(self.crop_samples * factor)
            num_samples = self.sources[source].rows[clip]["num_samples"]
            start = int(draw.integers(0, num_samples - taken + 1)) if num_samples > taken else 0
            length = round(min(num_samples, taken) * self.crop_samples / taken)
            positions.append(CropPlace(source, clip, start, taken, length))
        count = self.batch_size // self.processes
        return positions[self.rank * count : (self.rank + 1) * count]

    def batch(self, number: int) -> Tensor:
        """Read this process's rows of a batch, (batch_size / processes, crop_samples) float32."""
        return self._read(number, self.positions(number))

    def voice_positions(self, number: int) -> list[CropPlace]:
        """Draw another place of the same recording for every crop of `positions`.

        It is as long, does not overlap the crop, and is uniform among such places; where there is
        none, it is the end of the recording that overlaps least, which is the crop itself where the
        recording is no longer than it.
        """
        places = []
        draws = self._draws(number, _VOICE)
        for place, draw in zip(self.positions(number), draws, strict=True):
            last = self.sources[place.source].rows[place.clip]["num_samples"] - place.taken
            before = max(0, place.start - place.taken + 1)  # places that end before the crop
            after = max(0, last - place.start - place.taken + 1)  # places that begin after it
            if before + after:
                start = int(draw.integers(0, before + after))
                start += 0 if start < before else place.start + place.taken - before
            else:
                start = 0 if 2 * place.start >= last else last
            places.append(replace(place, start=start))
        return places

    def voices(self, number: int) -> Tensor:
        """Make the input that voices are read from, shaped as `inputs`.

        Changed as the crops of the batch are: pitch and equaliser are part of a voice.
        """
        return self.inputs(number, self._read(number, self.voice_positions(number)))

    def _read(self, number: int, places: list[CropPlace]) -> Tensor:
        """Read crops and change them as those of a batch."""
        crops = [
            self._at_speed(self.sources[each.source].crop(each.clip, each.start, each.taken))
            for each in places
        ]
        if self.perturbation.changes_recordings:
            draws = self._draws(number, _CHANGED)
            pairs = zip(crops, draws, strict=True)
            crops = [self._perturb.changed_recording(*each) for each in pairs]
        return torch.from_numpy(np.stack(crops))

    def inputs(self, number: int, crops: Tensor | None = None) -> Tensor:
        """Make the encoder's input of a batch: its crops, some with noise and in rooms.

        Args:
            number: Of the batch.
            crops: `batch(number)` where it was read already.

        Returns:
            (batch_size / processes, crop_samples) float32.
        """
        crops = self.batch(number) if crops is None else crops
        if not self.perturbation.changes_inputs:
            return crops
        pairs = zip(crops.numpy(), self._draws(number, _DEGRADED), strict=True)
        return torch.from_numpy(np.stack([self._perturb.degraded(*each) for each in pairs]))

    def _draws(self, number: int, purpose: int) -> list[np.random.Generator]:
        """A generator for each of this process's rows, the same for any number of processes."""
        count = self.batch_size // self.processes
        rows = range(self.rank * count, (self.rank + 1) * count)
        return [np.random.default_rng((self.seed, number, purpose, row)) for row in rows]

    def _at_speed(self, crop: NDArray[np.float32]) -> NDArray[np.float32]:
        """A crop of any length, resampled to `crop_samples` samples."""
        if len(crop) == self.crop_samples:
            return crop
        played = soxr.resample(crop, len(crop), self.crop_samples, quality="MQ")
        # The resampler may give a sample more or less.
        played = played[: self.crop_samples]
        return np.pad(played, (0, self.crop_samples - len(played)))

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number in itertools.count(self.start + first, step):
            crops = self.batch(number)
            inputs = self.inputs(number, crops) if self.perturbation.changes_inputs else None
            # Here, in a worker, it is ready when the step begins; a device would wait for it.
            rate, hop = self.sources[0].sample_rate, self.pitch_hop
            tracked = track_pitch(crops, rate, hop) if hop else (None, None)
            voices = self.voices(number) if self.has_voices else None
            yield Batch(number, crops, inputs, *tracked, voices)


def source_shares(sources: Sources) -> list[tuple[AudioSource, float | None]]:
    """Pairs of a source and its share, checked.

    Raises:
        ValueError: As `CropBatches`.
    """
    pairs: list[tuple[AudioSource, float | None]]
    pairs = list(sources) if isinstance(sources, Sequence) else [(sources, None)]
    require(bool(pairs), "sources", "at least one source of clips", pairs)
    rate, shares = pairs[0][0].sample_rate, [share for _, share in pairs]
    for source, share in pairs:
        name = str(source.folder)
        require(len(source) > 0, name, "at least one clip to train on", len(source))
        same = source.sample_rate == rate
        require(same, name, f"{rate} Hz like the other sources", source.sample_rate)
        require(share is None or 0.0 <= share < math.inf, name, "a share of 0 or more", share)
    require(any(share != 0 for share in shares), "sources", "at least one share above 0", shares)
    alike = len({share is None for share in shares}) == 1
    require(alike, "sources", "a share for every source or for none", shares)
    return pairs


def _likelihoods(pairs: list[tuple[AudioSource, float | None]]) -> NDArray[np.float64]:
    """Likelihood of every clip of every source, up to a factor."""
    likelihoods = []
    for source, share in pairs:
        sizes = np.array([row["num_samples"] for row in source.rows], dtype=np.float64)
        likelihoods.append(sizes if share is None else sizes * (share / sizes.sum()))
    return np.concatenate(likelihoods)


class CodecData(LightningDataModule):
    """Training crops from the step the trainer is at, and a fixed set of validation crops.

    With `num_workers` > 0, as many processes read ahead and each keeps `prefetch` batches ready.
    """

    def __init__(
        self,
        batches: CropBatches,
        valid: Sources,
        *,
        num_valid_crops: int = 48,
        num_workers: int = 0,
        prefetch: int = 4,
    ) -> None:
        super().__init__()
        self.batches = batches
        self.num_workers = num_workers
        self.prefetch = prefetch
        self.valid_batches = CropBatches(
            valid, num_valid_crops, batches.crop_samples, seed=batches.seed
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches from the trainer's (restored) step on, forever."""
        assert self.trainer is not None
        self.batches.start = self.trainer.global_step
        self.batches.rank = self.trainer.global_rank
        self.batches.processes = self.trainer.world_size
        return DataLoader(
            self.batches,
            batch_size=None,  # the data set gives whole batches
            num_workers=self.num_workers,
            prefetch_factor=self.prefetch if self.num_workers else None,
            pin_memory=torch.cuda.is_available(),
        )

    def valid_batch(self) -> Tensor:
        """The validation crops, (num_valid_crops, crop_samples), the same in every process."""
        return self.valid_batches.batch(0)

    def valid_voices(self) -> Tensor:
        """Where the voices of the validation crops are read, (num_valid_crops, crop_samples)."""
        return self.valid_batches.voices(0)

    def valid_lengths(self) -> Tensor:
        """(num_valid_crops,) int64 samples of each of them that are clip and not padding."""
        return torch.tensor([each.length for each in self.valid_batches.positions(0)])

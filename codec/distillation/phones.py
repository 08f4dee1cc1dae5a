"""Phones as the teacher: quantized latents learn to name the phone that is spoken at each code.

A linear head predicts the phone at the centre of every code, and the loss is its cross-entropy.
Which phone is spoken when comes from forced alignment of the recordings with their texts, made
beforehand, so that no model runs in training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from codec.audio.sources import AudioSource, CropPlace
from codec.checks import require
from codec.distributed import mean_of_unequal
from codec.files.json_lines import iter_json_lines

from .frame_grid import FrameGrid, crop_times

IGNORED = -100  # label of a code that is in no phone


class AlignmentsError(ValueError):
    """Alignments that are missing, damaged or of other clips; the message names the file."""


class Spans(NamedTuple):
    """Phones of a clip in order: ends (N,) float64, s, and labels (N,) int64; it begins at 0."""

    ends: NDArray[np.float64]
    labels: NDArray[np.int64]


class PhoneTargets:
    """Phones of clips by id, from files of forced alignments.

    Args:
        paths: JSON lines with `id` and `units`, triples of a phone's number, its start and its end
            in seconds, end to end: `<split>.alignment.jsonl` of a toolkit's run.

    Attributes:
        phones: (P,) numbers of the phones, ascending; a label is the place of its number.

    Raises:
        AlignmentsError: A file is missing, is no such file or holds no phones, or two name a clip.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        units: dict[str, NDArray[np.float64]] = {}
        for path in map(Path, paths):
            for name, triples in _read(path):
                if name in units:
                    raise AlignmentsError(f"{path}: expected every clip once, got {name!r} again")
                units[name] = triples
        numbers = [triples[:, 0] for triples in units.values()]
        self.phones = np.unique(np.concatenate(numbers)).astype(np.int64)
        self._spans = {
            name: Spans(triples[:, 2], np.searchsorted(self.phones, triples[:, 0]))
            for name, triples in units.items()
        }

    def __contains__(self, clip: object) -> bool:
        return clip in self._spans

    def at(self, clip: object, times: NDArray[np.float64]) -> NDArray[np.int64]:
        """Look up the labels (L,) at times (L,) in a clip, s; `IGNORED` where there is none."""
        spans = self._spans.get(clip) if isinstance(clip, str) else None
        if spans is None:
            return np.full(len(times), IGNORED)
        # The phone whose end is the first after a time; those of no length are stepped over.
        places = np.searchsorted(spans.ends, times, "right")
        known = (places < len(spans.ends)) & (times >= 0)
        return np.where(known, spans.labels[places.clip(max=len(spans.ends) - 1)], IGNORED)


class PhoneDistillation(nn.Module):
    """The head that names phones, and its loss.

    Args:
        alignments: Files of `PhoneTargets`.
        latent_dim: Width D of the quantized latents.
        codec_frame_rate: Codes per second, Hz.
        sample_rate: Of the waveforms, Hz.

    Raises:
        AlignmentsError: As `PhoneTargets`.
    """

    phones: Tensor

    def __init__(
        self,
        alignments: Sequence[str],
        latent_dim: int,
        codec_frame_rate: float,
        sample_rate: int,
    ) -> None:
        super().__init__()
        self.grid = FrameGrid(codec_frame_rate, 0.5 / codec_frame_rate)
        self.sample_rate = sample_rate
        self.phone_targets = PhoneTargets(alignments)
        self.head = nn.Linear(latent_dim, len(self.phone_targets.phones))
        # What the rows of the head stand for: those of another set of phones do not fit.
        self.register_buffer("phones", torch.from_numpy(self.phone_targets.phones))
        self._sources: Sequence[AudioSource] = ()

    def prepare(self, sources: Sequence[AudioSource], device: torch.device | str = "cpu") -> None:
        """Take the sources that `CropPlace.source` numbers.

        Raises:
            AlignmentsError: None of their clips is aligned.
        """
        del device  # phones are looked up on the CPU
        ids = [row.get("id") for source in sources for row in source.rows]
        known = sum(name in self.phone_targets for name in ids)
        require(
            known > 0,
            "semantic.alignments",
            f"phones of some of the {len(ids)} training clips, by their ids such as {ids[:1]}",
            0,
            error=AlignmentsError,
        )
        self._sources = sources

    def loss(
        self,
        quantized: Tensor,
        waveform: Tensor,
        lengths: Tensor | None = None,
        positions: Sequence[CropPlace] | None = None,
    ) -> Tensor:
        """Compute the cross-entropy of the phones at the centres of the codes.

        Args:
            quantized: (B, D, L) with gradient.
            waveform: (B, T) that they were made from, at `sample_rate`.
            lengths: Not looked at: `positions` have them.
            positions: Clips and offsets of the crops.

        Returns:
            Scalar float32, nats a code that lies in a phone; 0 where none does.

        Raises:
            ValueError: No positions, without which no crop has phones.
        """
        del lengths
        return self._loss(quantized, waveform.shape[-1], self._sources, positions)

    def of_clips(
        self, sources: Sequence[AudioSource], positions: Sequence[CropPlace]
    ) -> PhoneLoss | None:
        """The loss of crops of other sources, as in validation; None where no clip is aligned."""
        ids = (sources[crop.source].rows[crop.clip].get("id") for crop in positions)
        is_known = any(name in self.phone_targets for name in ids)
        return PhoneLoss(self, sources, positions) if is_known else None

    def labels(
        self,
        num_frames: int,
        num_samples: int,
        sources: Sequence[AudioSource],
        positions: Sequence[CropPlace],
    ) -> Tensor:
        """Look up the labels (B, L) int64 of crops on the CPU, `IGNORED` where there is none.

        Args:
            num_frames: L.
            num_samples: Length of a crop as played.
            sources: Those that `positions` number.
            positions: Clips and offsets of the crops.
        """
        rows = []
        for crop in positions:
            times, filled = crop_times(self.grid, num_frames, crop, num_samples, self.sample_rate)
            clip = sources[crop.source].rows[crop.clip].get("id")
            found = self.phone_targets.at(clip, times.numpy())
            rows.append(np.where(filled.numpy(), found, IGNORED))
        return torch.from_numpy(np.stack(rows))

    def _loss(
        self,
        quantized: Tensor,
        num_samples: int,
        sources: Sequence[AudioSource],
        positions: Sequence[CropPlace] | None,
    ) -> Tensor:
        if positions is None:
            raise ValueError("expected positions of the crops to look up phones, got None")
        labels = self.labels(quantized.shape[-1], num_samples, sources, positions)
        count = int((labels != IGNORED).sum())
        with torch.autocast(quantized.device.type, enabled=False):
            logits = self.head(quantized.float().transpose(1, 2)).flatten(0, 1)  # (B * L, P)
            if count == 0:
                loss = 0.0 * logits.sum()  # the head still gets a gradient, as in other processes
            else:
                targets = labels.flatten().to(logits.device)
                loss = F.cross_entropy(logits, targets, ignore_index=IGNORED)
            return mean_of_unequal(loss, count)


@dataclass(frozen=True)
class PhoneLoss:
    """`PhoneDistillation.loss` of the crops of some sources."""

    head: PhoneDistillation
    sources: Sequence[AudioSource]
    positions: Sequence[CropPlace]

    def loss(self, quantized: Tensor, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As `PhoneDistillation.loss`."""
        del lengths
        return self.head._loss(quantized, waveform.shape[-1], self.sources, self.positions)


def _read(path: Path) -> Iterable[tuple[str, NDArray[np.float64]]]:
    """Ids and triples (N, 3) of a file of alignments."""
    if not path.is_file():
        raise AlignmentsError(f"semantic.alignments: expected a file at {path}, found none")
    found = False
    for _, row in iter_json_lines(path, error=AlignmentsError):
        triples = _triples(row.get("units"))
        if triples is None or not isinstance(row.get("id"), str):
            raise AlignmentsError(
                f"{path}: expected rows with id and units [phone, start, end] end to end, got "
                f"{str(row)[:80]}"
            )
        found = True
        yield row["id"], triples
    if not found:
        raise AlignmentsError(f"{path}: expected alignments of at least one clip, got none")


def _triples(units: Any) -> NDArray[np.float64] | None:
    """Units as an array (N, 3), None where they are none or times decrease."""
    try:
        triples = np.array(units, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if triples.ndim != 2 or triples.shape[1] != 3 or not np.isfinite(triples).all():
        return None
    ordered = (np.diff(triples[:, 2]) >= 0).all() and (triples[:, 1] <= triples[:, 2]).all()
    return triples if ordered and (triples[:, 0] % 1 == 0).all() else None

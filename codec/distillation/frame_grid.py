"""Frame grids of codecs and teachers on the time axis, and interpolation between them.

Times count from the first sample of a recording; sample k covers [k, k + 1) / sample_rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.audio.sources import CropPlace


@dataclass(frozen=True)
class FrameGrid:
    """Evenly spaced frames.

    Attributes:
        rate: Frames per second, Hz.
        offset: Centre of frame 0, s.
    """

    rate: float
    offset: float

    @classmethod
    def of_hops(cls, sample_rate: int, hop_length: float) -> FrameGrid:
        """Frames that cut the time axis into hops; a codec's code i stands for hop i."""
        return cls(sample_rate / hop_length, 0.5 * hop_length / sample_rate)

    @classmethod
    def of_convolutions(
        cls, sample_rate: int, kernels: Sequence[int], strides: Sequence[int]
    ) -> FrameGrid:
        """Frames of a stack of unpadded convolutions over samples.

        Frame n sees the samples n * stride to n * stride + field - 1, so its centre is at
        (n * stride + field / 2) / sample_rate. HuBERT's kernels 10, 3, 3, 3, 3, 2, 2 at strides
        5, 2, 2, 2, 2, 2, 2 give a stride of 320 and a field of 400 samples: 50 frames a second,
        the first centred 12.5 ms into the recording.
        """
        field, stride = receptive_field(kernels, strides)
        return cls(sample_rate / stride, 0.5 * field / sample_rate)

    def centres(self, num_frames: int, device: torch.device | None = None) -> Tensor:
        """(num_frames,) float64 centres, s."""
        return (
            self.offset + torch.arange(num_frames, dtype=torch.float64, device=device) / self.rate
        )


def crop_times(
    grid: FrameGrid, num_frames: int, crop: CropPlace, num_samples: int, sample_rate: int
) -> tuple[Tensor, Tensor]:
    """Place the frames of a crop in the clip that it was cut from.

    A crop that is played faster or slower has the times of its clip as recorded.

    Args:
        grid: Of the frames.
        num_frames: L.
        crop: Its clip and offset.
        num_samples: Length of the crop as played.
        sample_rate: Of the clip and the crop, Hz.

    Returns:
        Centres in the clip (L,) float64, s, and whether they lie in what the clip filled of the
        crop (L,) bool.
    """
    centres = grid.centres(num_frames)
    times = crop.start / sample_rate + centres * (crop.taken / num_samples)
    return times, centres < crop.length / sample_rate


def receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """Samples that one output of stacked convolutions sees, and samples between outputs."""
    field, stride = 1, 1
    for kernel, step in zip(kernels, strides, strict=True):
        field += (kernel - 1) * stride
        stride *= step
    return field, stride


def features_at(
    features: Tensor, counts: Tensor, grid: FrameGrid, times: Tensor
) -> tuple[Tensor, Tensor]:
    """Interpolate features at given times, linearly between the two frames around each.

    A time before the first or after the last frame takes that frame, and is covered when it is
    no more than 1 / rate away from its centre.

    Args:
        features: (B, N, D), on any device.
        counts: (B,) int64 frames of each row that exist; those of a row with 0 are not read. On
            the device of `times`, on which everything but the features is computed.
        grid: Of the frames.
        times: (B, L) or (L,) float64 times, s.

    Returns:
        Features (B, L, D) in their own type, 0 for rows without frames, and covered (B, L) bool on
        the device of `times`.
    """
    # Times as fractional frame numbers (B, L), clamped to the frames that exist.
    wanted = ((times - grid.offset) * grid.rate).expand(len(features), -1)
    last = (counts - 1).clamp(min=0).to(wanted)[:, None]
    position = wanted.clamp(min=0.0).minimum(last)
    exists = (counts > 0)[:, None]
    covered = exists & ((wanted - position).abs() <= 1.0)
    below = position.floor().long()
    above = (below + 1).minimum(last.long())
    share = (position - below).to(features)[..., None]
    rows = torch.arange(len(features), device=below.device)[:, None]
    low, high = features[rows, below], features[rows, above]  # (B, L, D)
    known = exists[..., None].to(features.device)
    return torch.where(known, low + share * (high - low), 0.0), covered

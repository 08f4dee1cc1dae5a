"""Speech activity in tensor operations that ONNX has, a row a recording: see `codec.activity`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.activity import (
    CLICK_SECONDS,
    CLICK_SHARE,
    COUNTED_SILENCE,
    FRAME_SECONDS,
    HANGOVER_SECONDS,
    MARGIN_DB,
    NOISY_SHARE,
    STEADY_SECONDS,
    frame_length,
)
from codec.speech_level import LEVEL_SILENCE, OFFSET_SHARE, SHORTEST_OFFSET, SILENT_DBFS, SILENT_RMS

RATE = 1 / FRAME_SECONDS  # frames a second, of levels


def recording_levels(waveform: Tensor, lengths: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Levels and constant offsets of recordings, as `codec.speech_level.measure_level` finds them.

    Args:
        waveform: (B, T), zero past a recording's end.
        lengths: (B, 1) int64 valid samples.
        sample_rate: Hz.

    Returns:
        RMS (B, 1) of the speech, full scale = 1, and the offset (B, 1) that is no part of it.
    """
    size = frame_length(sample_rate)
    padded = F.pad(waveform, (0, size - 1))[:, None]
    squares = F.avg_pool1d(padded.square(), size)[:, 0] * size  # (B, F)
    sums = F.avg_pool1d(padded, size)[:, 0] * size
    starts = size * torch.arange(squares.shape[-1], device=waveform.device)
    counts = (lengths - starts).clamp(0, size).to(squares.dtype)
    total = lengths.to(squares.dtype)
    # 1. An offset is taken out where it holds much of the energy.
    mean = sums.sum(-1, keepdim=True) / total
    share = mean.square() * total
    is_offset = share > OFFSET_SHARE * squares.sum(-1, keepdim=True)
    is_offset &= lengths > (SHORTEST_OFFSET - 1) * size
    offset = torch.where(is_offset, mean, 0.0)
    centred = squares - 2.0 * offset * sums + counts * offset.square()
    # 2. Clicks are limited, and silence beyond that of an ordinary clip is left out.
    frames = (lengths + size - 1) // size
    powers = without_clicks(centred.clamp(min=0.0) / counts.clamp(min=1.0), frames, RATE)
    active = speech_frames(powers, frames, RATE)
    heard = (counts * active).sum(-1, keepdim=True)
    has_surplus = (heard > 0) & (1.0 - heard / total > LEVEL_SILENCE)
    weights = silence_weights(active, frames, 0.0)
    counted = counts * torch.where(has_surplus, weights, 1.0)
    energy = (powers * counted).sum(-1, keepdim=True)
    rms = (energy / counted.sum(-1, keepdim=True).clamp(min=1.0)).sqrt()
    return rms, offset


def dbfs(rms: Tensor) -> Tensor:
    """Levels relative to a full-scale square wave, -120 for silence."""
    return torch.where(rms <= SILENT_RMS, SILENT_DBFS, 20.0 * rms.clamp(min=SILENT_RMS).log10())


def silence_weights(active: Tensor, frames: Tensor, most_silence: float) -> Tensor:
    """Weights of frames (B, F) under which silence counts as in an ordinary clip, else 1.

    Args:
        active: (B, F) frames that hold speech.
        frames: (B, 1) int64 valid frames.
        most_silence: Share of silence up to which no frame is weighed.
    """
    count = active.sum(-1, keepdim=True)
    silent = frames - count
    weighed = (count > 0) & (silent > most_silence * frames)
    factor = COUNTED_SILENCE / (1.0 - COUNTED_SILENCE)
    weight = factor * count.float() / silent.clamp(min=1).float()
    return torch.where(weighed & ~active, weight, 1.0)


def speech_frames(powers: Tensor, frames: Tensor, frame_rate: float) -> Tensor:
    """Find the frames (B, F) that hold speech: `codec.activity.speech_frames` of every row.

    Args:
        powers: (B, F) mean squares, 0 past a recording's end.
        frames: (B, 1) int64 valid frames.
        frame_rate: Frames a second.
    """
    powers = without_clicks(powers, frames, frame_rate)
    ordered, _ = torch.sort(powers, dim=-1)  # silence first
    silent = (ordered <= 0).sum(-1, keepdim=True)
    loud = _percentile(ordered, silent, 0.95)
    floor = _noise_floor(powers, ordered, silent, frames, frame_rate)
    # 1. One stretch of one loudness shows no floor.
    plain = _above_threshold(powers, frames, frame_rate)
    # 2. No sound counts as more than 10 dB above the median of those above the floor.
    over = 4.0 * floor
    below = (ordered <= over).sum(-1, keepdim=True)
    most = 10.0 * _percentile(ordered, below, 0.5)
    active = _above_threshold(torch.minimum(powers, most), frames, frame_rate)
    active &= _held(_longer_sounds(powers, frames, frame_rate), frame_rate) > over
    is_flat = loud < NOISY_SHARE * floor
    found = (is_flat & plain) | (~is_flat & active)  # runtimes do not choose between truth values
    return found & (powers.amax(-1, keepdim=True) > 0)


def without_clicks(powers: Tensor, frames: Tensor, frame_rate: float) -> Tensor:
    """Powers (B, F) in which sounds up to 80 ms do not stand out of the longer ones."""
    longer = _longer_sounds(powers, frames, frame_rate)
    loudest = longer.amax(-1, keepdim=True)
    return torch.where((powers > CLICK_SHARE * loudest) & (loudest > 0), longer, powers)


def _percentile(ordered: Tensor, skipped: Tensor, share: float) -> Tensor:
    """Percentile (B, 1) of ordered values (B, F) without the first `skipped` (B, 1) of them."""
    last = ordered.shape[-1] - 1
    place = (skipped + share * (last - skipped).to(ordered.dtype)).clamp(0, last)
    low = place.floor().long()
    lower, upper = ordered.gather(-1, low), ordered.gather(-1, (low + 1).clamp(max=last))
    return lower + (place - low) * (upper - lower)


def _noise_floor(
    powers: Tensor, ordered: Tensor, silent: Tensor, frames: Tensor, frame_rate: float
) -> Tensor:
    """The 10th percentile (B, 1) of powers above 0, or that of steady noise beside the speech."""
    floor, loud = _percentile(ordered, silent, 0.1), _percentile(ordered, silent, 0.95)
    # How many values lie within 3 dB above each: its double's place in the merged order. The place
    # in a sort of both, equal ones in their order, is that number and the doubles before it.
    size = ordered.shape[-1]
    numbers = torch.arange(size, device=powers.device)
    _, order = torch.sort(torch.cat([ordered, 2.0 * ordered], dim=-1), dim=-1)
    rank = torch.zeros_like(order).scatter(
        -1, order, torch.arange(2 * size, device=powers.device).expand_as(order)
    )
    counts = rank[:, size:] - 2 * numbers
    counts = torch.where(ordered > 0, counts, -1)
    most, densest = counts.max(dim=-1, keepdim=True)
    middle = (densest + most.clamp(min=0) // 2).clamp(max=size - 1)
    least, steady = ordered.gather(-1, densest), ordered.gather(-1, middle)
    within = (powers >= least) & (powers <= 2.0 * least)
    long = max(1, round(STEADY_SECONDS * frame_rate))
    padded = F.pad(within.to(powers.dtype), (long - 1, long - 1))[:, None]
    share = F.avg_pool1d(padded, long, stride=1)[:, 0].amax(-1, keepdim=True)
    # a hair below the bound, which whole frames reach exactly
    lasts = (frames >= long) & (share * long >= 0.8 * long - 1e-3)
    is_noise = lasts & (loud >= NOISY_SHARE * steady)
    return torch.where(is_noise, torch.maximum(floor, steady), floor)


def _above_threshold(powers: Tensor, frames: Tensor, frame_rate: float) -> Tensor:
    """Active frames (B, F) after P.56; none where all is digital silence."""
    envelope = _held(_longer_sounds(powers, frames, frame_rate), frame_rate)
    # Past the end nothing is held.
    envelope = torch.where(_valid(powers, frames), envelope, 0.0)
    loudest = envelope.amax(-1, keepdim=True)
    steps = 10.0 ** (-0.05 * torch.arange(400, dtype=torch.float64, device=powers.device))
    thresholds = loudest * steps.to(powers.dtype)  # (B, 400)
    above = (envelope[:, None] >= thresholds[..., None]).sum(-1)
    levels = powers.sum(-1, keepdim=True) / above
    fits = levels >= thresholds * 10.0 ** (MARGIN_DB / 10.0)
    first = fits.to(torch.int64).argmax(-1, keepdim=True)
    return (envelope >= thresholds.gather(-1, first)) & (loudest > 0)


def _held(envelope: Tensor, frame_rate: float) -> Tensor:
    """The envelope (B, F) with each sound held for the hangover."""
    held = max(1, round(HANGOVER_SECONDS * frame_rate))
    return _largest(F.pad(envelope, (held - 1, 0)), held)


def _longer_sounds(powers: Tensor, frames: Tensor, frame_rate: float) -> Tensor:
    """Powers (B, F) less what is shorter than a click: a grey-scale opening of the envelope."""
    width = max(1, round(CLICK_SECONDS * frame_rate))
    padded = F.pad(powers, (width - 1, width - 1))
    # windows that reach beyond the ends have the softest frame there: nothing
    softest = -_largest(-padded, width)
    opened = _largest(softest, width)
    # a clip of a sound or two stays as it is
    return torch.where(frames < 2 * width, powers, opened)


def _valid(x: Tensor, frames: Tensor) -> Tensor:
    """(B, F) which frames lie within a recording."""
    return torch.arange(x.shape[-1], device=x.device) < frames


def _largest(x: Tensor, width: int) -> Tensor:
    """(B, F + width - 1) to the largest of every `width` in a row, (B, F)."""
    # of two dimensions: that of one is exported for a single length
    return F.max_pool2d(x[:, None, None], (1, width), stride=1)[:, 0, 0]

"""The codebook in training: its initialisation from data, and statistics of how it is used."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from tqdm import tqdm

from codec.distributed import (
    broadcast_from_first,
    gather_rows,
    process_count,
    process_rank,
    process_sum,
)
from codec.model.hh_codec import HHCodec

from .data import CropBatches


@torch.no_grad()
def initialize_codebook(
    codec: HHCodec,
    batches: CropBatches,
    seed: int,
    device: torch.device,
    num_batches: int = 64,
) -> None:
    """Fill a codec's codebooks with latents of training crops, by k-means of the seed.

    In a distributed run every rank encodes its rows of each batch, and all take the codebooks that
    the first one makes of the latents of all.
    """
    encoded = _latents(codec, batches, device, num_batches)
    # Minutes at the paper's size: with bars, so that it does not look hung.
    bar = tqdm(encoded, "codebook: encode", num_batches, disable=process_rank() > 0, leave=False)
    latents = [gather_rows(part) for part in bar]
    # each (B, D, L) to (B * L, D)
    points = torch.cat([part.transpose(1, 2).flatten(0, 1) for part in latents])
    iterations = 10
    stages = codec.config.quantizer.num_stages
    total = iterations * stages
    with tqdm(
        None, "codebook: k-means", total, disable=process_rank() > 0, leave=False, unit="pass"
    ) as passes:
        codec.quantizer.initialize(points, seed, iterations, progress=passes.update)
    broadcast_from_first(codec.quantizer.state_dict().values())
    codec.weights_changed()


@torch.no_grad()
def estimate_statistics(
    codec: HHCodec, batches: CropBatches, device: torch.device, num_batches: int = 64
) -> None:
    """Store mean and deviation of the latents of training crops, for the encoder as it is.

    The crops are those that `initialize_codebook` reads: the same for a seed, whatever the step.
    In a distributed run every rank encodes its rows, and all store the same statistics.
    """
    # In float64: a channel's mean may be far above its deviation.
    moments = []
    for part in _latents(codec, batches, device, num_batches):
        rows = part.double()  # (B, D, L)
        moments.append(torch.stack([rows.mean(dim=(0, 2)), rows.square().mean(dim=(0, 2))]))
    # Batches and shares are of one size each, so that means of means are means.
    mean, square = (process_sum(torch.stack(moments).mean(0)) / process_count()).unbind()
    quantizer = codec.quantizer
    quantizer.set_statistics(mean, (square - mean.square()).clamp(min=0))
    broadcast_from_first((quantizer.mean, quantizer.std))
    codec.weights_changed()


def _latents(
    codec: HHCodec, batches: CropBatches, device: torch.device, num_batches: int
) -> Iterator[Tensor]:
    """Encode this process's rows of batches whose numbers training does not reach, (B, D, L)."""
    for number in range(num_batches):
        crops = batches.inputs(-1 - number & 0x7FFFFFFF).to(device)
        # Under autocast, weights cast without gradient would be kept for the step that follows.
        with torch.autocast(device.type, enabled=False):
            yield codec.encoder(crops).float()


class CodebookUsage(nn.Module):
    """Counts of the codes in a window of training.

    Counting does not make the host wait; `statistics` reads the counts once. Only codes of the
    coded stage belong here: a union with a second stage's would hide a collapse.

    Args:
        codebook_size: K.
    """

    counts: Tensor

    def __init__(self, codebook_size: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(codebook_size, dtype=torch.int64))

    @torch.no_grad()
    def update(self, codes: Tensor) -> None:
        """Count codes, int64 of any shape, in 0..K - 1."""
        flat = codes.flatten()
        self.counts.index_add_(0, flat, torch.ones_like(flat))

    def reset(self) -> None:
        """Begin a new window."""
        self.counts.zero_()

    def statistics(self) -> dict[str, float]:
        """Compute `usage_statistics` of the window, over all ranks of a distributed run.

        Every rank must call it, the counts being summed over them; empty before any code.
        """
        return usage_statistics(process_sum(self.counts))

    def gather(self) -> None:
        """Move all ranks' counts to the first, whose checkpoint then has them; all must call it."""
        self.counts.copy_(process_sum(self.counts))
        self.keep_first()

    def keep_first(self) -> None:
        """Reset the counts in all ranks but the first: each has those of all after a restart."""
        if process_count() > 1 and process_rank() > 0:
            self.reset()


def usage_statistics(counts: Tensor) -> dict[str, float]:
    """Compute statistics of code counts (K,); empty without tokens.

    `tokens` counted, `codes_used` of them different, `dead_codes` that never occurred, `entropy`
    in bits and `perplexity` = 2 ** entropy. A window of few tokens bounds all of them: no more
    codes can be used than there were tokens.
    """
    counts = counts.double().cpu()
    tokens = float(counts.sum())
    if tokens == 0:
        return {}
    shares = counts[counts > 0] / tokens
    entropy = float(-(shares * shares.log2()).sum())
    return {
        "tokens": tokens,
        "codes_used": float(len(shares)),
        "dead_codes": float(len(counts) - len(shares)),
        "entropy": entropy,
        "perplexity": math.pow(2.0, entropy),
    }

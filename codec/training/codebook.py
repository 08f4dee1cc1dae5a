"""The codebook in training: its initialisation from data, and statistics of how it is used."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

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
    # Batch numbers that training does not reach.
    crops = (batches.batch(-1 - number & 0x7FFFFFFF) for number in range(num_batches))
    # Under autocast, weights cast without gradient would be kept for the step that follows.
    with torch.autocast(device.type, enabled=False):
        latents = [gather_rows(codec.encoder(batch.to(device)).float()) for batch in crops]
    # each (B, D, L) to (B * L, D)
    points = torch.cat([part.transpose(1, 2).flatten(0, 1) for part in latents])
    codec.quantizer.initialize(points, seed)
    broadcast_from_first(codec.quantizer.state_dict().values())
    codec.weights_changed()


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

"""The start of a codebook from data: what the encoder makes of many training crops."""

from __future__ import annotations

import torch
import torch.distributed as distributed

from codec.distributed import gather_rows
from codec.model.hh_codec import HHCodec

from .data import CropBatches


@torch.no_grad()
def fill_codebook(
    codec: HHCodec,
    batches: CropBatches,
    seed: int,
    device: torch.device,
    num_batches: int = 64,
) -> None:
    """Fill a quantizer's codebooks with latents of training crops, which it then quantises.

    In a distributed run every rank encodes its rows of each batch, and all take the codebooks that
    the first one makes of the latents of all.

    Args:
        codec: whose encoder makes the latents and whose quantizer is filled.
        batches: batches of their own numbers are drawn, which training does not reach.
        seed: of k-means.
        device: of the codec.
        num_batches: how many.
    """
    crops = (batches.batch(-1 - number & 0x7FFFFFFF) for number in range(num_batches))
    # under autocast, weights cast without gradient would be kept for the step that follows
    with torch.autocast(device.type, enabled=False):
        latents = [gather_rows(codec.encoder(batch.to(device)).float()) for batch in crops]
    points = torch.cat([part.transpose(1, 2).flatten(0, 1) for part in latents])
    codec.quantizer.initialize(points, seed)
    if distributed.is_available() and distributed.is_initialized():
        for value in codec.quantizer.state_dict().values():
            distributed.broadcast(value, 0)
        codec.weights_changed()

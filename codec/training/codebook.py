"""How a codebook is used: codes counted on the device, figures only when they are asked for."""

from __future__ import annotations

import math

import torch
import torch.distributed as distributed
from torch import Tensor, nn

from codec.distributed import process_count, process_rank


class CodebookUse(nn.Module):
    """Counts the codes of a window of training.

    Counting makes the host wait for nothing; `figures` reads the counts once. Only codes of the
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

    def figures(self) -> dict[str, float]:
        """Figures of the window, over all ranks of a distributed run: see `use_figures`.

        Every rank must call it, the counts being summed over them; empty before any code.
        """
        counts = self.counts.clone()
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(counts)
        return use_figures(counts)

    def gather(self) -> None:
        """Move all ranks' counts to the first, whose checkpoint then has them; all must call it."""
        if process_count() > 1:
            distributed.all_reduce(self.counts)
            self.keep_first()

    def keep_first(self) -> None:
        """Forget the counts but in the first rank, where every rank has those of all."""
        if process_count() > 1 and process_rank() > 0:
            self.reset()


def use_figures(counts: Tensor) -> dict[str, float]:
    """Figures of code counts.

    Args:
        counts: (K,) how often each code occurred.

    Returns:
        `tokens` counted, `codes_used` of them different, `dead_codes` that never occurred,
        `entropy` in bits and `perplexity` = 2 ** entropy; empty without tokens. A window of few
        tokens bounds all of them: no more codes can be used than there were tokens.
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

"""Codes chosen by what they decode to, in place of the nearest entries.

An encoder's latents fall between entries, and which of two near ones is the better depends on the
codes around it, which the decoder sees together. Coders by analysis and synthesis (Schroeder and
Atal, CELP, https://doi.org/10.1109/ICASSP.1985.1168147) therefore decode what they might send and
keep what comes nearest to the recording. So does this search: every code is tried against the
entries next to it, by the log-mel that the decoder makes of the whole clip with it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# Chosen on `valid` clips of learners, of a known and of synthetic voices: see
# docs/reports/code_search.md.
# What a squared distance of 1 in each dimension of the standardised latents counts, in the mean
# error of a log-mel (natural logarithm), summed over 2 * REACH + 1 codes. With less, STOI gains a
# little more, and words are lost, which latents carry and L1 on mels does not weigh.
WEIGHT = 6.0
# Codes on each side of one whose mel counts.
REACH = 1
# From a code that is tried to the next that is tried with it: what counts for one is not another's.
SPACING = 2 * REACH + 1
# Entries that are decoded at once, so that the memory does not grow with their number.
AT_ONCE = 8


def searched_codes(
    codes: Tensor,
    points: Tensor,
    entries: Tensor,
    log_mel: Tensor,
    decoded: Tensor,
    decode: Callable[[Tensor], Tensor],
    search: int,
) -> Tensor:
    """Try other entries for every code and keep those that decode nearer to a recording.

    What is made least is WEIGHT times the squared distance of an entry from the latent, over the
    dimensions, and the errors of the log-mel around. A clip is decoded `search` * SPACING times, or
    fewer where it has fewer codes.

    Args:
        codes: (B, L) int64 to begin with.
        points: (B, L, D) standardised latents.
        entries: (K, D) codebook.
        log_mel: (B, M, 4L) of the recordings.
        decoded: (B, M, 4L) log-mel that the codes decode to.
        decode: Makes log-mels (N * B, M, 4L) of codes (N * B, L), N times those of all recordings.
        search: Entries nearest to a latent that are tried, beside its code.

    Returns:
        (B, L) int64; the codes given are left as they are.
    """
    batch, length, dim = points.shape
    codes = codes.clone()
    # 1. Find the entries nearest to each latent, beside its code.
    apart = torch.cdist(points, entries.expand(batch, -1, -1))  # (B, L, K)
    apart.scatter_(-1, codes[..., None], torch.inf)
    count = min(search, len(entries) - 1)
    others = apart.topk(count, largest=False).indices.movedim(-1, 0)  # (count, B, L)

    def distance(chosen: Tensor) -> Tensor:
        """Weighted distance (..., B, L) of entries from the latents."""
        return WEIGHT / dim * (entries[chosen] - points).square().sum(-1)

    def errors(mel: Tensor) -> Tensor:
        """Mean error at each code, (N, B, L), of log-mels (N * B, M, 4L)."""
        missed = (mel.unflatten(0, (-1, batch)) - log_mel).abs()  # (N, B, M, 4L)
        return missed.mean(2).unflatten(-1, (length, -1)).mean(-1)

    # 2. Try the others at every SPACING-th code, starting from each place in turn.
    now = errors(decoded)  # (1, B, L)
    for first in range(min(SPACING, length)):
        tried = codes.expand(len(others), -1, -1).clone()
        tried[..., first::SPACING] = others[..., first::SPACING]
        parts = [errors(decode(part.flatten(0, 1))) for part in tried.split(AT_ONCE)]
        found = torch.cat([now, *parts])
        tried = torch.cat([codes[None], tried])  # (1 + count, B, L)
        costs = _around(found) + distance(tried)
        best = costs[..., first::SPACING].argmin(0)  # (B, number of tried codes)
        # 3. Take the best. The errors around it are those of what it was taken from.
        owner = (torch.arange(length, device=codes.device) - first + SPACING // 2) // SPACING
        best = best[:, owner.clamp(0, best.shape[1] - 1)][None]  # (1, B, L)
        now = found.gather(0, best)
        codes[:, first::SPACING] = tried.gather(0, best)[0, :, first::SPACING]
    return codes


def _around(errors: Tensor) -> Tensor:
    """Sum errors (N, B, L) over REACH codes on each side; beyond the ends there are none."""
    width = 2 * REACH + 1
    return width * F.avg_pool1d(errors, width, stride=1, padding=REACH)

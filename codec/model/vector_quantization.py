"""Residual stages of the quantizer: SimVQ and classic VQ, and the searches that fill them.

SimVQ (https://arxiv.org/abs/2411.02038) learns a transform of a frozen codebook instead of the
codebook itself, so that no entry can die alone; gradients pass by the rotation trick
(https://arxiv.org/abs/2410.06424). The classic stage is that of https://arxiv.org/abs/1711.00937,
appendix A.1, with the replacement of dead entries that codecs since Jukebox
(https://arxiv.org/abs/2005.00341) use.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.distributed import channel_statistics, drawn_points, process_sum

from .config import QuantizerConfig


def code_transform(config: QuantizerConfig) -> nn.Module:
    """Build the learnt map from frozen to effective codebook that `config.transform` names."""
    if config.transform == "none":
        return nn.Identity()
    if config.transform == "linear":
        return nn.Linear(config.dim, config.dim, bias=False)
    return nn.Sequential(
        nn.Linear(config.dim, config.hidden_dim),
        nn.ReLU(),
        nn.Linear(config.hidden_dim, config.dim),
    )


@torch.no_grad()
def set_identity(transform: nn.Module) -> None:
    """Make a transform the identity: relu(x) - relu(-x) = x; spare hidden units start at zero."""
    if isinstance(transform, nn.Linear):
        nn.init.eye_(transform.weight)
    if not isinstance(transform, nn.Sequential):
        return
    first, last = transform[0], transform[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    eye = torch.eye(first.in_features, device=first.weight.device)
    used = 2 * first.in_features
    first.weight[:used] = torch.cat([eye, -eye])
    first.bias[:used] = 0.0
    last.weight.zero_()
    last.weight[:, :used] = torch.cat([eye, -eye], dim=1)
    last.bias.zero_()


class SimVQStage(nn.Module):
    """A frozen codebook behind a learnt transform.

    Args:
        config: Sizes, and the weight of the latents' share in the loss.
        transform: Maps frozen entries (codebook_size, D) to those in effect.
    """

    frozen_codebook: Tensor

    def __init__(self, config: QuantizerConfig, transform: nn.Module) -> None:
        super().__init__()
        self.config = config
        entries = torch.randn(config.codebook_size, config.dim) * config.dim**-0.5
        self.code_transform = transform
        self.register_buffer("frozen_codebook", entries)

    @property
    def codebook(self) -> Tensor:
        """(codebook_size, D) entries in effect, with gradient."""
        return self.code_transform(self.frozen_codebook)

    def fill(self, entries: Tensor) -> None:
        """Set the effective codebook to (codebook_size, D) entries."""
        self.frozen_codebook.copy_(entries)
        set_identity(self.code_transform)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, D, L) to quantized (B, D, L), codes (B, L) and the codebook and commitment loss.

        Quantized latents pass their gradient to the latents, rotated and scaled as those were; the
        loss alone trains the transform.
        """
        rows = latents.transpose(1, 2).contiguous()  # (B, L, D)
        codebook = self.codebook
        with torch.no_grad():
            codes = torch.cdist(rows, codebook).argmin(dim=-1)
        entries = codebook[codes]
        loss = F.mse_loss(rows.detach(), entries)
        loss = loss + F.mse_loss(rows, entries.detach()) * self.config.commitment
        rotated = _rotated(rows.flatten(0, 1), entries.flatten(0, 1)).view_as(rows)
        return rotated.transpose(1, 2), codes, loss


def _rotated(points: Tensor, targets: Tensor) -> Tensor:
    """Turn and scale points (N, D) onto targets (N, D), by a map that counts as constant.

    The values are the targets; the gradient of the points is that of the targets turned back.
    """
    lengths = points.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    target_lengths = targets.norm(dim=-1, keepdim=True)
    source = (points / lengths).detach()[:, :, None]  # (N, D, 1)
    target = (targets / target_lengths.clamp(min=1e-6)).detach()[:, :, None]
    between = F.normalize(source + target, dim=1, eps=1e-6)
    # Section 4.2 of the paper: R x = x - 2 r (r . x) + 2 q (e . x), of unit vectors
    x = points[:, None]  # (N, 1, D)
    turned = x - 2 * (x @ between @ between.mT) + 2 * (x @ source @ target.mT)
    return turned[:, 0] * (target_lengths / lengths).detach()


class EMAStage(nn.Module):
    """Classic VQ: entries are moving averages of the latents that fall on them.

    An entry whose averaged count falls below `ema_dead_share` of an even share is moved onto a
    latent of the batch. In a distributed run both are of all ranks' rows. Entries have no
    gradient; latents get the straight-through one and the commitment loss.
    """

    entries: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        entries = torch.randn(config.codebook_size, config.dim) * config.dim**-0.5
        self.code_transform = nn.Identity()
        self.register_buffer("entries", entries)
        self.register_buffer("counts", torch.ones(config.codebook_size))
        self.register_buffer("sums", entries.clone())

    @property
    def codebook(self) -> Tensor:
        """(codebook_size, D)."""
        return self.entries

    def fill(self, entries: Tensor) -> None:
        """Set the codebook to (codebook_size, D) entries; the averages start from them."""
        self.entries.copy_(entries)
        self.counts.fill_(1.0)
        self.sums.copy_(entries)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, D, L) to quantized (B, D, L), codes (B, L) and the commitment loss.

        In train mode the averages then take in the batch.
        """
        rows = latents.transpose(1, 2)  # (B, L, D)
        points = rows.detach().flatten(0, 1)
        codes = nearest_entries(points, self.entries)
        quantized = self.entries[codes].view_as(rows).transpose(1, 2)
        loss = self.config.commitment * F.mse_loss(latents, quantized)
        if self.training:
            self._average(points, codes)
        # straight-through: the value of the entry, the gradient of the latents
        return latents + (quantized - latents).detach(), codes.view(rows.shape[:2]), loss

    @torch.no_grad()
    def _average(self, points: Tensor, codes: Tensor) -> None:
        """Take (N, D) points into the averages and move the dead entries."""
        # 1. Count and sum the batch by entry, over all processes.
        counts = torch.zeros_like(self.counts).index_add_(0, codes, torch.ones_like(points[:, 0]))
        sums = torch.zeros_like(self.sums).index_add_(0, codes, points)
        spares = drawn_points(points, len(self.entries))
        counts, sums = process_sum(counts), process_sum(sums)
        # 2. Move the averages.
        decay = self.config.ema_decay
        self.counts.lerp_(counts, 1.0 - decay)
        self.sums.lerp_(sums, 1.0 - decay)
        # 3. Give a dead entry a latent of the batch and an even share of the count.
        even = counts.sum() / len(counts)
        dead = (self.counts < self.config.ema_dead_share * even)[:, None]
        self.sums.copy_(torch.where(dead, spares * even, self.sums))
        self.counts.copy_(torch.where(dead[:, 0], even, self.counts))
        # 4. Entries are the averages; one that never had a latent stays.
        means = self.sums / self.counts.clamp(min=1e-12)[:, None]
        self.entries.copy_(torch.where(self.counts[:, None] > 0, means, self.entries))


def nearest_entries(points: Tensor, entries: Tensor) -> Tensor:
    """Find the indices (N,) of the entries (K, D) nearest to points (N, D), Euclidean distance."""
    # |p - e|^2 = |p|^2 - 2 p . e + |e|^2, of which the first term is the same for all entries
    return torch.addmm(entries.square().sum(1), points, entries.T, alpha=-2.0).argmin(1)


def nearest_of_many(points: Tensor, entries: Tensor) -> Tensor:
    """Compute `nearest_entries` in chunks: all distances at once would fill the memory."""
    return torch.cat([nearest_entries(chunk, entries) for chunk in points.split(4096)])


@torch.no_grad()
def kmeans(
    points: Tensor,
    num_clusters: int,
    iterations: int,
    generator: torch.Generator,
    progress: Callable[[], object] | None = None,
) -> Tensor:
    """Cluster points by Lloyd's algorithm; a centre that loses all points stays as it is.

    Args:
        points: (N, D) float32. Of fewer points than clusters, and of equal ones, every repeat
            becomes a centre of its own by a little noise.
        num_clusters: Centres wanted.
        iterations: Passes over the points.
        generator: Source of the initial sample, on the CPU.
        progress: Called after each pass.

    Returns:
        (num_clusters, D) centres.
    """
    order = torch.randperm(len(points), generator=generator).to(points.device)
    if len(points) < num_clusters or bool(_repeats(points[order[:num_clusters]]).any()):
        # Of equal centres the first would take all points and the others never any: different
        # points come first, and what then repeats them is moved a little.
        repeated = _repeats(points[order])
        order = torch.cat([order[~repeated], order[repeated]])
        order = order.repeat(-(-num_clusters // len(points)))
    centres = points[order[:num_clusters]].clone()
    repeats = _repeats(centres)
    if bool(repeats.any()):
        noise = torch.randn(centres.shape, generator=generator).to(points)
        scale = 0.01 * points.std(unbiased=False).clamp(min=1e-4)
        centres = torch.where(repeats[:, None], centres + scale * noise, centres)
    return lloyd(points, centres, iterations, progress)


@torch.no_grad()
def lloyd(
    points: Tensor,
    centres: Tensor,
    iterations: int,
    progress: Callable[[], object] | None = None,
) -> Tensor:
    """Move centres (K, D) to the means of the points (N, D) nearest to them, so many times.

    A centre without points stays as it is; returns the new centres. `progress` is called after each
    time.
    """
    for _ in range(iterations):
        nearest = nearest_of_many(points, centres)
        counts = torch.bincount(nearest, minlength=len(centres))
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
        if progress is not None:
            progress()
    return centres


def _repeats(rows: Tensor) -> Tensor:
    """True if an equal row stands before each of (K, D) rows, (K,) bool."""
    _, number = torch.unique(rows, dim=0, return_inverse=True)
    order = torch.arange(len(rows), device=rows.device)
    first = torch.full_like(order, len(rows)).scatter_reduce_(0, number, order, "amin")
    return first[number] < order


def relative_error(latents: Tensor, quantized: Tensor) -> Tensor:
    """Squared error of quantisation (B, D, L) over the variance of all processes' latents.

    Its mean over the processes is that of the whole batch.
    """
    variance = channel_statistics(latents)[1].mean()
    return (quantized - latents).square().mean() / variance.clamp(min=1e-12)


def clustering_error(points: Tensor, entries: Tensor) -> float:
    """Compute the squared distance of points (N, D) from their entries over their variance."""
    chunks = points.split(4096)
    squares = [
        float((chunk - entries[nearest_entries(chunk, entries)]).square().sum()) for chunk in chunks
    ]
    # Of points that are all alike, such as those of silence, the squares are of rounding.
    variance = max(float(points.var(0, unbiased=False).mean()), 1e-12)
    return sum(squares) / points.numel() / variance

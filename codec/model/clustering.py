"""Nearest entries and k-means, for filling and searching codebooks."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest_entries(points: Tensor, entries: Tensor) -> Tensor:
    """(N, D) and (K, D) to the (N,) indices of the nearest entries in Euclidean distance."""
    return torch.addmm(entries.square().sum(1), points, entries.T, alpha=-2.0).argmin(1)


@torch.no_grad()
def kmeans(
    points: Tensor, num_clusters: int, iterations: int, generator: torch.Generator
) -> Tensor:
    """Lloyd's algorithm from sampled points; a centre that loses all points keeps its place.

    Args:
        points: (N, D) float32; fewer points than clusters are repeated with a little noise.
        num_clusters: centres wanted.
        iterations: passes over the points.
        generator: source of the initial sample, on the CPU.

    Returns:
        (num_clusters, D) centres.
    """
    order = torch.randperm(len(points), generator=generator)
    if len(points) < num_clusters:
        order = order.repeat(-(-num_clusters // len(points)))
        noise = torch.randn(points.shape, generator=generator).to(points.device)
        points = points + 0.01 * points.std() * noise
    centres = points[order[:num_clusters].to(points.device)].clone()
    for _ in range(iterations):
        nearest = torch.cat([nearest_entries(chunk, centres) for chunk in points.split(4096)])
        counts = torch.bincount(nearest, minlength=num_clusters)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
    return centres

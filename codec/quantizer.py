"""SLM-VQ: one coded SimVQ stage, a second that only trains, and a start that does not collapse.

SimVQ (https://arxiv.org/abs/2411.02038) learns a transform of a frozen codebook instead of the
codebook itself, so that no entry can die alone; gradients pass by the rotation trick
(https://arxiv.org/abs/2410.06424). Both come from `vector-quantize-pytorch`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import SimVQ

from .config import QuantizerConfig


@dataclass(frozen=True)
class Quantization:
    """What a training pass of the quantizer gives.

    Attributes:
        quantized: (B, D, L) of the coded stage, with gradients to the latents.
        codes: (B, L) int64 of the coded stage.
        loss: scalar, codebook plus commitment loss, summed over the stages.
    """

    quantized: Tensor
    codes: Tensor
    loss: Tensor


def code_transform(config: QuantizerConfig) -> nn.Sequential:
    """Linear, ReLU, Linear: the learnt map from frozen to effective codebook."""
    return nn.Sequential(
        nn.Linear(config.dim, config.hidden_dim),
        nn.ReLU(),
        nn.Linear(config.hidden_dim, config.dim),
    )


@torch.no_grad()
def set_identity(transform: nn.Sequential) -> None:
    """Make a transform the identity: relu(x) - relu(-x) = x; spare hidden units start at zero."""
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


@torch.no_grad()
def kmeans(
    points: Tensor, num_clusters: int, iterations: int, generator: torch.Generator
) -> Tensor:
    """Lloyd's algorithm from sampled points; a centre that loses all points keeps its place.

    Args:
        points: (N, D) float32; fewer points than clusters are repeated with a little noise.
        num_clusters: centres wanted.
        iterations: passes over the points.
        generator: source of the initial sample.

    Returns:
        (num_clusters, D) centres.
    """
    order = torch.randperm(len(points), generator=generator)
    if len(points) < num_clusters:
        order = order.repeat(-(-num_clusters // len(points)))
        points = points + 0.01 * points.std() * torch.randn(points.shape, generator=generator)
    centres = points[order[:num_clusters]].clone()
    for _ in range(iterations):
        nearest = torch.cat([_nearest(chunk, centres) for chunk in points.split(4096)])
        counts = torch.bincount(nearest, minlength=num_clusters)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
    return centres


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    """(N, D) and (K, D) to the (N,) indices of the nearest centres in Euclidean distance."""
    return torch.addmm(centres.square().sum(1), points, centres.T, alpha=-2.0).argmin(1)


class Stage(SimVQ):
    """One SimVQ stage; what a module holds is untyped, so its parts are named here."""

    frozen_codebook: Tensor
    code_transform: nn.Sequential


class SLMVQ(nn.Module):
    """Latents (B, D, L) to codes (B, L) and back, in fp32 whatever the autocast.

    The quantizer passes latents through unquantised, with noise, until
    `initialize` has filled the frozen codebooks from data: at random initialisation an encoder's
    frames fall on a handful of codes and stay there. In eval mode the transformed codebook is
    computed once and kept until weights change.
    """

    initialized: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        shared = code_transform(config) if config.shared_transform else None
        self.stages = nn.ModuleList(
            Stage(
                config.dim,
                config.codebook_size,
                codebook_transform=shared or code_transform(config),
                channel_first=True,
                rotation_trick=True,
                input_to_quantize_commit_loss_weight=config.commitment,
            )
            for _ in range(config.num_stages)
        )
        self.register_buffer("initialized", torch.tensor(False))
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("std", torch.ones(config.dim))
        self._cache: Tensor | None = None

    def train(self, mode: bool = True) -> SLMVQ:
        """Switch mode and drop the cached codebook."""
        self._cache = None
        return super().train(mode)

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        self._cache = None
        super()._load_from_state_dict(*args, **kwargs)  # type: ignore[arg-type]

    def stage(self, index: int) -> Stage:
        """A residual stage; 0 is the coded one."""
        stage = self.stages[index]
        assert isinstance(stage, Stage)
        return stage

    @property
    def codebook(self) -> Tensor:
        """(codebook_size, D) effective codebook of the coded stage, in normalised latent space."""
        if self.training:
            return self.stage(0).codebook
        cached = self._cache
        if cached is None or cached.device != self.mean.device:
            with torch.no_grad(), torch.autocast(self.mean.device.type, enabled=False):
                cached = self._cache = self.stage(0).codebook.detach()
        return cached

    def normalize(self, latents: Tensor) -> Tensor:
        """(B, D, L) to standardised (B, D, L) float32.

        In training, before `initialize`, by the batch's own statistics, which running averages
        follow; after it, and in eval mode, by the frozen averages.
        """
        latents = latents.float()
        if not self.config.normalize_latents:
            return latents
        mean, std = self.mean, self.std
        if self.training and not self.initialized:
            mean = latents.mean(dim=(0, 2))
            std = latents.var(dim=(0, 2), unbiased=False).add(1e-5).sqrt()
            with torch.no_grad():
                self.mean.lerp_(mean, 0.05)
                self.std.lerp_(std, 0.05)
        return (latents - mean[:, None]) / std[:, None]

    def forward(self, latents: Tensor, noise: float = 0.0) -> Quantization:
        """Quantize for training.

        Args:
            latents: (B, D, L).
            noise: standard deviation of the noise added instead of quantisation before
                `initialize`, in units of a latent channel's standard deviation.

        Returns:
            the quantized latents (normalised space), codes of the first stage and the loss.
        """
        with torch.autocast(latents.device.type, enabled=False):
            latents = self.normalize(latents)
            if not self.initialized:
                noisy = latents + noise * torch.randn_like(latents)
                codes = torch.zeros_like(latents[:, 0], dtype=torch.int64)
                return Quantization(noisy, codes, latents.new_zeros(()))
            quantized, codes, loss = self.stages[0](latents)
            residual = latents - quantized.detach()
            for stage in self.stages[1:]:
                _, _, stage_loss = stage(residual)
                loss = loss + stage_loss
            return Quantization(quantized, codes, loss)

    def encode(self, latents: Tensor) -> Tensor:
        """(B, D, L) latents to (B, L) int64 codes."""
        with torch.autocast(latents.device.type, enabled=False):
            points = self.normalize(latents).transpose(1, 2)  # (B, L, D)
            return _nearest(points.flatten(0, 1), self.codebook).view(points.shape[:2])

    def decode(self, codes: Tensor) -> Tensor:
        """(B, L) codes to (B, D, L) float32 quantized latents.

        Raises:
            ValueError: a code lies outside 0..codebook_size - 1.
        """
        size = self.config.codebook_size
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < size:
            raise ValueError(
                f"expected codes in 0..{size - 1}, got {int(codes.min())}..{int(codes.max())}"
            )
        return self.codebook[codes].transpose(1, 2)

    @torch.no_grad()
    def initialize(self, latents: Tensor, seed: int, iterations: int = 10) -> None:
        """Fill the frozen codebooks from data, set the transforms to the identity, quantise.

        Args:
            latents: (N, D) encoder outputs of many different clips, before `normalize`.
            seed: of the k-means sample.
            iterations: of k-means.
        """
        points = latents.float()
        generator = torch.Generator().manual_seed(seed)
        if self.config.normalize_latents:
            self.mean.copy_(points.mean(0))
            self.std.copy_(points.var(0, unbiased=False).add(1e-5).sqrt())
            points = (points - self.mean) / self.std
        for stage in map(self.stage, range(self.config.num_stages)):
            centres = kmeans(points, self.config.codebook_size, iterations, generator)
            stage.frozen_codebook.copy_(centres)
            set_identity(stage.code_transform)
            nearest = torch.cat([_nearest(chunk, centres) for chunk in points.split(4096)])
            points = points - centres[nearest]
        self.initialized.fill_(True)
        self._cache = None

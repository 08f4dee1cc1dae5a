"""One stage of a quantizer: SimVQ behind a learnt transform, or classic VQ with moving averages.

SimVQ (https://arxiv.org/abs/2411.02038) learns a transform of a frozen codebook instead of the
codebook itself, so that no entry can die alone; gradients pass by the rotation trick
(https://arxiv.org/abs/2410.06424). Both come from `vector-quantize-pytorch`. The classic stage is
that of https://arxiv.org/abs/1711.00937, appendix A.1, with the replacement of dead entries that
codecs since Jukebox (https://arxiv.org/abs/2005.00341) use.
"""

from __future__ import annotations

import torch
import torch.distributed as distributed
import torch.nn.functional as F
from torch import Tensor, nn

from codec.distributed import drawn_points
from codec.import_shims import without_einx

from .clustering import nearest_entries
from .config import QuantizerConfig

with without_einx():
    from vector_quantize_pytorch import SimVQ


def code_transform(config: QuantizerConfig) -> nn.Module:
    """The learnt map from frozen to effective codebook that `config.transform` names."""
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


class SimVQStage(SimVQ):
    """A frozen codebook behind a learnt transform."""

    frozen_codebook: Tensor
    code_transform: nn.Module

    def __init__(self, config: QuantizerConfig, transform: nn.Module) -> None:
        super().__init__(
            config.dim,
            config.codebook_size,
            codebook_transform=transform,
            channel_first=True,
            rotation_trick=True,
            input_to_quantize_commit_loss_weight=config.commitment,
        )

    def fill(self, entries: Tensor) -> None:
        """Set the effective codebook to (codebook_size, D) entries."""
        self.frozen_codebook.copy_(entries)
        set_identity(self.code_transform)


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
        return latents + (quantized - latents).detach(), codes.view(rows.shape[:2]), loss

    @torch.no_grad()
    def _average(self, points: Tensor, codes: Tensor) -> None:
        """Take (N, D) points into the averages and move the dead entries."""
        counts = torch.zeros_like(self.counts).index_add_(0, codes, torch.ones_like(points[:, 0]))
        sums = torch.zeros_like(self.sums).index_add_(0, codes, points)
        spares = drawn_points(points, len(self.entries))
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(counts)
            distributed.all_reduce(sums)
        decay = self.config.ema_decay
        self.counts.lerp_(counts, 1.0 - decay)
        self.sums.lerp_(sums, 1.0 - decay)
        even = counts.sum() / len(counts)
        dead = (self.counts < self.config.ema_dead_share * even)[:, None]
        self.sums.copy_(torch.where(dead, spares * even, self.sums))
        self.counts.copy_(torch.where(dead[:, 0], even, self.counts))
        means = self.sums / self.counts.clamp(min=1e-12)[:, None]
        self.entries.copy_(torch.where(self.counts[:, None] > 0, means, self.entries))

"""SLM-VQ: one coded stage, a second that only trains, and a start that does not collapse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from codec.checks import require
from codec.distributed import channel_statistics, drawn_like
from codec.interface.precision import Float32Module

from .config import GRIDS, QuantizerConfig
from .grid_quantization import GridStage
from .vector_quantization import (
    EMAStage,
    SimVQStage,
    clustering_error,
    code_transform,
    kmeans,
    lloyd,
    nearest_entries,
    nearest_of_many,
    relative_error,
)

if TYPE_CHECKING:
    from typing_extensions import Self

Stage = SimVQStage | EMAStage | GridStage


@dataclass(frozen=True)
class Quantization:
    """Result of a training pass of the quantizer.

    Attributes:
        quantized: (B, D, L) of the coded stage, with gradients to the latents.
        codes: (B, L) int64 of the coded stage.
        loss: Scalar, codebook plus commitment loss, summed over the stages.
        relative_error: Scalar without gradient, mean squared error of the coded stage over the
            variance of the normalised latents; None while latents pass unquantised.
    """

    quantized: Tensor
    codes: Tensor
    loss: Tensor
    relative_error: Tensor | None = None


class SLMVQ(Float32Module):
    """Latents (B, D, L) to codes (B, L) and back, in fp32 whatever the autocast.

    The quantizer passes latents through unquantised, with noise, until `initialize` has filled
    the codebooks from data or `enable` has begun with the random ones: at random initialisation
    an encoder's frames fall on a handful of codes and stay there. In eval mode the transformed
    codebook is computed once and kept until weights change.

    Attributes:
        batch_statistics: Whether train mode standardises by the batch's own statistics also once
            latents are quantised, as it must while the encoder trains; see `normalize`.
    """

    initialized: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(_make_stages(config))
        self.register_buffer("initialized", torch.tensor(False))
        self.register_buffer("mean", torch.zeros(config.dim))
        self.register_buffer("std", torch.ones(config.dim))
        self._cache: Tensor | None = None
        self._quantizes: bool | None = None
        self.batch_statistics = False

    def clear_cache(self) -> None:
        """Drop what was computed from the weights; see `HHCodec.weights_changed`."""
        self._cache = self._quantizes = None

    def train(self, mode: bool = True) -> SLMVQ:
        """Switch mode and drop the cached codebook."""
        self._cache = None
        return super().train(mode)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.clear_cache()
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        """Move or convert the weights."""
        self.clear_cache()
        return super()._apply(*args, **kwargs)

    def stage(self, index: int) -> Stage:
        """A residual stage; 0 is the coded one."""
        stage = self.stages[index]
        assert isinstance(stage, (SimVQStage, EMAStage, GridStage))
        return stage

    @property
    def quantizes(self) -> bool:
        """True if training passes quantise; read from the device only after weights changed."""
        if self._quantizes is None:
            self._quantizes = bool(self.initialized)
        return self._quantizes

    @property
    def codebook(self) -> Tensor:
        """(codebook_size, D) effective codebook of the coded stage, in normalised latent space."""
        if self.training:
            return self.stage(0).codebook
        if self._cache is None:
            with torch.no_grad(), torch.autocast(self.mean.device.type, enabled=False):
                self._cache = self.stage(0).codebook.detach()
        return self._cache

    def normalize(self, latents: Tensor) -> Tensor:
        """(B, D, L) to standardised (B, D, L) float32.

        In train mode by the batch's own statistics, over the rows of all processes and with
        gradient, until the quantizer quantises and with `batch_statistics` also after it. Otherwise
        by the stored ones: running averages until the quantizer quantises, then those that
        `initialize` or `set_statistics` has set.
        """
        latents = latents.float()
        if not self.config.normalize_latents:
            return latents
        mean, std = self.mean, self.std
        # Stored statistics leave a channel's mean free to move: where it is large beside the
        # deviation, one step of an encoder's optimizer moves all latents off the codebook.
        if self.training and (self.batch_statistics or not self.quantizes):
            mean, var = channel_statistics(latents)
            std = _deviation(var)
            if not self.quantizes:
                with torch.no_grad():
                    self.mean.lerp_(mean, 0.05)
                    self.std.lerp_(std, 0.05)
        return (latents - mean[:, None]) / std[:, None]

    def forward(self, latents: Tensor, noise: float = 0.0) -> Quantization:
        """Quantize for training.

        Args:
            latents: (B, D, L).
            noise: Standard deviation of the noise added instead of quantisation before
                `initialize`, in units of a latent channel's standard deviation.

        Returns:
            The quantized latents (normalised space), codes of the first stage and the loss.
        """
        with torch.autocast(latents.device.type, enabled=False):
            latents = self.normalize(latents)
            # Before there is a codebook, noise stands for the error of quantisation.
            if not self.quantizes:
                noisy = latents + noise * drawn_like(torch.randn_like, latents)
                codes = torch.zeros_like(latents[:, 0], dtype=torch.int64)
                return Quantization(noisy, codes, latents.new_zeros(()))
            quantized, codes, loss = self.stages[0](latents)
            error = relative_error(latents.detach(), quantized.detach())
            # Further stages quantise what is left; the first gets no gradient from them.
            residual = latents - quantized.detach()
            for stage in self.stages[1:]:
                _, _, stage_loss = stage(residual)
                loss = loss + stage_loss
            return Quantization(quantized, codes, loss, error)

    def encode(self, latents: Tensor) -> Tensor:
        """(B, D, L) latents to (B, L) int64 codes."""
        with torch.autocast(latents.device.type, enabled=False):
            points = self.normalize(latents).transpose(1, 2)  # (B, L, D)
            rows, stage = points.flatten(0, 1), self.stage(0)
            if isinstance(stage, GridStage):
                return stage.encode(rows).view(points.shape[:2])
            return nearest_entries(rows, self.codebook).view(points.shape[:2])

    def decode(self, codes: Tensor) -> Tensor:
        """(B, L) codes to (B, D, L) float32 quantized latents.

        Raises:
            ValueError: A code lies outside 0..codebook_size - 1.
        """
        size = self.config.codebook_size
        # One copy from the device for both bounds: it waits for all that was begun there.
        low, high = torch.stack(codes.aminmax()).tolist() if codes.numel() else (0, 0)
        if not 0 <= low <= high < size:
            raise ValueError(f"expected codes in 0..{size - 1}, got {low}..{high}")
        return self.vectors(codes)

    def vectors(self, codes: Tensor) -> Tensor:
        """`decode` of codes that the quantizer has made: nothing is read back from the device."""
        return self.codebook[codes].transpose(1, 2)

    @torch.no_grad()
    def initialize(
        self,
        latents: Tensor,
        seed: int,
        iterations: int = 10,
        progress: Callable[[], object] | None = None,
    ) -> None:
        """Fill the codebooks from data, set the transforms to the identity, quantise.

        A quantizer of cells, "fsq" or "bsq", gets its linear maps from the data.

        Args:
            latents: (N, D) encoder outputs of many different clips, before `normalize`.
            seed: Of the k-means sample.
            iterations: Of k-means.
            progress: Called after each of them.
        """
        points = latents.float()
        generator = torch.Generator().manual_seed(seed)
        # 1. Standardise as `normalize` will from here on.
        if self.config.normalize_latents:
            self.set_statistics(points.mean(0), points.var(0, unbiased=False))
            points = (points - self.mean) / self.std
        # 2. Fill each stage with clusters of what the stages before it leave.
        for stage in map(self.stage, range(self.config.num_stages)):
            if isinstance(stage, GridStage):
                stage.fill_from(points)
                continue
            centres = kmeans(points, self.config.codebook_size, iterations, generator, progress)
            stage.fill(centres)
            points = points - centres[nearest_of_many(points, centres)]
        # 3. Quantise.
        self.enable()

    def check_refinable(self) -> None:
        """Refuse a quantizer of cells, or one that is still empty (ValueError)."""
        if self.config.kind in GRIDS or not self.quantizes:
            got = self.config.kind if self.quantizes else "an empty codebook"
            raise ValueError(f"quantizer.kind: expected learnt entries to refine, got {got}")

    @torch.no_grad()
    def refine(self, latents: Tensor, iterations: int) -> tuple[float, float]:
        """Move the coded stage's entries to the means of the latents that fall on them.

        For a codec that is done with training: codes are others afterwards, and the decoder gets
        latents nearer to those it would without a codebook. The transform becomes the identity.

        Args:
            latents: (N, D) encoder outputs of many clips, before `normalize`.
            iterations: Of k-means, from the entries as they are.

        Returns:
            Squared error over the variance of the latents, before and after.

        Raises:
            ValueError: As `check_refinable`, or fewer latents than entries, which would become
                those of single frames.
        """
        self.check_refinable()
        stage, size = self.stage(0), self.config.codebook_size
        assert not isinstance(stage, GridStage)
        expected = f"{size} or more to refine {size} entries; give more recordings"
        require(len(latents) >= size, "latents", expected, len(latents))
        points = self.normalize(latents.T[None])[0].T.contiguous()
        # a copy: the entries of "ema" are what is filled
        entries = stage.codebook.detach().clone()
        refined = lloyd(points, entries, iterations)
        stage.fill(refined)
        self._cache = None
        return clustering_error(points, entries), clustering_error(points, refined)

    @torch.no_grad()
    def set_statistics(self, mean: Tensor, var: Tensor) -> None:
        """Store mean and variance (D,) of the latents, by which eval mode standardises."""
        self.mean.copy_(mean)
        self.std.copy_(_deviation(var))

    def enable(self) -> None:
        """Quantise from here on with codebooks, transforms and statistics as they are.

        On a new quantizer that is the reference's start: random codebooks behind random
        transforms, and latents as the encoder gives them.
        """
        self.initialized.fill_(True)
        self._cache, self._quantizes = None, True


def _deviation(var: Tensor) -> Tensor:
    """Standard deviation of a variance, kept away from 0."""
    return var.add(1e-5).sqrt()


def _make_stages(config: QuantizerConfig) -> list[Stage]:
    """The stages, of random weights."""
    if config.kind in GRIDS:
        return [GridStage(config)]
    if config.kind == "ema":
        return [EMAStage(config) for _ in range(config.num_stages)]
    shared = code_transform(config) if config.shared_transform else None
    return [SimVQStage(config, shared or code_transform(config)) for _ in range(config.num_stages)]

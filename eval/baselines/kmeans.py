"""k-means on stacked log-mel frames: the simplest speech tokenizer that can be decoded.

Codes are nearest centroids; decoding takes the centroids' mel frames, undoes the mel filters and
finds phases by Griffin-Lim (https://doi.org/10.1109/TASSP.1984.1164317, with the momentum of
https://doi.org/10.1109/WASPAA.2013.6701851). Its limits: no phase and little fine structure
survive, so speech sounds hoarse whatever the codebook; and a codebook that is small for the
stack keeps loudness and coarse spectrum before it keeps words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from codec.checks import all_finite, at_least
from codec.files import read_json, replaced_files, write_json
from codec.files.reading import open_file
from codec.weights import save_tensors
from eval.metrics.mel import FLOOR, log_mel, mel_filters

from .token_streams import fit_length

CONFIG, WEIGHTS = "config.json", "centroids.safetensors"


@dataclass(frozen=True)
class KMeansSettings:
    """Frames and codebook of a k-means tokenizer.

    Args:
        codebook_size: Centroids, at least 1; 1 is the tokenizer that keeps nothing.
        stack: Mel frames a code; the frame rate is sample_rate / (hop_length * stack).
        sample_rate: Hz.
        n_fft: Samples of a mel frame.
        hop_length: Samples between mel frames.
        n_mels: Mel bands.
        iterations: Lloyd's steps.
        griffin_lim_steps: Rounds of phase search in `decode`.
        seed: Draws the first centroids and the phases that decoding starts from.
    """

    codebook_size: int = 1024
    stack: int = 4
    sample_rate: int = 24000
    n_fft: int = 1024
    hop_length: int = 256
    n_mels: int = 80
    iterations: int = 20
    griffin_lim_steps: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        all_finite("", self)
        for name in ("codebook_size", "stack", "sample_rate", "hop_length", "n_mels", "iterations"):
            at_least(name, getattr(self, name), 1)


class KMeansTokenizer:
    """Waveform (T,) to codes (1, L), L = ceil(T / (hop_length * stack)), and back.

    Args:
        settings: Frames and sizes.
        centroids: (codebook_size, n_mels * stack) float32, natural-log mel.
        name: For tables.

    Raises:
        ValueError: Centroids of another shape.
    """

    num_codebooks = 1

    def __init__(
        self, settings: KMeansSettings, centroids: torch.Tensor, name: str = "kmeans"
    ) -> None:
        expected = (settings.codebook_size, settings.n_mels * settings.stack)
        if tuple(centroids.shape) != expected:
            raise ValueError(f"expected centroids {expected}, got {tuple(centroids.shape)}")
        self.settings = settings
        self.centroids = centroids.float()
        self.name = name
        self.sample_rate = settings.sample_rate
        self.codebook_size = settings.codebook_size
        self.frame_rate = settings.sample_rate / (settings.hop_length * settings.stack)
        self.tokens_per_second = self.frame_rate  # one codebook
        # The least-squares way back from mels to magnitudes.
        filters = mel_filters(settings.sample_rate, settings.n_fft, settings.n_mels)
        self._inverse = torch.from_numpy(np.linalg.pinv(filters)).float()

    @property
    def fingerprint(self) -> str:
        """16 hex digits of settings and centroids."""
        digest = hashlib.sha256(json.dumps(asdict(self.settings), sort_keys=True).encode())
        digest.update(self.centroids.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Encode a waveform (T,) float in [-1, 1] to codes (1, L) int64."""
        frames = torch.from_numpy(stacked_frames(waveform, self.settings))
        return nearest(frames, self.centroids).numpy()[None]

    def decode(self, codes: np.ndarray, num_samples: int) -> np.ndarray:
        """Decode codes (1, L) to a waveform (num_samples,) float32 in [-1, 1].

        Raises:
            ValueError: Codes that are no (1, L), or outside the codebook.
        """
        codes = np.asarray(codes)
        if codes.ndim != 2 or len(codes) != 1 or codes.shape[1] == 0:
            raise ValueError(f"expected codes (1, L), got {codes.shape}")
        if codes.min() < 0 or codes.max() >= self.codebook_size:
            raise ValueError(f"expected codes in [0, {self.codebook_size}), got {codes.max()}")
        settings = self.settings
        mel = self.centroids[torch.from_numpy(codes[0].astype(np.int64))]
        mel = mel.reshape(-1, settings.n_mels)  # (L * stack, M)
        # What lies on the floor was silence; the floor itself would decode as hiss.
        linear = torch.where(mel <= np.log(FLOOR) + 0.1, torch.zeros_like(mel), mel.exp())
        magnitude = (self._inverse @ linear.T).clamp(min=0.0)
        waveform = griffin_lim(
            magnitude,
            settings.n_fft,
            settings.hop_length,
            steps=settings.griffin_lim_steps,
            seed=settings.seed,
        )
        return fit_length(waveform.clamp(-1.0, 1.0).numpy(), num_samples)

    def save(self, folder: Path | str) -> Path:
        """Write config.json and centroids.safetensors, which appear together."""
        with replaced_files(folder, CONFIG) as partial:
            save_tensors({"centroids": self.centroids.contiguous()}, partial / WEIGHTS)
            write_json(partial / CONFIG, {"name": self.name, **asdict(self.settings)})
        return Path(folder)

    @classmethod
    def load(cls, folder: Path | str) -> KMeansTokenizer:
        """Load a folder that `save` wrote.

        Raises:
            ValueError: The folder holds no finished tokenizer.
        """
        path = Path(folder) / CONFIG
        if not path.is_file():
            raise ValueError(f"expected a k-means tokenizer with {CONFIG}, got {folder}")
        config = read_json(path)
        name = config.pop("name")
        open_file(Path(folder) / WEIGHTS).close()  # a named pipe would be waited for
        centroids = load_file(Path(folder) / WEIGHTS)["centroids"]
        return cls(KMeansSettings(**config), centroids, name)


def train_kmeans(
    waveforms: Iterable[np.ndarray],
    settings: KMeansSettings,
    *,
    name: str = "kmeans",
    max_frames: int = 200_000,
) -> KMeansTokenizer:
    """Cluster the stacked frames of recordings, deterministic for a seed.

    First centroids are drawn by squared distance (k-means++) from a sample of the frames; a
    centroid that loses all its frames moves to the frame of the largest error.

    Args:
        waveforms: (T,) float in [-1, 1] at `settings.sample_rate` each.
        settings: Frames and sizes.
        name: Of the tokenizer.
        max_frames: Frames kept at most, evenly spread.

    Raises:
        ValueError: Fewer frames than centroids.
    """
    parts = [stacked_frames(waveform, settings) for waveform in waveforms]
    frames = torch.from_numpy(np.concatenate(parts)) if parts else torch.zeros(0, 1)
    if len(frames) < settings.codebook_size:
        raise ValueError(
            f"expected at least {settings.codebook_size} frames for as many centroids, got "
            f"{len(frames)}; give more audio or a smaller codebook_size"
        )
    if len(frames) > max_frames:
        frames = frames[torch.linspace(0, len(frames) - 1, max_frames).long()]
    generator = torch.Generator().manual_seed(settings.seed)
    centroids = _first_centroids(frames, settings.codebook_size, generator)
    for _ in range(settings.iterations):
        centroids = _moved(frames, centroids)
    return KMeansTokenizer(settings, centroids, name)


def stacked_frames(waveform: np.ndarray, settings: KMeansSettings) -> np.ndarray:
    """Stack log-mel frames of a waveform (T,), (ceil(T / (hop_length * stack)), n_mels * stack)."""
    hop = settings.hop_length * settings.stack
    rows = -(-len(waveform) // hop)
    padded = np.pad(np.asarray(waveform, dtype=np.float32), (0, rows * hop - len(waveform)))
    mel = log_mel(
        padded,
        settings.sample_rate,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        n_mels=settings.n_mels,
    )
    # (M, L + 1) to (L, M): the last frame is centred behind the end.
    frames = mel.T[: rows * settings.stack]
    return frames.reshape(rows, -1).astype(np.float32)


def nearest(frames: torch.Tensor, centroids: torch.Tensor, block: int = 4096) -> torch.Tensor:
    """Find the nearest centroid (K, D) of each frame (N, D), (N,) int64."""
    # |f - c|^2 / 2 without |f|^2 / 2, which is the same for every centroid.
    offset = 0.5 * centroids.square().sum(dim=1)
    parts = [(offset - part @ centroids.T).argmin(dim=1) for part in frames.split(block)]
    return torch.cat(parts)


def griffin_lim(
    magnitude: torch.Tensor, n_fft: int, hop_length: int, *, steps: int = 32, seed: int = 0
) -> torch.Tensor:
    """Find a waveform whose short-time spectrum comes near a magnitude (n_fft / 2 + 1, L).

    Returns:
        (L * hop_length,) float32; the search starts from random phases, the same for one seed.
    """
    window = torch.hann_window(n_fft)
    length = magnitude.shape[1] * hop_length
    # One frame more, as a centred transform of (L * hop) samples has L + 1 of them.
    magnitude = torch.cat([magnitude, magnitude[:, -1:]], dim=1)
    options = {"n_fft": n_fft, "hop_length": hop_length, "window": window}
    generator = torch.Generator().manual_seed(seed)
    phases = torch.rand(magnitude.shape, generator=generator) * (2 * torch.pi)
    spectrum = torch.polar(magnitude, phases)
    before = torch.zeros_like(spectrum)
    waveform = torch.istft(spectrum, length=length, **options)
    for _ in range(steps):
        rebuilt = torch.stft(waveform, return_complex=True, pad_mode="constant", **options)
        # Momentum of 0.99 along the change of each round.
        ahead = rebuilt + 0.99 * (rebuilt - before)
        before = rebuilt
        spectrum = magnitude * ahead / ahead.abs().clamp(min=1e-9)
        waveform = torch.istft(spectrum, length=length, **options)
    return waveform


def _first_centroids(frames: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw centroids (count, D) by k-means++ from at most 20 000 of the frames, or `count`."""
    pool = frames[torch.randperm(len(frames), generator=generator)[: max(count, 20_000)]]
    chosen = [pool[0]]
    distance = (pool - chosen[0]).square().sum(dim=1)
    for _ in range(count - 1):
        total = float(distance.sum())
        # A frame is drawn with a probability that grows with its squared distance.
        draw = float(torch.rand(1, generator=generator)) * total
        index = int(torch.searchsorted(distance.cumsum(0), draw).clamp(max=len(pool) - 1))
        chosen.append(pool[index])
        distance = torch.minimum(distance, (pool - pool[index]).square().sum(dim=1))
    return torch.stack(chosen)


def _moved(frames: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Take one of Lloyd's steps; empty centroids move to the frames of the largest error."""
    owner = nearest(frames, centroids)
    counts = torch.bincount(owner, minlength=len(centroids))
    sums = torch.zeros_like(centroids).index_add_(0, owner, frames)
    moved = sums / counts.clamp(min=1)[:, None]
    empty = (counts == 0).nonzero()[:, 0]
    if len(empty):
        error = (frames - centroids[owner]).square().sum(dim=1)
        moved[empty] = frames[error.topk(len(empty)).indices]
    return moved

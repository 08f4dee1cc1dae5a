"""A teacher's features of whole clips, kept on disk in half precision."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from tqdm import tqdm

from codec.audio.io import AudioError
from codec.audio.resample import Resampler
from codec.audio.sources import AudioSource
from codec.audio.store import AudioStore
from codec.distributed import process_count, process_rank
from codec.files import read_json, whole_file, write_json
from codec.files.derived import digest_of, file_state
from codec.weights import save_tensors

from .frame_grid import FrameGrid, features_at
from .teachers import Teacher

HEADER = "semantic.json"
# Longer clips are computed in windows, each with context on both sides that is then dropped.
WINDOW_SECONDS, CONTEXT_SECONDS = 30.0, 3.0
MAX_OPEN = 512  # shards, below the usual limit of open files


class SemanticCacheError(ValueError):
    """Cached features that are missing, unfinished, or of another teacher or other clips."""


def fill_cache(
    source: AudioSource,
    teacher: Teacher,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    clips_per_shard: int = 64,
) -> None:
    """Run a teacher on every clip of a source that an earlier, cut-off run did not finish.

    Shards appear only when whole, so a killed run loses at most the shard it was at. A clip that
    cannot be read gets no frames, and so no part in the loss. Of several processes that train
    together each computes shards of its own.

    Args:
        source: The clips.
        teacher: Gives their features, on `device`.
        folder: Receives semantic.json and features-*.safetensors.
        device: Of the teacher.
        clips_per_shard: Clips in a file.

    Raises:
        SemanticCacheError: The folder holds features of another teacher or other clips, or a
            feature does not fit half precision.
    """
    header = _header(source, teacher.fingerprint) | {
        "teacher": teacher.name,
        "dim": teacher.dim,
        "rate": teacher.grid.rate,
        "offset": teacher.grid.offset,
        "clips_per_shard": clips_per_shard,
    }
    path = folder / HEADER
    if path.is_file():
        header = _checked(path, header)
    else:
        write_json(path, header, indent=None)
    resample = Resampler(source.sample_rate, teacher.sample_rate).to(device)
    own = range(process_rank() % process_count(), _num_shards(header), process_count())
    missing = [n for n in own if not _shard(folder, n).is_file()]
    for number in tqdm(missing, desc=f"features of {teacher.name}", disable=not missing):
        first = number * header["clips_per_shard"]
        clips = range(first, min(first + header["clips_per_shard"], len(source)))
        features = {str(clip): _features_of(source, clip, teacher, resample) for clip in clips}
        with whole_file(_shard(folder, number)) as partial:
            save_tensors(features, partial)


class SemanticCache:
    """Random access to the features that `fill_cache` wrote.

    Raises:
        SemanticCacheError: Missing, unfinished, or of another teacher than that of the
            fingerprint, or other clips than the source's.
    """

    def __init__(self, folder: Path, fingerprint: str, source: AudioSource) -> None:
        self.folder = folder
        path = folder / HEADER
        if not path.is_file():
            raise SemanticCacheError(f"{folder}: no cached features; fill the cache first")
        self._header = _checked(path, _header(source, fingerprint))
        shards = _num_shards(self._header)
        missing = [n for n in range(shards) if not _shard(folder, n).is_file()]
        if missing:
            raise SemanticCacheError(
                f"{folder}: {len(missing)} of {shards} shards are missing, "
                f"{_shard(folder, missing[0]).name} first; fill the cache again"
            )
        self.grid = FrameGrid(self._header["rate"], self._header["offset"])
        self._open: dict[int, Any] = {}

    def features(self, clip: int) -> Tensor:
        """(N, dim) float16 frames of a clip."""
        return self._slice(clip)[:]

    def at(self, clip: int, times: Tensor) -> tuple[Tensor, Tensor]:
        """Interpolate a clip's features at given times, reading only the frames around them.

        Args:
            clip: Number in the source.
            times: (L,) float64 times in the clip, s, ascending.

        Returns:
            (L, dim) float32, and covered (L,) bool, as `features_at` has it.
        """
        frames = self._slice(clip)
        count = frames.get_shape()[0]
        if count == 0:
            covered = torch.zeros(len(times), dtype=torch.bool)
            return torch.zeros(len(times), self._header["dim"]), covered
        # First and last time in frames; the slice holds at least one frame, even of times beyond
        # the clip's end, and its grid begins at its own first frame.
        ends = (times[[0, -1]] - self.grid.offset) * self.grid.rate
        first = min(max(int(ends[0]), 0), count - 1)
        last = min(max(int(ends[1]) + 2, first + 1), count)
        near = FrameGrid(self.grid.rate, self.grid.offset + first / self.grid.rate)
        part = frames[first:last].float()[None]
        features, covered = features_at(part, torch.tensor([last - first]), near, times)
        return features[0], covered[0]

    def _slice(self, clip: int) -> Any:
        """A clip's features, read when they are sliced."""
        number = clip // self._header["clips_per_shard"]
        if number not in self._open:
            if len(self._open) >= MAX_OPEN:
                self._open.pop(next(iter(self._open)))  # opened the longest ago
            self._open[number] = safe_open(_shard(self.folder, number), framework="pt")
        return self._open[number].get_slice(str(clip))


@torch.no_grad()
def _features_of(source: AudioSource, clip: int, teacher: Teacher, resample: Resampler) -> Tensor:
    """(N, dim) float16 features of a whole clip, none when it cannot be read or is too short."""
    try:
        samples = torch.from_numpy(source.waveform(clip)).to(resample.kernels.device)
    except AudioError:
        return torch.zeros(0, teacher.dim, dtype=torch.float16)
    waveform = resample(samples[None])[0]
    # In teacher's frames: of the clip, and of a window and its context.
    total = int(teacher.num_frames(torch.tensor([len(waveform)])))
    hop = round(teacher.sample_rate / teacher.grid.rate)
    window, context = (round(s * teacher.grid.rate) for s in (WINDOW_SECONDS, CONTEXT_SECONDS))
    # The last frame of a window sees samples beyond its hop: half of an unpadded frame's field lies
    # before its centre, the other half behind.
    beyond = max(0, round(2 * teacher.grid.offset * teacher.sample_rate) - hop)
    parts = []
    for first in range(0, total, window):
        # Frames before..last with the context behind them are computed, first..last are kept.
        before, last = max(0, first - context), min(total, first + window)
        end = len(waveform) if last + context >= total else (last + context) * hop + beyond
        part = waveform[None, before * hop : end]
        lengths = torch.tensor([part.shape[1]], device=part.device)
        parts.append(teacher.features(part, lengths)[0, first - before : last - before])
    features = torch.cat(parts) if parts else torch.zeros(0, teacher.dim)
    halves = features.half().cpu()
    if not torch.isfinite(halves).all():
        raise SemanticCacheError(
            f"{source.folder}: clip {clip}: features of {teacher.name} beyond half precision"
        )
    return halves.contiguous()


def _header(source: AudioSource, fingerprint: str) -> dict[str, Any]:
    """Identity of a teacher and a source, which cached features must have too."""
    digest = hashlib.sha256(str(source.sample_rate).encode())
    for row in source.rows:
        digest.update(repr((row.get("id", row.get("audio")), row["num_samples"])).encode())
    clips = {"clips": len(source), "clips_hash": digest.hexdigest()[:16]}
    return {"fingerprint": fingerprint, **clips, "contents": _contents(source)}


def _contents(source: AudioSource) -> str:
    """Digest of what the clips of a source hold, as far as it can be told without reading them."""
    if isinstance(source, AudioStore):
        return hashlib.sha256(source.some_samples()).hexdigest()[:16]
    folder = Path(source.folder)
    return digest_of([file_state(folder / row["audio"])[1:] for row in source.rows])


def _checked(path: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """The header on disk, when it agrees with what is expected of it."""
    header = read_json(path, required=())
    # A cache of an earlier version does not say what its clips held.
    names = ["fingerprint", "clips", "clips_hash", *(["contents"] if "contents" in header else [])]
    for name in names:
        if header.get(name) != expected[name]:
            other = "teacher" if name == "fingerprint" else "set of clips"
            raise SemanticCacheError(
                f"{path.parent}: cached features of another {other}, expected {name} "
                f"{expected[name]}, got {header.get(name)}; use another folder or delete this one"
            )
    return header


def _num_shards(header: dict[str, Any]) -> int:
    return -(-header["clips"] // header["clips_per_shard"])


def _shard(folder: Path, number: int) -> Path:
    return folder / f"features-{number:05d}.safetensors"

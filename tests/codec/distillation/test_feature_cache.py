from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from codec.audio.sources import FolderSource
from codec.audio.store import AudioStore, AudioStoreWriter
from codec.distillation.config import SemanticConfig
from codec.distillation.feature_cache import SemanticCache, SemanticCacheError, fill_cache
from codec.distillation.frame_grid import FrameGrid
from codec.distillation.loss import Distillation
from codec.distillation.teachers import MfccTeacher, Teacher
from codec.files import read_json, write_json
from codec.training.data import CropBatches

RATE, HOP = 24_000, 1024


class LevelTeacher:
    """Level of every 20 ms, in windows of 30 ms."""

    name, fingerprint, dim, sample_rate = "level", "level-1", 2, 16_000
    grid = FrameGrid(50.0, 0.015)

    def __init__(self) -> None:
        self.lengths = []

    def num_frames(self, lengths: Tensor) -> Tensor:
        return ((lengths - 480) // 320 + 1).clamp(min=0)

    def features(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        self.lengths.append(waveform.shape[1])
        power = waveform.unfold(-1, 480, 320).square().mean(-1)
        return torch.stack([power.sqrt(), power], dim=-1)


@pytest.fixture
def store(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> AudioStore:
    with AudioStoreWriter(tmp_path / "store", RATE) as writer:
        for seed, duration in enumerate((2.0, 0.01, 1.3, 3.0, 0.4)):
            writer.add(make_waveform(duration, seed=seed), {"id": str(seed)})
    return AudioStore(tmp_path / "store")


@pytest.mark.parametrize("teacher", [LevelTeacher(), MfccTeacher()], ids=lambda t: t.name)
def test_cached_targets_of_whole_clips_are_those_on_the_fly(
    store: AudioStore, tmp_path: Path, teacher: Teacher
) -> None:
    settings = SemanticConfig("given", cache=str(tmp_path / "cache"))
    cached = Distillation(settings, 8, RATE / HOP, RATE, teacher=teacher)
    cached.prepare([store])
    fresh = Distillation(SemanticConfig("given"), 8, RATE / HOP, RATE, teacher=teacher)
    batches = CropBatches(store, 24, 80 * HOP, seed=0)  # longer than every clip
    positions, waveform = batches.positions(0), batches.batch(0)
    lengths = torch.tensor([position.length for position in positions])
    expected, expected_mask = fresh.targets(waveform, lengths, 80)
    found, mask = cached.cached_targets(positions, 80 * HOP, 80)
    assert torch.equal(mask, expected_mask)
    difference = (found - expected)[mask].abs()
    assert difference.max() < 2e-3 * expected[mask].abs().max()
    fresh.head.load_state_dict(cached.head.state_dict())
    quantized = torch.randn(24, 8, 80)
    by_cache = cached.loss(quantized, waveform, positions=positions)
    torch.testing.assert_close(
        by_cache, fresh.loss(quantized, waveform, lengths), atol=1e-3, rtol=0
    )


def test_a_crops_targets_are_cut_from_its_clips_features(store: AudioStore, tmp_path: Path) -> None:
    settings = SemanticConfig("given", cache=str(tmp_path / "cache"))
    distillation = Distillation(settings, 8, RATE / HOP, RATE, teacher=LevelTeacher())
    distillation.prepare([store])
    batches = CropBatches(store, 24, 17 * HOP, seed=0)
    positions = batches.positions(0)
    assert any(position.start % 480 for position in positions)
    found, mask = distillation.cached_targets(positions, 17 * HOP, 17)
    lengths = torch.tensor([position.length for position in positions])
    fresh, fresh_mask = distillation.targets(batches.batch(0), lengths, 17)
    assert torch.equal(mask, fresh_mask)
    inner = mask.clone()
    inner[:, :2], inner[:, -2:] = False, False
    level = fresh[inner][:, 0]
    # the two read the level off at moments up to half a teacher's frame apart
    assert (found[inner][:, 0] - level).abs().mean() < 0.1 * level.mean()


def test_a_crop_played_faster_has_the_features_at_its_pace(
    store: AudioStore, tmp_path: Path
) -> None:
    settings = SemanticConfig("given", cache=str(tmp_path / "cache"))
    distillation = Distillation(settings, 8, RATE / HOP, RATE, teacher=LevelTeacher())
    distillation.prepare([store])
    batches = CropBatches(store, 32, 17 * HOP, seed=0, speed=0.4)
    positions = batches.positions(0)
    assert len({position.taken for position in positions}) > 10
    found, mask = distillation.cached_targets(positions, 17 * HOP, 17)
    lengths = torch.tensor([position.length for position in positions])
    fresh, _ = distillation.targets(batches.batch(0), lengths, 17)
    mask[:, :2], mask[:, -2:] = False, False
    pair = torch.stack([found[mask][:, 0], fresh[mask][:, 0]])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.9


def test_a_killed_run_goes_on_where_it_was(store: AudioStore, tmp_path: Path) -> None:
    class Killed(LevelTeacher):
        def features(self, waveform: Tensor, lengths: Tensor) -> Tensor:
            if len(self.lengths) == 2:
                raise KeyboardInterrupt
            return super().features(waveform, lengths)

    with pytest.raises(KeyboardInterrupt):
        fill_cache(store, Killed(), tmp_path / "c", clips_per_shard=2)
    with pytest.raises(SemanticCacheError, match="2 of 3 shards are missing"):
        SemanticCache(tmp_path / "c", "level-1", store)
    teacher = LevelTeacher()
    fill_cache(store, teacher, tmp_path / "c", clips_per_shard=2)
    assert len(teacher.lengths) == 3  # clips 2, 3 and 4: 0 was kept, 1 is too short
    fill_cache(store, LevelTeacher(), tmp_path / "whole")
    resumed = SemanticCache(tmp_path / "c", "level-1", store)
    whole = SemanticCache(tmp_path / "whole", "level-1", store)
    for clip in range(5):
        assert torch.equal(resumed.features(clip), whole.features(clip))
    assert resumed.features(1).shape == (0, 2)
    assert resumed.features(0).dtype == torch.float16
    assert not list((tmp_path / "c").glob("*.tmp"))


def test_features_of_another_teacher_or_other_clips_are_refused(
    store: AudioStore, tmp_path: Path, make_waveform: Callable[..., np.ndarray]
) -> None:
    fill_cache(store, LevelTeacher(), tmp_path / "c")
    other = LevelTeacher()
    other.fingerprint = "level-2"
    with pytest.raises(SemanticCacheError, match="another teacher, expected fingerprint level-2"):
        fill_cache(store, other, tmp_path / "c")
    with pytest.raises(SemanticCacheError, match="another teacher"):
        SemanticCache(tmp_path / "c", "level-2", store)
    with AudioStoreWriter(tmp_path / "other", RATE) as writer:
        writer.add(make_waveform(1.0), {"id": "0"})
    with pytest.raises(SemanticCacheError, match="another set of clips"):
        SemanticCache(tmp_path / "c", "level-1", AudioStore(tmp_path / "other"))
    with pytest.raises(SemanticCacheError, match="no cached features"):
        SemanticCache(tmp_path / "none", "level-1", store)


def test_long_clips_are_computed_in_windows_that_join_without_a_seam(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with AudioStoreWriter(tmp_path / "store", 16_000) as writer:
        for seconds in (65.003, 60.0, 30.02):
            noise = 0.1 * rng.standard_normal(round(seconds * 16_000))
            writer.add(noise.astype(np.float32), {"id": str(seconds)})
    store, teacher = AudioStore(tmp_path / "store"), LevelTeacher()
    fill_cache(store, teacher, tmp_path / "c")
    assert max(teacher.lengths) <= 36.1 * 16_000
    cache = SemanticCache(tmp_path / "c", "level-1", store)
    for clip in range(3):
        waveform = torch.from_numpy(store.waveform(clip))[None]
        whole = teacher.features(waveform, torch.tensor([waveform.shape[1]]))[0]
        torch.testing.assert_close(cache.features(clip).float(), whole, atol=1e-3, rtol=1e-3)


def test_a_clip_that_cannot_be_read_has_no_features(
    tmp_path: Path, make_waveform: Callable[..., np.ndarray]
) -> None:
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.flac", make_waveform(1.0), RATE)
    whole = (tmp_path / "b.flac").read_bytes()
    (tmp_path / "b.flac").write_bytes(whole[: len(whole) // 2])
    source = FolderSource(tmp_path, RATE)
    fill_cache(source, LevelTeacher(), tmp_path / "c")
    cache = SemanticCache(tmp_path / "c", "level-1", source)
    assert len(cache.features(0)) == 49
    features, covered = cache.at(1, torch.linspace(0, 0.5, 4).double())
    assert not covered.any()
    assert features.shape == (4, 2)


def test_features_of_a_clip_that_has_changed_are_refused(
    tmp_path: Path, make_waveform: Callable[..., np.ndarray]
) -> None:
    """Another recording of the same name and length, in a store and in a folder."""

    def sources(seed: int) -> list[AudioStore | FolderSource]:
        with AudioStoreWriter(tmp_path / f"store{seed}", RATE) as writer:
            writer.add(make_waveform(1.0, seed=seed), {"id": "a"})
        (tmp_path / "clips").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "clips/a.wav", make_waveform(1.0, seed=seed), RATE)
        return [AudioStore(tmp_path / f"store{seed}"), FolderSource(tmp_path / "clips", RATE)]

    teacher = LevelTeacher()
    for number, source in enumerate(sources(0)):
        fill_cache(source, teacher, tmp_path / f"cache{number}")
        SemanticCache(tmp_path / f"cache{number}", teacher.fingerprint, source)
    for number, source in enumerate(sources(1)):
        folder = tmp_path / f"cache{number}"
        with pytest.raises(SemanticCacheError, match="another set of clips, expected contents"):
            SemanticCache(folder, teacher.fingerprint, source)
        # Of an earlier version nothing is known.
        header = read_json(folder / "semantic.json")
        header.pop("contents")
        write_json(folder / "semantic.json", header)
        SemanticCache(folder, teacher.fingerprint, source)

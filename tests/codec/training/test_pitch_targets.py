from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("swift_f0")

from codec.audio.store import AudioStore, AudioStoreWriter
from codec.training.data import CodecData, CropBatches
from codec.training.pitch_targets import track_pitch

RATE, HOP = 24_000, 256


def voice(frequency: np.ndarray) -> Tensor:
    """Ten harmonics at a frequency (T,) in Hz."""
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    tone = np.stack([np.sin(k * phase) / k for k in range(1, 11)]).sum(0)
    return torch.from_numpy((0.2 * tone).astype(np.float32))


def test_a_steady_voice_is_tracked_on_every_frame() -> None:
    waveform = voice(np.full(RATE // HOP * HOP, 150.0))[None]
    pitch, voiced = track_pitch(waveform, RATE, HOP)
    assert pitch.shape == voiced.shape == (1, RATE // HOP)
    assert voiced[0, 3:-3].all()
    np.testing.assert_allclose(pitch[0, 3:-3], 150.0, rtol=0.02)


def test_frames_lie_where_the_mels_do() -> None:
    """A tracker's frames read half a frame early would bend every glide."""
    samples = 94 * HOP
    glide = np.geomspace(100.0, 300.0, samples)
    pitch, voiced = track_pitch(voice(glide)[None], RATE, HOP)
    centres = glide[HOP // 2 :: HOP]
    held = voiced[0].numpy()
    held[:5] = held[-5:] = False
    late = np.log2(pitch[0].numpy() / centres)[held].mean() / (np.log2(3.0) / 94)
    assert abs(late) < 0.5  # frames


def test_silence_is_unvoiced_and_rows_are_tracked_alone() -> None:
    tone = voice(np.full(94 * HOP, 200.0))
    pitch, voiced = track_pitch(torch.stack([tone, torch.zeros_like(tone)]), RATE, HOP)
    assert not voiced[1].any()
    alone = track_pitch(tone[None], RATE, HOP)
    torch.testing.assert_close(pitch[:1], alone[0])
    assert torch.equal(voiced[:1], alone[1])


def test_workers_track_the_pitch_of_crops_ahead_of_the_step(tmp_path: Path) -> None:
    """In the step itself a device would wait for a tracker that runs on the CPU."""
    with AudioStoreWriter(tmp_path, RATE) as writer:
        for number, frequency in enumerate((120.0, 240.0)):
            writer.add(voice(np.full(RATE, frequency)).numpy(), {"id": str(number)})
    store = AudioStore(tmp_path)
    data = CodecData(CropBatches(store, 2, 40 * HOP, seed=1, pitch_hop=HOP), store, num_workers=1)
    data.trainer = SimpleNamespace(global_step=3, global_rank=0, world_size=1)  # type: ignore
    track_pitch(torch.zeros(1, 40 * HOP), RATE, HOP)  # a tracker that the worker must not take over
    batch = next(iter(data.train_dataloader()))
    expected = track_pitch(data.batches.batch(3), RATE, HOP)
    torch.testing.assert_close((batch.pitch, batch.voiced), expected, rtol=0, atol=0)

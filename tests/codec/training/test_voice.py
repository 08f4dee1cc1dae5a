"""Training of a voice code: it is read at another place of each crop's recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.audio.store import AudioStore, AudioStoreWriter
from codec.model.voice_config import VoiceConfig
from codec.training.config import FitConfig, LossWeights, PerturbationConfig
from codec.training.data import CropBatches
from codec.training.fit import fit_codec_phase, load_phase_codec
from tests.support.builders import BEFORE_VOCODER, JOINT, few_latents, metrics_of

FIT = FitConfig(seed=1, log_every=1, validate_every=4, checkpoint_every=3)
MELS = replace(
    JOINT, steps=8, train=BEFORE_VOCODER, ema_decay=0.9, weights=LossWeights(mel=1.0, vq=1.0)
)


@pytest.fixture
def counted(tmp_path: Path) -> AudioStore:
    """Clips of 3, 10 and 40 thousand samples, each a ramp of its own height."""
    with AudioStoreWriter(tmp_path / "counted", 24_000) as writer:
        for index, size in enumerate((3_000, 10_000, 40_000)):
            ramp = np.linspace(0.1, 0.3, size, dtype=np.float32) * (index + 1)
            writer.add(ramp, {"id": str(index)})
    return AudioStore(tmp_path / "counted")


def voiced() -> HHCodec:
    torch.manual_seed(5)
    return HHCodec(replace(CodecConfig.preset("tiny"), voice=VoiceConfig(tokens=4, dim=16)))


def test_a_voice_is_read_beside_its_crop_in_the_same_recording(counted: AudioStore) -> None:
    batches = CropBatches(counted, 200, 4096, seed=3, speed=0.1)
    starts = set()
    for crop, voice in zip(batches.positions(0), batches.voice_positions(0), strict=True):
        assert (voice.clip, voice.taken, voice.length) == (crop.clip, crop.taken, crop.length)
        last = counted.rows[crop.clip]["num_samples"] - crop.taken
        assert 0 <= voice.start <= max(0, last)
        apart = abs(voice.start - crop.start)
        if last < 0:  # no longer than the crop
            assert voice.start == crop.start == 0
        elif max(crop.start, last - crop.start) >= crop.taken:
            assert apart >= crop.taken
        else:  # the end that overlaps least
            assert apart == max(crop.start, last - crop.start)
        starts.add((voice.clip, voice.start))
    # Before the crop and behind it, wherever there is room.
    assert len(starts) > 150


def test_the_voices_of_a_batch_depend_on_seed_and_number_alone(counted: AudioStore) -> None:
    whole = CropBatches(counted, 6, 2048, seed=7, voices=True)
    batch = next(iter(CropBatches(counted, 6, 2048, seed=7, voices=True, start=3)))
    assert batch.voices is not None
    assert torch.equal(batch.voices, whole.voices(3))
    assert not torch.equal(batch.voices, batch.crops)
    # The crops are those of a training without a voice.
    plain = next(iter(CropBatches(counted, 6, 2048, seed=7, start=3)))
    assert plain.voices is None
    assert torch.equal(plain.crops, batch.crops)
    shares = []
    for rank in range(3):
        shared = CropBatches(counted, 6, 2048, seed=7, voices=True)
        shared.rank, shared.processes = rank, 3
        shares.append(shared.voices(3))
    assert torch.equal(torch.cat(shares), whole.voices(3))


def test_a_voice_is_changed_as_its_crop(tmp_path: Path) -> None:
    """Of a recording that is no longer than the crop, both are the same samples."""
    with AudioStoreWriter(tmp_path / "short", 24_000) as writer:
        writer.add(0.1 * np.random.default_rng(0).normal(size=4000).astype(np.float32), {"id": "a"})
    changes = PerturbationConfig(gain=6.0, equalizer=6.0, pitch=2.0, noise=0.5, reverberation=0.5)
    store = AudioStore(tmp_path / "short")
    batches = CropBatches(store, 3, 4096, seed=7, speed=0.2, perturbation=changes, voices=True)
    # Where speed leaves no room the places are one, else they differ by a few samples.
    rows = zip(batches.positions(1), batches.voice_positions(1), strict=True)
    same = [crop.start == voice.start for crop, voice in rows]
    assert any(same)
    inputs, voices = batches.inputs(1), batches.voices(1)
    for row in np.flatnonzero(same):
        assert torch.equal(inputs[row], voices[row])


def test_a_voice_is_learnt_with_the_decoder_and_validated(
    store: AudioStore, tmp_path: Path
) -> None:
    codec, before = voiced(), voiced().state_dict()
    with few_latents():
        fit_codec_phase(codec, MELS, store, store, tmp_path / "run", config=FIT)
    learnt = {k for k, v in codec.state_dict().items() if not torch.equal(v, before[k])}
    for name in ("decoder.voice.head.weight", "decoder.film.maps.0.weight"):
        assert name in learnt
    valid = [line for line in metrics_of(tmp_path / "run") if line["split"] == "valid"]
    assert all(1.0 <= line["voice_perplexity"] <= 48.0 for line in valid)
    # The averages of the checkpoint go on to the next phase with the decoder.
    fresh = voiced()
    load_phase_codec(fresh, tmp_path / "run", ("encoder", "quantizer", "decoder"))
    assert torch.equal(
        fresh.get_parameter("decoder.voice.head.weight"),
        codec.get_parameter("decoder.voice.head.weight"),
    )


def test_a_voice_trains_on_an_encoder_that_stands_still(store: AudioStore, tmp_path: Path) -> None:
    codec = voiced()
    codec.quantizer.initialize(torch.randn(100, 8), 0)
    before = {k: v.clone() for k, v in codec.state_dict().items()}
    phase = replace(MELS, steps=3, train=("decoder",), ema_decay=0.0, quantize_from=0)
    fit_codec_phase(codec, phase, store, store, tmp_path / "run", config=FIT)
    for name, value in codec.state_dict().items():
        if name.startswith(("encoder.", "quantizer.")):
            assert torch.equal(value, before[name]), name
    changed = codec.get_parameter("decoder.voice.head.weight")
    assert not torch.equal(changed, before["decoder.voice.head.weight"])


def test_a_phase_of_the_vocoder_leaves_the_voice_alone(store: AudioStore, tmp_path: Path) -> None:
    codec = voiced()
    codec.quantizer.initialize(torch.randn(100, 8), 0)
    before = {k: v.clone() for k, v in codec.state_dict().items()}
    weights = LossWeights(waveform_mel=1.0)
    phase = replace(
        MELS, steps=2, train=("vocoder",), vocoder_input="decoded", weights=weights, ema_decay=0.0
    )
    fit_codec_phase(codec, phase, store, store, tmp_path / "run", config=FIT)
    for name, value in codec.state_dict().items():
        assert name.startswith("vocoder.") or torch.equal(value, before[name]), name


def test_a_run_that_broke_off_resumes_to_the_same_voice_bit_for_bit(
    store: AudioStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, resumed, voices = voiced(), voiced(), CropBatches.voices

    def broken(self: CropBatches, number: int) -> Any:
        if number == 7:
            raise OSError("the disk is gone")
        return voices(self, number)

    with few_latents():
        fit_codec_phase(whole, MELS, store, store, tmp_path / "whole", config=FIT)
        monkeypatch.setattr(CropBatches, "voices", broken)
        with pytest.raises(OSError, match="the disk is gone"):
            fit_codec_phase(voiced(), MELS, store, store, tmp_path / "cut", config=FIT)
        monkeypatch.setattr(CropBatches, "voices", voices)
        fit_codec_phase(resumed, MELS, store, store, tmp_path / "cut", config=FIT)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name

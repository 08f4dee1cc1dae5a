from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from codec.distillation.config import SemanticConfig
from codec.distillation.loss import Distillation
from codec.distillation.teachers import TeacherError, load_teacher
from codec.distillation.whisper_teacher import WhisperTeacher
from codec.model.whisper_encoder import WhisperEncoder

SIZES = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Whisper of random weights in the transformers layout."""
    torch.manual_seed(0)
    encoder = WhisperEncoder(16, 2, 2)
    tensors = {f"model.encoder.{name}": value for name, value in encoder.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors")
    config = {"model_type": "whisper", "num_mel_bins": 80, **SIZES}
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_a_folder_with_a_whisper_gives_its_teacher(folder: Path) -> None:
    teacher = load_teacher(str(folder))
    assert isinstance(teacher, WhisperTeacher)
    assert (teacher.sample_rate, teacher.dim, teacher.grid.rate) == (16_000, 16, 50.0)
    assert teacher.fingerprint == WhisperTeacher(folder).fingerprint
    with torch.no_grad():
        teacher.model.conv1.weight.add_(1.0)
    assert WhisperTeacher(folder).fingerprint == teacher.fingerprint  # of when it was asked for
    (folder / "model.safetensors").unlink()
    with pytest.raises(TeacherError, match=r"got no model\.safetensors"):
        load_teacher(str(folder))


def test_its_input_is_that_of_the_models_own_front_end(
    folder: Path, make_waveform: Callable[..., np.ndarray]
) -> None:
    transformers = pytest.importorskip("transformers")
    waveform = make_waveform(1.0, 16_000)
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    wanted = extractor(
        waveform, sampling_rate=16_000, padding="do_not_pad", return_tensors="pt"
    ).input_features
    found = WhisperTeacher(folder)._input(torch.from_numpy(waveform)[None])
    torch.testing.assert_close(found, wanted, atol=2e-4, rtol=0)


def test_features_are_the_mean_of_the_normalised_layers(folder: Path) -> None:
    teacher = WhisperTeacher(folder)
    waveform = 0.1 * torch.randn(1, 16_000)
    states = teacher.model(teacher._input(waveform))
    normed = [
        (s - s.mean(-1, keepdim=True)) / (s.var(-1, False, keepdim=True) + 1e-5).sqrt()
        for s in states
    ]
    found = teacher.features(waveform, torch.tensor([16_000]))
    assert found.shape == (1, 50, 16)
    torch.testing.assert_close(found, torch.stack(normed).mean(0), atol=1e-4, rtol=1e-4)


def test_padding_and_batch_mates_change_no_feature(folder: Path) -> None:
    teacher, lengths = WhisperTeacher(folder), torch.tensor([16_000, 9_000, 1_599, 1_600])
    waveform = torch.randn(4, 16_000)
    found = teacher.features(waveform, lengths)
    assert teacher.num_frames(lengths).tolist() == [50, 28, 0, 5]
    for row, length in enumerate(lengths.tolist()):
        alone = teacher.features(waveform[row : row + 1, :length], lengths[row : row + 1])
        count = int(teacher.num_frames(lengths[row]))
        torch.testing.assert_close(found[row, :count], alone[0, :count], atol=1e-5, rtol=1e-4)
        assert not found[row, count:].any()


def test_a_click_is_in_the_state_whose_centre_is_nearest(folder: Path) -> None:
    """Without attention a state depends on the sound around its place on the grid."""
    teacher = WhisperTeacher(folder)
    for layer in range(2):
        teacher.model.get_parameter(f"layers.{layer}.self_attn.out_proj.weight").data.zero_()
    quiet = 1e-3 * torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    loud, length = quiet.clone(), torch.tensor([16_000])
    loud[0, 8_000] = 1.0
    change = teacher.features(loud, length) - teacher.features(quiet, length)
    moved = change[0].norm(dim=-1)
    centres = teacher.grid.centres(50)
    # the peak clamps all frames alike, so that the rest moves little
    weighted = float((moved**4 * centres).sum() / (moved**4).sum())
    assert weighted == pytest.approx(0.5, abs=0.02)


def test_quantized_latents_learn_from_it(
    folder: Path, make_waveform: Callable[..., np.ndarray]
) -> None:
    distillation = Distillation(SemanticConfig(str(folder)), 8, 24_000 / 1024, 24_000)
    waveform = torch.from_numpy(make_waveform(2.048))[None]
    targets, mask = distillation.targets(waveform, None, 48)
    assert targets.shape == (1, 48, 16)
    assert mask.all()
    loss = distillation.loss(torch.randn(1, 8, 48, requires_grad=True), waveform)
    loss.backward()
    assert distillation.head.weight.grad is not None
    assert {name for name, _ in distillation.named_parameters()} == {"head.weight", "head.bias"}

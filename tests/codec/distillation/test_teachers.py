from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codec.distillation.config import SemanticConfig
from codec.distillation.loss import Distillation
from codec.distillation.teachers import HubertTeacher, MfccTeacher, TeacherError, load_teacher
from tests.support.pretended_cuda import pretended_cuda

RATE, HOP = 24_000, 1024


@pytest.fixture(scope="module")
def hubert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HuBERT of random weights with the real one's convolutions, written as the hub has it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.HubertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer",
    )
    folder = tmp_path_factory.mktemp("hubert")
    transformers.HubertModel(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def test_hubert_gives_the_mean_of_all_its_hidden_states(hubert_folder: Path) -> None:
    from transformers import AutoFeatureExtractor, HubertModel

    teacher = HubertTeacher(hubert_folder)
    waveform = 0.1 * torch.randn(1, 8000) + 0.3
    extractor = AutoFeatureExtractor.from_pretrained(hubert_folder)
    inputs = extractor(waveform[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        model = HubertModel.from_pretrained(hubert_folder).eval()
        states = model(inputs.input_values, output_hidden_states=True).hidden_states
    assert len(states) == 2
    found = teacher.features(waveform, torch.tensor([8000]))
    torch.testing.assert_close(found, torch.stack(states).mean(0), atol=1e-5, rtol=1e-4)
    assert (teacher.sample_rate, teacher.dim, teacher.grid.rate) == (16_000, 16, 50.0)


def test_padding_changes_no_feature_and_has_no_frames(hubert_folder: Path) -> None:
    lengths = torch.tensor([8000, 5000, 399, 400])
    for teacher in (HubertTeacher(hubert_folder), MfccTeacher()):
        waveform = torch.randn(4, 8000)
        found = teacher.features(waveform, lengths)
        counts = teacher.num_frames(lengths)
        assert found.shape == (4, int(counts.max()), teacher.dim)
        noisy = waveform.clone()
        noisy[1, 5000:] = 9.0
        assert torch.equal(teacher.features(noisy, lengths), found)
        alone = teacher.features(waveform[1:2, :5000], lengths[1:2])
        torch.testing.assert_close(found[1:2, : alone.shape[1]], alone)
        assert found[1, int(counts[1]) :].abs().max() == 0
        assert counts[2] == 0
        assert found[2].abs().max() == 0


@pytest.mark.parametrize("teacher", ["hubert", "mfcc"])
@pytest.mark.parametrize("num_samples", [65_536, 239_983, 777_777])
def test_a_burst_changes_the_features_of_its_own_codec_frame(
    hubert_folder: Path, teacher: str, num_samples: int
) -> None:
    """HH-Codec's released head drifts from +71 ms at a crop's start to -97 ms at its end."""
    name = str(hubert_folder) if teacher == "hubert" else "mfcc"
    distillation = Distillation(SemanticConfig(name), 8, RATE / HOP, RATE)
    frames = -(-num_samples // HOP)
    quiet = 0.01 * torch.randn(1, num_samples)
    before, mask = distillation.targets(quiet, None, frames)
    for frame in (1, frames // 4, frames // 2, frames - 3):
        middle = frame * HOP + HOP // 2
        loud = quiet.clone()
        loud[:, middle - 120 : middle + 120] += 0.3 * torch.randn(240)
        after, _ = distillation.targets(loud, None, frames)
        change = ((after - before) * mask[..., None])[0].square().sum(-1)
        assert int(change.argmax()) == frame
        near = slice(frame - 1, frame + 2)
        centroid = (change[near] * torch.arange(-1.0, 2.0)).sum() / change[near].sum()
        assert abs(float(centroid)) < 0.25  # frames; half a frame is the bar


def test_targets_of_a_crop_are_those_of_the_whole(make_waveform: Callable[..., np.ndarray]) -> None:
    """Up to the normalisation over the clip, which is undone here by a shared scale."""
    distillation = Distillation(SemanticConfig("mfcc"), 8, RATE / HOP, RATE)
    waveform = torch.from_numpy(make_waveform(6.0))[None]
    whole, _ = distillation.targets(waveform, None, 140)
    crop, _ = distillation.targets(waveform[:, 30 * HOP : 94 * HOP], None, 64)
    part = whole[:, 30:94]
    inner = slice(3, -3)
    for channel in range(13):
        pair = torch.stack([crop[0, inner, channel], part[0, inner, channel]])
        assert float(torch.corrcoef(pair)[0, 1]) > 0.99, channel


def test_the_fingerprint_is_that_of_the_weights(hubert_folder: Path, tmp_path: Path) -> None:
    teacher = HubertTeacher(hubert_folder)
    assert teacher.fingerprint == HubertTeacher(hubert_folder).fingerprint
    for file in hubert_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    settings["do_normalize"] = False
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    assert HubertTeacher(tmp_path).fingerprint != teacher.fingerprint


def test_a_teacher_multiplies_in_bfloat16_on_a_gpu_alone(hubert_folder: Path) -> None:
    plain, short = HubertTeacher(hubert_folder), HubertTeacher(hubert_folder, bf16=True)
    waveform, lengths = 0.1 * torch.randn(2, 8000), torch.tensor([8000, 6000])
    expected = plain.features(waveform, lengths)
    assert torch.equal(short.features(waveform, lengths), expected)
    with pretended_cuda() as gpu:
        found = short.features(waveform.to("cuda"), lengths).cpu()
    assert found.dtype == torch.float32
    assert dict(gpu.errors) == {}
    assert 0 < (found - expected).abs().max() < 0.05 * expected.abs().max()
    assert short.fingerprint != plain.fingerprint  # of cached features


def test_a_missing_teacher_names_the_weights_and_a_way_to_give_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    calls = []

    def unreachable(*args: Any, **kwargs: Any) -> None:
        calls.append(kwargs)
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(TeacherError, match=r"hubert-base-ls960.*set semantic\.teacher to FOLDER"):
        load_teacher("facebook/hubert-base-ls960")
    assert calls[0]["local_files_only"]
    assert calls[1]["etag_timeout"] <= 10
    with pytest.raises(TeacherError, match="expected a HuBERT"):
        load_teacher(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "hubert"}')
    with pytest.raises(TeacherError, match="no HuBERT weights"):
        load_teacher(str(tmp_path))


def test_no_teacher_at_all_is_refused() -> None:
    with pytest.raises(TeacherError, match=r"semantic\.teacher: expected.*got nothing"):
        load_teacher("")


def test_cepstra_do_not_change_with_loudness(make_waveform: Callable[..., np.ndarray]) -> None:
    waveform = torch.from_numpy(make_waveform(1.0, 16_000))[None]
    lengths = torch.tensor([16_000])
    teacher = MfccTeacher()
    loud, quiet = teacher.features(waveform, lengths), teacher.features(0.5 * waveform, lengths)
    assert loud.shape == (1, 50, 26)
    difference = (loud - quiet).abs().mean()
    assert difference < 0.1  # the floor of the logarithm stays where it is
    torch.testing.assert_close(loud.mean(1), torch.zeros(1, 26), atol=1e-5, rtol=0)

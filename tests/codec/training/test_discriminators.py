"""Discriminators of the waveform and of the decoder's log-mel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codec.audio.store import AudioStore
from codec.training.adversarial import adversarial_losses, backward_generator_and_discriminators
from codec.training.config import DiscriminatorConfig, FitConfig, LossWeights, PhaseConfig
from codec.training.discriminators import BandDiscriminator, Discriminators, MelDiscriminators
from codec.training.fit import fit_codec_phase
from codec.training.losses import discriminator_least_squares, generator_least_squares
from codec.training.module import CodecTraining
from tests.support.builders import JOINT, metrics_of, new_codec

SIZES = DiscriminatorConfig((), (), mel_bands=5, mel_channels=4)
# The decoder's log-mel alone: no vocoder runs.
PHASE = PhaseConfig(
    name="mel",
    train=("encoder", "quantizer", "decoder"),
    steps=6,
    batch_size=2,
    crop_codes=4,
    quantize_from=2,
    mel_adversarial_from=3,
    warmup_steps=2,
    weights=LossWeights(mel=1.0, vq=1.0, mel_adversarial=1.0, mel_feature_matching=10.0),
    discriminators=SIZES,
)


def test_all_three_kinds_score_side_by_side() -> None:
    config = DiscriminatorConfig((2,), (512,), 4, band_n_ffts=(256, 128), band_channels=4)
    scores, maps = Discriminators(config)(torch.randn(2, 4096))
    assert [len(score) for score in scores] == [2, 2, 2, 2]
    # five convolutions whose first output is left out, and the last layer; in five bands
    assert [len(member) for member in maps] == [5, 21, 21, 21]


def test_bands_cover_every_bin_once() -> None:
    member = BandDiscriminator(512, 2)
    covered = [n for low, high in member.bands for n in range(low, high)]
    assert covered == list(range(257))


def test_the_spectrogram_keeps_the_variance_of_noise_at_every_length() -> None:
    for n_fft in (128, 512):
        spectrogram = BandDiscriminator(n_fft, 2).spectrogram(torch.randn(4, 24_000))
        assert float(spectrogram.square().sum(1).mean()) == pytest.approx(1.0, rel=0.05)


def test_the_spectrogram_is_a_hann_windowed_transform() -> None:
    """The reference's window was rectangular, by accident."""
    waveform = torch.randn(1, 1024)
    member = BandDiscriminator(256, 2)
    frame = waveform[0, 256 : 256 + 256] * torch.hann_window(256)
    expected = torch.fft.rfft(frame) / torch.hann_window(256).square().sum().sqrt()
    found = member.spectrogram(waveform)[0, :, 6]  # centred on sample 6 * 64
    torch.testing.assert_close(torch.complex(found[0], found[1]), expected)


def test_the_band_discriminator_depends_on_the_level_of_a_clip() -> None:
    waveform = torch.randn(1, 2048)
    config = DiscriminatorConfig((), (256,), 2, band_n_ffts=(256,), band_channels=2)
    discriminators = Discriminators(config)
    (theirs, ours), _ = discriminators(waveform)
    (theirs_loud, ours_loud), _ = discriminators(3.0 * waveform)
    torch.testing.assert_close(theirs, theirs_loud, rtol=1e-3, atol=1e-4)
    assert (ours - ours_loud).abs().max() > 1e-3


def test_every_weight_of_a_discriminator_gets_a_gradient() -> None:
    config = DiscriminatorConfig((3,), (256,), 2, band_n_ffts=(256,), band_channels=2)
    discriminators = Discriminators(config)
    scores, _ = discriminators(torch.randn(2, 2048))
    torch.stack([score.mean() for score in scores]).sum().backward()
    for name, parameter in discriminators.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_transform_stays_in_fp32_under_autocast() -> None:
    member = BandDiscriminator(256, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert member.spectrogram(torch.randn(1, 1024).bfloat16()).dtype == torch.float32


def test_each_band_is_scored_apart() -> None:
    discriminators = MelDiscriminators(100, SIZES).eval()
    mel = torch.randn(2, 100, 16)
    scores, maps = discriminators(mel)
    assert [tuple(each.shape) for each in scores] == [(2, 1, 5, 8)] * 5
    assert [len(each) for each in maps] == [5] * 5
    changed = mel.clone()
    changed[:, 45] += 1.0
    differs = [
        not torch.equal(*pair) for pair in zip(scores, discriminators(changed)[0], strict=True)
    ]
    assert differs == [False, False, True, False, False]


def test_a_phase_of_mel_discriminators_runs_no_vocoder() -> None:
    assert PHASE.uses_mel_discriminators
    assert not PHASE.uses_discriminators
    assert not PHASE.uses_waveform
    module = CodecTraining(new_codec(), PHASE, 0)
    assert list(module.ensembles) == ["mel"]
    assert len(module.configure_optimizers()) == 2


def test_their_losses_reach_the_decoder_and_leave_no_gradient_of_the_generators(
    store: AudioStore,
) -> None:
    module = CodecTraining(new_codec(), PHASE, 0)
    module.set_modes()
    module.codec.quantizer.initialize(torch.randn(100, 8), 0)
    waveform = torch.stack([torch.from_numpy(store.crop(n, 0, 4096)) for n in range(2)])
    outputs = module.forward_pass(waveform, 5)
    found = module.adversarial_losses(outputs, waveform, 5)
    assert set(found["mel"].loss_gen) == {"mel_adversarial", "mel_feature_matching"}
    backward_generator_and_discriminators(
        outputs, {}, PHASE.weights.by_name(), found, module.ensembles
    )
    gradient = module.codec.decoder.upsample.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    own = torch.autograd.grad(
        adversarial_losses(
            module.ensembles["mel"], outputs.target, outputs.generated("mel")
        ).loss_disc,
        list(module.ensembles["mel"].parameters()),
    )
    for parameter, alone in zip(module.ensembles["mel"].parameters(), own, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, alone)


def test_they_begin_at_their_step_and_their_weights_stay_with_the_run(
    store: AudioStore, tmp_path: Path
) -> None:
    config = FitConfig(seed=1, log_every=1, validate_every=6, checkpoint_every=6)
    module = fit_codec_phase(new_codec(), PHASE, store, store, tmp_path / "a", config=config)
    lines = [line for line in metrics_of(tmp_path / "a") if line["split"] == "train"]
    has = ["mel_discriminator" in line for line in lines]
    assert has == [False] * 3 + [True] * 3
    assert "mel_discriminator_gradient_norm" in lines[-1]
    assert (tmp_path / "a" / "training.safetensors").is_file()
    again = replace(PHASE, steps=1, mel_adversarial_from=1)
    later = replace(config, earlier_phases=(str(tmp_path / "a"),))
    other = fit_codec_phase(new_codec(), again, store, store, tmp_path / "b", config=later)
    assert module.mel_discriminators is not None
    assert other.mel_discriminators is not None
    for name, value in module.mel_discriminators.state_dict().items():
        assert torch.equal(other.mel_discriminators.state_dict()[name], value), name


def test_both_ensembles_train_side_by_side(store: AudioStore, tmp_path: Path) -> None:
    weights = replace(JOINT.weights, mel_adversarial=1.0, mel_feature_matching=10.0)
    sizes = replace(JOINT.discriminators, mel_channels=4)
    phase = replace(
        JOINT,
        steps=4,
        weights=weights,
        discriminators=sizes,
        mel_adversarial_from=3,
        mel_adversarial_loss="least_squares",
    )
    config = FitConfig(log_every=1, validate_every=4, checkpoint_every=4)
    module = fit_codec_phase(new_codec(), phase, store, store, tmp_path, config=config)
    assert list(module.ensembles) == ["waveform", "mel"]
    lines = [line for line in metrics_of(tmp_path) if line["split"] == "train"]
    assert ["discriminator" in line for line in lines] == [False, False, True, True]
    assert ["mel_discriminator" in line for line in lines] == [False, False, False, True]


def test_least_squares_losses_of_hand_made_scores() -> None:
    real, fake = [torch.tensor([0.5])], [torch.tensor([-0.25])]
    assert discriminator_least_squares(real, fake).item() == pytest.approx(0.25 + 0.0625)
    assert generator_least_squares(fake).item() == pytest.approx(1.5625)


def test_mel_discriminators_that_cannot_be_built_are_refused() -> None:
    with pytest.raises(ValueError, match="mel_bands: expected at least one"):
        replace(PHASE, discriminators=DiscriminatorConfig((), (), mel_bands=0))
    with pytest.raises(ValueError, match=r"mel_bands: expected 1\.\.4, got 5"):
        MelDiscriminators(4, SIZES)
    with pytest.raises(ValueError, match="mel_adversarial_loss"):
        replace(PHASE, mel_adversarial_loss="wasserstein")

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.discriminators import Discriminators
from codec.fitting import fit_codec_phase, load_phase_codec
from codec.losses import feature_matching, generator_hinge
from codec.phases import PARTS, DiscriminatorConfig, FitConfig, LossWeights, PhaseConfig
from codec.store import AudioStore, AudioStoreWriter
from codec.training import CodecTraining, DivergedError

ROOT = Path(__file__).resolve().parents[2]
FIT = FitConfig(seed=1, log_every=1, validate_every=4, checkpoint_every=3)
CRITICS = DiscriminatorConfig(periods=(), n_ffts=(256,), channels=2)
JOINT = PhaseConfig(
    name="joint",
    steps=10,
    batch_size=2,
    crop_codes=4,
    quantize_from=4,
    adversarial_from=2,
    warmup_steps=2,
    weights=LossWeights(mel=1.0, vq=1.0, waveform_mel=1.0, adversarial=0.1, feature_matching=0.1),
    discriminators=CRITICS,
)


def new_codec():
    torch.manual_seed(5)
    return HHCodec(CodecConfig.preset("tiny"))


@pytest.fixture
def store(tmp_path, make_waveform):
    with AudioStoreWriter(tmp_path / "audio", 24_000) as writer:
        for seed in range(6):
            writer.add(make_waveform(1.0, pitch=90 + 30 * seed, seed=seed), {"id": str(seed)})
    return AudioStore(tmp_path / "audio")


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def figures(folder):
    """What a run logged, but for the clock."""
    return [{k: v for k, v in line.items() if k != "seconds_per_step"} for line in metrics(folder)]


def critics_of(module: CodecTraining) -> Discriminators:
    assert module.discriminators is not None
    return module.discriminators


def crops(store, codes=4):
    return torch.stack([torch.from_numpy(store.crop(n, 0, codes * 1024)) for n in range(4)])


def test_only_the_parts_of_a_phase_change(store, tmp_path):
    codec = new_codec()
    before = {part: new_codec().get_submodule(part).state_dict() for part in PARTS}
    phase = replace(
        JOINT, train=("vocoder",), vocoder_input="target", weights=LossWeights(waveform_mel=1.0)
    )
    fit_codec_phase(codec, phase, store, store, tmp_path / "run", config=FIT)
    for part in PARTS:
        same = all(
            torch.equal(value, before[part][name])
            for name, value in codec.get_submodule(part).state_dict().items()
        )
        assert same == (part != "vocoder"), part


def test_the_step_count_is_the_generators(store, tmp_path):
    """Lightning counts the steps of every optimizer; max_steps must mean generator steps."""
    fit_codec_phase(new_codec(), JOINT, store, store, tmp_path / "run", config=FIT)
    lines = metrics(tmp_path / "run")
    train = [line for line in lines if line["split"] == "train"]
    assert [line["step"] for line in train] == list(range(1, JOINT.steps + 1))
    assert "discriminator" in train[-1]
    assert "discriminator" not in train[0]
    valid = [line for line in lines if line["split"] == "valid"]
    assert valid[-1]["codes_used"] > 1


def test_training_overfits_a_few_crops(store, tmp_path):
    phase = replace(
        JOINT, steps=40, batch_size=4, learning_rate=5e-3, weights=LossWeights(mel=1.0, vq=1.0)
    )
    rarely = replace(FIT, validate_every=40, checkpoint_every=40)
    fit_codec_phase(new_codec(), phase, store, store, tmp_path / "run", config=rarely)
    lines = metrics(tmp_path / "run")
    mel = [line["mel"] for line in lines if line["split"] == "train"]
    assert sum(mel[-5:]) / 5 < 0.65 * mel[0]


def test_discriminators_get_no_gradient_from_the_generators_loss(store, monkeypatch):
    module = CodecTraining(new_codec(), JOINT, 0)
    _, discriminator = module.configure_optimizers()
    module.set_modes()
    module.codec.quantizer.initialize(torch.randn(100, 8), 0)
    waveform = crops(store)
    losses, fake = module.generator_losses(waveform, 9)
    assert fake is not None
    parameters = list(critics_of(module).parameters())
    frozen = [parameter.detach().clone() for parameter in parameters]
    monkeypatch.setattr(discriminator, "step", lambda: None)
    gradient = module._adversarial(waveform, fake, losses, discriminator)
    own = [None if p.grad is None else p.grad.clone() for p in parameters]
    torch.autograd.backward([losses["mel"], fake], [torch.ones(()), gradient])
    for parameter, kept, grad in zip(parameters, frozen, own, strict=True):
        assert torch.equal(parameter, kept)
        assert parameter.grad is not None
        assert grad is not None
        assert torch.equal(parameter.grad, grad)
    assert gradient.abs().sum() > 0


def test_one_pass_gives_the_gradients_of_two(store, monkeypatch):
    """The shared pass must equal separate generator and discriminator passes."""
    module = CodecTraining(new_codec(), JOINT, 0)
    critics = critics_of(module)
    real, fake = crops(store), crops(store).roll(1, 0)
    optimizer = module.configure_optimizers()[1]
    monkeypatch.setattr(optimizer, "step", lambda: None)
    shared = module._adversarial(real, fake, {}, optimizer)
    leaf = fake.clone().requires_grad_()
    scores, maps = critics(leaf)
    loss = 0.1 * generator_hinge(scores) + 0.1 * feature_matching(critics(real)[1], maps)
    (alone,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(shared, alone)


def test_a_loss_that_is_not_a_number_is_named(store):
    module = CodecTraining(new_codec(), JOINT, 0)
    with pytest.raises(DivergedError, match="vq is nan at step 3"):
        module._weighted({"mel": torch.tensor(1.0), "vq": torch.tensor(float("nan"))}, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": ("decodr",)}, "decodr"),
        ({"vocoder_input": "mel"}, "vocoder_input"),
        ({"steps": 0}, "steps"),
    ],
)
def test_a_phase_that_cannot_be_trained_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(JOINT, **change).check()


def test_a_store_of_another_rate_is_refused(store, tmp_path):
    store.sample_rate = 16_000
    with pytest.raises(ValueError, match="24000 Hz"):
        fit_codec_phase(new_codec(), JOINT, store, store, tmp_path / "run", config=FIT)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_training import AudioStore, FIT, JOINT, fit_codec_phase, new_codec
import codec.data

batch = codec.data.CropBatches.batch

def fatal(self, number):
    if number == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return batch(self, number)

codec.data.CropBatches.batch = fatal
store = AudioStore({store!r})
fit_codec_phase(new_codec(), JOINT, store, store, {folder}, config=FIT)
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights_bit_for_bit(store, tmp_path):
    whole = new_codec()
    fit_codec_phase(whole, JOINT, store, store, tmp_path / "whole", config=FIT)

    script = KILLED.format(
        tests=str(Path(__file__).parent),
        store=str(store.folder),
        folder=f"__import__('pathlib').Path({str(tmp_path / 'cut')!r})",
    )
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert killed.returncode == -9, killed.stderr
    resumed = new_codec()
    fit_codec_phase(resumed, JOINT, store, store, tmp_path / "cut", config=FIT)

    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert figures(tmp_path / "whole") == figures(tmp_path / "cut")


def test_a_trained_part_moves_into_another_codec(store, tmp_path):
    codec, other = new_codec(), new_codec()
    phase = replace(JOINT, steps=2, weights=LossWeights(mel=1.0, vq=1.0))
    fit_codec_phase(codec, phase, store, store, tmp_path / "run", config=FIT)
    load_phase_codec(other, tmp_path / "run", ("decoder",))
    assert torch.equal(other.decoder.embed.weight, codec.decoder.embed.weight)
    with pytest.raises(ValueError, match="train that phase first"):
        load_phase_codec(other, tmp_path / "nowhere", ("decoder",))

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from codec import CodecConfig, HHCodec
from codec.audio.store import AudioStore
from codec.training.adversarial import AdversarialLosses, backward_generator_and_discriminators
from codec.training.config import PARTS, DiscriminatorConfig, LossWeights, PhaseConfig
from codec.training.forward import ForwardPass
from codec.training.module import CodecTraining
from tests.support.builders import BEFORE_VOCODER, JOINT, discriminators_of, new_codec


def crops(store: AudioStore, codes: int = 4) -> Tensor:
    return torch.stack([torch.from_numpy(store.crop(n, 0, codes * 1024)) for n in range(4)])


MEL_ALONE = replace(JOINT, train=BEFORE_VOCODER, weights=LossWeights(mel=1.0))
VQ_ALONE = replace(JOINT, train=("encoder", "quantizer"), weights=LossWeights(vq=1.0))


def started(phase: PhaseConfig = JOINT) -> CodecTraining:
    """A module with a filled codebook, ready for a step."""
    module = CodecTraining(new_codec(), phase, 0)
    module.set_modes()
    module.codec.quantizer.initialize(torch.randn(100, 8), 0)
    return module


def calls_of(module: nn.Module) -> list[int]:
    """Counts the forward passes of a module from here on."""
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def one_step(
    module: CodecTraining, waveform: Tensor, step: int = 9
) -> tuple[ForwardPass, dict[str, Tensor], AdversarialLosses | None]:
    """What a training step does up to the gradients of both networks."""
    outputs = module.forward_pass(waveform, step)
    losses = module.losses(outputs, waveform)
    adversarial = module.adversarial_losses(outputs, waveform, step)
    weights = module.phase.weights.by_name()
    backward_generator_and_discriminators(outputs, losses, weights, adversarial, module.ensembles)
    return outputs, losses, adversarial.get("waveform")


def test_the_generators_step_leaves_no_gradient_in_the_discriminators(store: AudioStore) -> None:
    """Theirs come from their own loss alone, to the bit."""
    module, waveform = started(), crops(store)
    outputs = module.forward_pass(waveform, 9)
    adversarial = module.adversarial_losses(outputs, waveform, 9)["waveform"]
    adversarial.generator_gradient({"adversarial": 1.0, "feature_matching": 1.0})
    assert all(p.grad is None for p in discriminators_of(module).parameters())
    adversarial.backward_discriminators(discriminators_of(module))
    own = [gradient_of(p).clone() for p in discriminators_of(module).parameters()]
    module.zero_grad()
    one_step(module, waveform)
    for parameter, alone in zip(discriminators_of(module).parameters(), own, strict=True):
        assert torch.equal(gradient_of(parameter), alone)
    assert all(gradient_of(p).abs().sum() > 0 for p in module.codec.decoder.parameters())


def gradient_of(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def test_every_network_runs_once_a_step_and_each_discriminator_once_for_each_side(
    store: AudioStore,
) -> None:
    module, waveform = started(), crops(store)
    once = {part: calls_of(getattr(module.codec, part)) for part in PARTS}
    once["mel of the recording"] = calls_of(module.codec.vocoder.mel)
    twice = [calls_of(member) for member in discriminators_of(module).members]
    one_step(module, waveform)
    assert {name: len(calls) for name, calls in once.items()} == dict.fromkeys(once, 1)
    assert [len(calls) for calls in twice] == [2] * len(twice)


def test_a_joint_phase_trains_every_part_through_the_decoders_mels(store: AudioStore) -> None:
    module, waveform = started(), crops(store)
    losses = LossWeights(adversarial=0.1, feature_matching=0.1, waveform_mel=1.0)
    module.phase = replace(module.phase, weights=losses)
    one_step(module, waveform)
    for part in ("encoder", "decoder", "vocoder"):
        grads = [p.grad for p in getattr(module.codec, part).parameters()]
        assert any(g is not None and g.abs().sum() > 0 for g in grads), part
    # the codebook's transform learns from the vq term alone
    assert all(p.grad is None for p in module.codec.quantizer.parameters())


def test_a_mel_of_negative_logs_gets_its_full_gradient(store: AudioStore) -> None:
    """The reference's double logarithm gave none to any bin below 0."""
    module, waveform = started(MEL_ALONE), crops(store)
    outputs = module.forward_pass(waveform, 9)
    assert outputs.mel is not None
    lowered = (outputs.mel.detach() - 20.0).requires_grad_()
    losses = module.losses(replace(outputs, mel=lowered), waveform)
    losses["mel"].backward()
    expected = torch.full_like(lowered, -1.0 / lowered.numel())
    torch.testing.assert_close(gradient_of(lowered), expected)


def test_a_waveform_beyond_full_scale_keeps_its_gradient(store: AudioStore) -> None:
    """A clamp at the vocoder's end would take it from exactly the samples that are wrong."""
    vocoder = new_codec().vocoder
    with torch.no_grad():
        vocoder.head.out.bias.add_(4.0)  # log-magnitudes
    mel = vocoder.mel(crops(store)).requires_grad_()
    waveform = vocoder(mel)
    beyond = waveform[waveform.abs() > 1.0]
    assert len(beyond) > 0
    beyond.sum().backward()
    assert gradient_of(mel).abs().sum() > 0


def test_a_joint_phase_on_a_frozen_encoder_starts_from_the_codes_of_inference(
    store: AudioStore,
) -> None:
    codec, waveform = new_codec(), crops(store)
    codec.quantizer.initialize(torch.randn(100, 8), 0)
    module = CodecTraining(codec, replace(JOINT, train=("decoder", "vocoder")), 0)
    module.set_modes()
    outputs, _, _ = one_step(module, waveform)
    assert outputs.codes is not None
    assert torch.equal(outputs.codes, codec.quantizer.encode(codec.encoder(waveform)))
    assert gradient_of(codec.decoder.embed.weight).abs().sum() > 0
    assert all(p.grad is None for p in codec.encoder.parameters())
    with pytest.raises(ValueError, match="empty codebook"):
        CodecTraining(new_codec(), module.phase, 0)


def test_losses_of_weight_zero_are_not_computed(store: AudioStore) -> None:
    module = started(VQ_ALONE)
    assert set(module.losses(module.forward_pass(crops(store), 9), crops(store))) == {"vq"}


def test_bf16_agrees_with_fp32(store: AudioStore) -> None:
    """Under bf16 autocast losses stay within 2 %, gradients within a cosine of 0.98."""
    waveform = crops(store)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        module = started()
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            outputs, losses, adversarial = one_step(module, waveform)
        assert adversarial is not None
        losses |= {**adversarial.loss_gen, "discriminator": adversarial.loss_disc}
        assert all(loss.dtype == torch.float32 for loss in losses.values())
        assert outputs.quantized is not None
        assert outputs.waveform is not None
        assert (
            outputs.quantized.dtype
            == outputs.waveform.dtype
            == outputs.target.dtype
            == torch.float32
        )
        gradients = {
            name: torch.cat([gradient_of(p).flatten() for p in network.parameters()])
            for name, network in (
                ("generator", module.codec),
                ("discriminators", discriminators_of(module)),
            )
        }
        found[dtype] = losses, gradients
    (losses, gradients), (losses16, gradients16) = found.values()
    for name, loss in losses.items():
        torch.testing.assert_close(losses16[name], loss, rtol=0.02, atol=0.0, msg=name)
    for name, gradient in gradients.items():
        cosine = torch.nn.functional.cosine_similarity(gradients16[name], gradient, dim=0)
        assert cosine > 0.98, name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": ("decodr",)}, "decodr"),
        ({"vocoder_input": "mel"}, "vocoder_input"),
        ({"steps": 0}, "steps"),
        ({"part_rates": {"backbone": 0.1}}, "backbone"),
        ({"schedule": "linear"}, "schedule"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"codebook_start": "zeros"}, "codebook_start"),
        ({"discriminators": DiscriminatorConfig((), ())}, "discriminators"),
        ({"weights": LossWeights(semantic=1.0)}, "teacher"),
    ],
)
def test_a_phase_that_cannot_be_trained_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(JOINT, **change)


def harmonic_codec() -> HHCodec:
    torch.manual_seed(5)
    size = {"kind": "harmonic", "pitch_dim": 16, "pitch_layers": 1}
    preset = CodecConfig.preset("tiny")
    return HHCodec(replace(preset, vocoder=replace(preset.vocoder, **size)))


PITCH = PhaseConfig(
    name="pitch",
    train=("decoder", "vocoder"),
    weights=LossWeights(mel=1.0, waveform_mel=1.0, pitch=1.0),
)


def test_a_pitch_loss_trains_vocoder_and_decoder(store: AudioStore) -> None:
    pytest.importorskip("swift_f0")
    codec = harmonic_codec()
    codec.quantizer.initialize(torch.randn(100, 8), 0)
    module = CodecTraining(codec, PITCH, 0)
    losses = module.losses(module.forward_pass(crops(store, 8), 0), crops(store, 8))
    assert set(losses) == {"mel", "waveform_mel", "pitch"}
    losses["pitch"].backward()
    trained = {name.split(".")[0] for name, p in codec.named_parameters() if p.grad is not None}
    assert trained == {"decoder", "vocoder"}


def test_a_pitch_loss_is_refused_without_a_harmonic_vocoder() -> None:
    codec = new_codec()
    codec.quantizer.initialize(torch.randn(100, 8), 0)
    with pytest.raises(ValueError, match="pitch: expected a harmonic vocoder"):
        CodecTraining(codec, PITCH, 0)

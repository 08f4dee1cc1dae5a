from __future__ import annotations

import copy

import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.runtime.compiling import compiled
from codec.training.adversarial import backward_generator_and_discriminators
from codec.training.config import DiscriminatorConfig, LossWeights, PhaseConfig
from codec.training.module import CodecTraining

PHASE = PhaseConfig(
    batch_size=2,
    crop_codes=4,
    weights=LossWeights(mel=1, vq=1, waveform_mel=1, adversarial=1, feature_matching=1),
    discriminators=DiscriminatorConfig((2,), (256,), 2, (256,), 2),
)


def gradients(module: CodecTraining, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients of a step by name, of generator and discriminators."""
    module.set_modes()
    outputs = module.forward_pass(waveform, 0)
    losses = module.losses(outputs, waveform)
    adversarial = module.adversarial_losses(outputs, waveform, 0)
    weights = module.phase.weights.by_name()
    backward_generator_and_discriminators(outputs, losses, weights, adversarial, module.ensembles)
    return {n: p.grad for n, p in module.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_networks_have_the_gradients_of_those_that_are_not() -> None:
    """The graph of the discriminators outlives the generator's gradient, compiled or not."""
    torch.manual_seed(0)
    codec = HHCodec(CodecConfig.preset("tiny"))
    codec.quantizer.enable()
    module = CodecTraining(codec, PHASE, 0)
    other, names = copy.deepcopy(module), list(module.state_dict())
    waveform = 0.1 * torch.randn(2, 4 * codec.hop_length)
    expected = gradients(module, waveform)
    # What inductor is given, without its minute of C++; "aot_eager" of torch 2.13, which leaves
    # operations whole, gets the decoder's gradients wrong.
    with compiled(other.networks, "aot_eager_decomp_partition"):
        found = gradients(other, waveform)
        assert list(other.state_dict()) == names
        assert all(each._compiled_call_impl is not None for each in other.networks)
    assert found.keys() == expected.keys()
    # A bias of keys has no gradient but rounding: compared with the largest of its network.
    most = {part: 0.0 for part in {name.split(".")[1] for name in expected}}
    for name, gradient in expected.items():
        part = name.split(".")[1]
        most[part] = max(most[part], float(gradient.abs().max()))
    for name, gradient in expected.items():
        atol = 1e-4 * most[name.split(".")[1]]
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=atol)
    assert all(each._compiled_call_impl is None for each in other.networks)

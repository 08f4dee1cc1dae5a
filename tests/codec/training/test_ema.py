from __future__ import annotations

import pytest
import torch
from torch import Tensor

from codec import CodecConfig, HHCodec
from codec.training.ema import WeightAverage, averages_of


@pytest.fixture
def codec() -> HHCodec:
    return HHCodec(CodecConfig.preset("tiny"))


def weights_of(codec: HHCodec) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in codec.named_parameters()}


def test_the_average_starts_from_the_weights_it_tracks(codec: HHCodec) -> None:
    """The reference's began at random weights and kept them for thousands of steps."""
    before = weights_of(codec)
    average = WeightAverage(codec, 0.999)
    with average.applied(codec):
        assert all(torch.equal(v, before[k]) for k, v in codec.named_parameters())


def test_averages_are_those_of_the_formula(codec: HHCodec) -> None:
    average = WeightAverage(codec, 0.15)
    name, weight = next(iter(codec.named_parameters()))
    expected = weight.detach().clone()
    for decay in (0.1, 0.15, 0.15):  # grows from a tenth
        with torch.no_grad():
            weight.add_(1.0)
        average.update(codec)
        expected = decay * expected + (1 - decay) * weight.detach()
    torch.testing.assert_close(averages_of(average.state_dict())[name], expected)


def test_frozen_parts_are_left_alone(codec: HHCodec) -> None:
    """The reference's asserted when a tracked parameter was frozen."""
    codec.vocoder.requires_grad_(False)
    average = WeightAverage(codec, 0.9)
    assert not any(name.startswith("vocoder.") for name in averages_of(average.state_dict()))
    codec.encoder.requires_grad_(False)
    average.update(codec)
    with average.applied(codec):
        codec.eval()


def test_the_codecs_own_weights_come_back_bit_for_bit_even_after_an_error(codec: HHCodec) -> None:
    average = WeightAverage(codec, 0.5)
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.add_(0.1)
    average.update(codec)
    own = weights_of(codec)
    swapped = average.applied(codec)
    swapped.__enter__()
    assert not torch.equal(codec.decoder.embed.weight, own["decoder.embed.weight"])
    assert not swapped.__exit__(RuntimeError, RuntimeError("in between"), None)
    assert all(torch.equal(value, own[name]) for name, value in codec.named_parameters())


def test_the_codebook_kept_for_inference_follows_the_swap(codec: HHCodec) -> None:
    codec.quantizer.initialize(torch.randn(100, 8), 0)
    average = WeightAverage(codec, 0.5)
    with torch.no_grad():
        for parameter in codec.quantizer.parameters():
            parameter.add_(0.5)
    codec.eval()
    own = codec.codebook.clone()
    with average.applied(codec):
        assert not torch.equal(codec.codebook, own)
    assert torch.equal(codec.codebook, own)


def test_buffers_are_the_codecs_own(codec: HHCodec) -> None:
    average = WeightAverage(codec, 0.9)
    codec.quantizer.mean.fill_(3.0)
    average.update(codec)
    with average.applied(codec):
        assert float(codec.quantizer.mean[0]) == 3.0


def test_a_filled_codebooks_transform_starts_its_average_anew(codec: HHCodec) -> None:
    """An average of the old transform and the identity would be neither."""
    average = WeightAverage(codec, 0.99)
    average.update(codec)
    codec.quantizer.initialize(torch.randn(100, 8), 0)
    average.restart(codec, "quantizer.")
    with average.applied(codec):
        centres = codec.quantizer.stage(0).state_dict()["frozen_codebook"]
        torch.testing.assert_close(codec.codebook, centres, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_other_parts_is_refused(codec: HHCodec) -> None:
    state = WeightAverage(codec, 0.9).state_dict()
    codec.encoder.requires_grad_(False)
    with pytest.raises(ValueError, match="differ in"):
        WeightAverage(codec, 0.9).load_state_dict(state)

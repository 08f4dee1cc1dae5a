from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from codec.import_shims import import_vocos
from codec.layers.vocos_modules import InverseSTFT, ISTFTHead, VocosBackbone

needs_vocos = pytest.mark.skipif(find_spec("vocos") is None, reason="vocos is not installed")


@needs_vocos
@pytest.mark.parametrize("padding", ["same", "center"])
def test_values_gradients_and_names_are_those_of_the_package(padding: str) -> None:
    theirs = torch.nn.ModuleList(
        [
            import_vocos("models").VocosBackbone(100, 32, 96, 2),
            import_vocos("heads").ISTFTHead(32, 1024, 256, padding),
        ]
    )
    ours = torch.nn.ModuleList([VocosBackbone(100, 32, 96, 2), ISTFTHead(32, 1024, 256, padding)])
    ours.load_state_dict(theirs.state_dict())
    mel = torch.randn(2, 100, 12, requires_grad=True)
    results = []
    for backbone, head in (theirs, ours):
        waveform = head(backbone(mel))
        parameters = (mel, *backbone.parameters(), *head.parameters())
        results.append((waveform, *torch.autograd.grad(waveform.square().sum(), parameters)))
    assert all(map(torch.equal, *results))


@needs_vocos
def test_initial_weights_are_drawn_as_by_the_package() -> None:
    states = []
    for backbone in (import_vocos("models").VocosBackbone, VocosBackbone):
        torch.manual_seed(0)
        states.append(backbone(4, 8, 16, 2).state_dict())
    assert list(states[0]) == list(states[1])
    assert all(map(torch.equal, states[0].values(), states[1].values()))


@pytest.mark.parametrize(("n_fft", "hop_length"), [(1024, 256), (512, 128), (60, 20)])
def test_the_inverse_transform_undoes_a_forward_one(n_fft: int, hop_length: int) -> None:
    waveform = torch.randn(2, 12 * hop_length)
    margin = (n_fft - hop_length) // 2
    padded = torch.nn.functional.pad(waveform, (margin, margin))
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(
        padded, n_fft, hop_length, window=window, center=False, return_complex=True
    )
    inverse = InverseSTFT(n_fft, hop_length, "same")(spectrum)
    torch.testing.assert_close(inverse, waveform, rtol=1e-4, atol=1e-4)


def test_frames_that_do_not_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="hop_length"):
        InverseSTFT(256, 256, "same")

from __future__ import annotations

import pytest
import torch

from codec.distillation.frame_grid import FrameGrid, features_at, receptive_field

HUBERT_KERNELS, HUBERT_STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


def test_huberts_frames_are_50_a_second_from_12_5_ms_on() -> None:
    assert receptive_field(HUBERT_KERNELS, HUBERT_STRIDES) == (400, 320)
    grid = FrameGrid.of_convolutions(16_000, HUBERT_KERNELS, HUBERT_STRIDES)
    assert grid == FrameGrid(50.0, 0.0125)


def test_the_receptive_field_is_what_the_convolutions_really_see() -> None:
    kernels, strides = (7, 3, 2), (3, 2, 2)
    layers = [torch.nn.Conv1d(1, 1, k, s) for k, s in zip(kernels, strides, strict=True)]
    waveform = torch.zeros(1, 1, 200, requires_grad=True)
    frames = torch.nn.Sequential(*layers)(waveform)
    frames[0, 0, 4].backward()
    assert waveform.grad is not None
    seen = waveform.grad[0, 0].nonzero()[:, 0]
    grid = FrameGrid.of_convolutions(1000, kernels, strides)
    centre = (int(seen[0]) + int(seen[-1]) + 1) / 2 / 1000
    assert float(grid.centres(5)[4]) == pytest.approx(centre)


def test_a_codecs_frame_speaks_for_its_hop() -> None:
    centres = FrameGrid.of_hops(24_000, 1024).centres(3)
    torch.testing.assert_close(centres * 24_000, torch.tensor([512.0, 1536, 2560]).double())


def test_features_are_read_off_linearly_between_frames() -> None:
    grid = FrameGrid(rate=10.0, offset=0.05)
    features = torch.tensor([0.0, 1.0, 3.0, 100.0])[None, :, None].expand(2, -1, 2)
    times = torch.tensor([0.0, 0.05, 0.1, 0.175, 0.25, 9.0]).double()
    found, covered = features_at(features, torch.tensor([3, 0]), grid, times)
    expected = torch.tensor([0.0, 0.0, 0.5, 1.5, 3.0, 3.0])
    torch.testing.assert_close(found[0, :, 0], expected)
    torch.testing.assert_close(found[0, :, 1], expected)
    assert found[1].abs().max() == 0
    assert covered.tolist() == [[True] * 5 + [False], [False] * 6]

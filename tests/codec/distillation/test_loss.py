from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.distillation.config import SemanticConfig
from codec.distillation.frame_grid import FrameGrid
from codec.distillation.loss import Distillation, masked_cosines
from codec.distillation.teachers import Teacher

RATE, HOP = 24_000, 1024
CODES = RATE / HOP


class Clock:
    """Tells the time: its features are its frames' centres, s, and their squares."""

    name, fingerprint, dim = "clock", "clock-1", 2

    def __init__(
        self, rate: float = 50.0, offset: float = 0.0125, sample_rate: int = 16_000
    ) -> None:
        self.grid, self.sample_rate = FrameGrid(rate, offset), sample_rate

    def num_frames(self, lengths: Tensor) -> Tensor:
        last = (lengths / self.sample_rate - 2 * self.grid.offset) * self.grid.rate
        return (torch.floor(last + 1e-9).long() + 1).clamp(min=0)

    def features(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        assert len(waveform) == len(lengths)
        counts = self.num_frames(lengths)
        centres = self.grid.centres(max(1, int(counts.max())), waveform.device).float()
        exists = torch.arange(len(centres)) < counts[:, None]
        features = torch.stack([centres, centres**2], dim=-1).expand(len(waveform), -1, -1)
        return features * exists[..., None]


class Listener(Clock):
    """Level of the samples around each of its frames."""

    name, fingerprint, dim = "listener", "listener-1", 3

    def features(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        frames = max(1, int(self.num_frames(lengths).max()))
        power = F.pad(waveform, (0, 800)).unfold(-1, 400, 320)[:, :frames].square().mean(-1)
        return torch.stack([power.sqrt(), power, power.add(1e-4).log()], dim=-1)


def new_distillation(
    teacher: Teacher | None = None, latent_dim: int = 8, **settings: Any
) -> Distillation:
    teacher = teacher or Clock()
    return Distillation(SemanticConfig(**settings), latent_dim, CODES, RATE, teacher=teacher)


@pytest.mark.parametrize("num_samples", [65_536, 30_001, 63 * HOP + 520, 777_777])
@pytest.mark.parametrize(("rate", "offset"), [(50.0, 0.0125), (31.7, 0.02)])
def test_targets_keep_to_the_codecs_clock_over_any_length(
    num_samples: int, rate: float, offset: float
) -> None:
    distillation = new_distillation(Clock(rate, offset))
    frames = -(-num_samples // HOP)
    targets, mask = distillation.targets(torch.zeros(2, num_samples), None, frames)
    assert targets.shape == (2, frames, 2)
    centres = (torch.arange(frames) + 0.5) * HOP / RATE
    drift = (targets[0, :, 0] - centres)[mask[0]].abs()
    assert drift[:-1].max() < 1e-4  # s
    assert drift[-1] < 0.5 / CODES if rate == 50 else drift[-1] <= 1 / rate  # the last one, held
    compared = int(mask[0].sum())
    assert int((centres < num_samples / RATE).sum()) - compared in (0, 1)
    assert compared == frames or num_samples % HOP


def test_padding_changes_neither_targets_nor_loss() -> None:
    for axis in ("time", "channel"):
        distillation = new_distillation(Listener(), axis=axis)
        waveform, quantized = torch.randn(2, 20 * HOP), torch.randn(2, 8, 20)
        lengths = torch.tensor([20 * HOP, 9 * HOP + 700])
        loss = distillation.loss(quantized, waveform, lengths)
        waveform[1, int(lengths[1]) :], quantized[1, :, 10:] = 5.0, -7.0
        torch.testing.assert_close(distillation.loss(quantized, waveform, lengths), loss)
        longer = F.pad(waveform, (0, 4 * HOP), value=3.0), F.pad(quantized, (0, 4), value=2.0)
        torch.testing.assert_close(distillation.loss(longer[1], longer[0], lengths), loss)
        alone = [
            distillation.loss(quantized[:1], waveform[:1]),
            distillation.loss(quantized[1:, :, :10], waveform[1:, : int(lengths[1])]),
        ]
        if axis == "time":
            torch.testing.assert_close(sum(alone) / 2, loss, atol=1e-4, rtol=1e-4)


def test_cosines_run_along_the_axis_that_is_named() -> None:
    student = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]])
    teacher = torch.tensor([[[2.0, 1.0], [0.0, 2.0], [1.0, -1.0]]])
    mask = torch.tensor([[True, True, False]])
    by_time = masked_cosines(student, teacher, mask, "time")
    torch.testing.assert_close(by_time, torch.tensor([1.0, 2 / math.sqrt(5)]))
    by_frame = masked_cosines(student, teacher, mask, "channel")
    torch.testing.assert_close(by_frame, torch.tensor([2 / math.sqrt(5), 1.0]))


def test_the_two_distances_have_the_stated_values() -> None:
    student, waveform = torch.randn(1, 2, 12), torch.zeros(1, 12 * HOP)
    for distance, best, worst in (("log_sigmoid", 0.31326, 1.31326), ("cosine", 0.0, 2.0)):
        distillation = new_distillation(latent_dim=2, axis="channel", distance=distance)
        targets, _ = distillation.targets(waveform, None, 12)
        with torch.no_grad():
            distillation.head.weight.copy_(torch.eye(2))
            distillation.head.bias.zero_()
        with torch.no_grad():
            same = distillation.loss(targets.transpose(1, 2), waveform)
            opposite = distillation.loss(-targets.transpose(1, 2), waveform)
            between = distillation.loss(student, waveform)
        assert float(same) == pytest.approx(best, abs=1e-4)
        assert float(opposite) == pytest.approx(worst, abs=1e-4)
        assert best < float(between) < worst


def test_the_head_and_the_latents_learn_and_the_teacher_is_no_part_of_the_state() -> None:
    distillation = new_distillation(Listener())
    quantized = torch.randn(2, 8, 16, requires_grad=True)
    distillation.loss(quantized, torch.randn(2, 16 * HOP)).backward()
    assert quantized.grad is not None
    assert quantized.grad.abs().sum() > 0
    assert all(p.grad is not None for p in distillation.parameters())
    assert set(distillation.state_dict()) == {"head.weight", "head.bias"}


def test_silence_and_zero_latents_give_finite_gradients() -> None:
    for axis in ("time", "channel"):
        distillation = new_distillation(Listener(), axis=axis)
        torch.nn.init.zeros_(distillation.head.bias)
        quantized = torch.zeros(2, 8, 16, requires_grad=True)
        distillation.loss(quantized, torch.zeros(2, 16 * HOP)).backward()
        assert quantized.grad is not None
        assert torch.isfinite(quantized.grad).all()


def test_clips_too_short_for_the_teacher_add_nothing() -> None:
    distillation = new_distillation()
    quantized = torch.randn(1, 8, 2, requires_grad=True)
    loss = distillation.loss(quantized, torch.randn(1, 2 * HOP), torch.tensor([300]))
    loss.backward()
    assert loss.item() == 0.0


def test_the_loss_is_fp32_under_autocast() -> None:
    distillation = new_distillation(Listener())
    quantized, waveform = torch.randn(2, 8, 16), torch.randn(2, 16 * HOP)
    expected = distillation.loss(quantized, waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = distillation.loss(quantized, waveform)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)


@pytest.mark.parametrize("field", [{"axis": "both"}, {"distance": "l2"}])
def test_a_setting_that_is_none_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"semantic\..*expected .* or .*, got"):
        SemanticConfig(**field)

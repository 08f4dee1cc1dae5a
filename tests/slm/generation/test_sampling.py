import math

import pytest
import torch

from slm.generation.config import GenerationSettings
from slm.generation.sampling import (
    avoid_repetition,
    choose,
    draw,
    guide,
    keep_min_p,
    keep_top_k,
    keep_top_p,
)

LOGITS = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()


def kept(logits: torch.Tensor) -> list[int]:
    return logits.isfinite().nonzero()[:, 0].tolist()


def test_top_k_keeps_the_k_likeliest() -> None:
    assert kept(keep_top_k(LOGITS, 2)) == [1, 3]
    assert kept(keep_top_k(LOGITS, 99)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("top_p", "expected"), [(0.39, [1]), (0.5, [1, 3]), (0.85, [1, 2, 3]), (1.0, [0, 1, 2, 3])]
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p: float, expected: list[int]) -> None:
    assert kept(keep_top_p(LOGITS, top_p)) == expected


def test_top_p_keeps_what_a_plain_sort_says() -> None:
    """Many rows, some tokens ruled out, in single and double precision."""
    logits = 3 * torch.randn(20, 500)
    logits[:, ::7] = -torch.inf
    for each in (logits, logits.double()):
        for top_p in (0.05, 0.5, 0.95):
            ordered, order = each.softmax(-1).sort(descending=True, stable=True)
            wanted = torch.full_like(each, -torch.inf)
            for row in range(20):
                count = int((ordered[row].cumsum(-1) - ordered[row] < top_p).sum())
                wanted[row, order[row, :count]] = each[row, order[row, :count]]
            assert torch.equal(keep_top_p(each, top_p), wanted)


def test_draw_inverts_the_cumulative_distribution() -> None:
    uniforms = torch.tensor([0.0, 0.09, 0.11, 0.49, 0.51, 0.69, 0.71, 1 - 1e-12]).double()
    assert draw(LOGITS.expand(8, 4), uniforms).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_draw_never_takes_a_token_that_is_ruled_out() -> None:
    allowed = torch.tensor([False, True, False, False])
    uniforms = torch.tensor([0.0, 0.5, 1 - 1e-16, 1.0], dtype=torch.float64)
    logits = LOGITS.masked_fill(~allowed, -torch.inf).expand(4, 4)
    assert draw(logits, uniforms).tolist() == [1, 1, 1, 1]


def test_draws_follow_the_probabilities() -> None:
    uniforms = torch.rand(20000, dtype=torch.float64)
    counts = draw(LOGITS.expand(20000, 4), uniforms).bincount(minlength=4) / 20000
    # Four standard deviations of a proportion near 0.4.
    torch.testing.assert_close(counts, LOGITS.exp(), atol=4 * math.sqrt(0.24 / 20000), rtol=0)


def test_temperature_zero_is_argmax_and_low_temperature_comes_near() -> None:
    uniforms = torch.full((1,), 0.999, dtype=torch.float64)
    assert choose(LOGITS[None], uniforms, GenerationSettings(temperature=0)).item() == 1
    assert choose(LOGITS[None], uniforms, GenerationSettings(temperature=0.01)).item() == 1
    warm = GenerationSettings(temperature=1, top_p=1)
    assert choose(LOGITS[None], uniforms, warm).item() == 3


def test_min_p_keeps_a_share_of_the_likeliest() -> None:
    assert kept(keep_min_p(LOGITS, 0.6)) == [1, 3]
    assert kept(keep_min_p(LOGITS, 1.0)) == [1]
    assert kept(keep_min_p(LOGITS, 0.01)) == [0, 1, 2, 3]


def test_guidance_leans_from_one_distribution_to_the_other() -> None:
    other = LOGITS.flip(0) + 5.0
    torch.testing.assert_close(guide(LOGITS, other, 1.0).softmax(-1), LOGITS.exp())
    torch.testing.assert_close(guide(LOGITS, other, 0.0).softmax(-1), LOGITS.exp().flip(0))
    assert guide(LOGITS, other, 3.0)[1] > LOGITS[1]


def test_a_token_that_fills_the_window_is_drawn_once_more() -> None:
    logits = torch.stack([LOGITS] * 3)
    recent = torch.tensor([[1, 1, 0, -1], [1, 0, 0, 3], [-1, -1, -1, -1]])
    again = avoid_repetition(
        torch.tensor([1, 1, 1]), logits, recent, torch.full((3,), 0.99).double(), ratio=0.25
    )
    assert again.tolist() == [3, 1, 1]


def test_repetition_aware_sampling_looks_past_the_filters() -> None:
    settings = GenerationSettings(temperature=1, top_k=1, repetition_window=2)
    uniforms = torch.tensor([[0.5, 0.99]]).double()
    fresh, worn = torch.tensor([[0, 0]]), torch.tensor([[1, 1]])
    assert choose(LOGITS[None], uniforms, settings, fresh).item() == 1
    assert choose(LOGITS[None], uniforms, settings, worn).item() == 3

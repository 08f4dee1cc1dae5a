from __future__ import annotations

import math

import numpy as np
import pytest

from eval.tokens.ngrams import NgramModel, conditional_entropy


def markov(length: int, seed: int, size: int = 8) -> np.ndarray:
    """Each code is followed by its successor nine times of ten, else by any."""
    rng = np.random.default_rng(seed)
    codes = [0]
    while len(codes) < length:
        codes.append((codes[-1] + 1) % size if rng.random() < 0.9 else int(rng.integers(size)))
    return np.array(codes)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("context", [(), (1,), (0, 1), (4, 4), (9, 9)])
def test_probabilities_sum_to_one_after_any_context(order: int, context: tuple[int, ...]) -> None:
    model = NgramModel([np.array([0, 1, 2, 0, 1, 3]), np.array([1, 2])], 10, order)
    total = sum(model.probability(code, context) for code in range(10))
    assert total == pytest.approx(1.0)
    assert all(model.probability(code, context) > 0 for code in range(10))


def test_a_bigram_finds_the_entropy_of_a_markov_chain() -> None:
    found = conditional_entropy([markov(6000, 1)], [markov(2000, 2)], 8)
    likely, other = 0.9 + 0.1 / 8, 0.1 / 8
    entropy = -likely * math.log2(likely) - 7 * other * math.log2(other)
    assert found.bits == pytest.approx(entropy, abs=0.05)
    assert (found.num_train, found.num_test, found.order) == (6000, 2000, 2)
    assert conditional_entropy([markov(6000, 1)], [markov(2000, 2)], 8, order=1).bits > 2.9


def test_held_out_bits_do_not_fall_for_chance_where_the_plug_in_does() -> None:
    """Codes without any order: few pairs recur, so counted pairs look nearly certain."""
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 256, 2000), rng.integers(0, 256, 2000)
    found = conditional_entropy([train], [test], 256)
    assert found.plug_in_bits < 4.0
    assert found.bits > 7.9


def test_contexts_do_not_reach_over_the_start_of_a_clip() -> None:
    apart = NgramModel([np.array([0, 1]), np.array([2, 3])], 4)
    joined = NgramModel([np.array([0, 1, 2, 3])], 4)
    assert joined.probability(2, (1,)) > apart.probability(2, (1,))


def test_an_unseen_code_costs_a_finite_amount() -> None:
    bits, count = NgramModel([np.zeros(50, np.int64)], 1024).bits_per_code([np.array([1023])])
    assert count == 1
    assert 10 < bits < 30


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one code"):
        NgramModel([], 4)
    with pytest.raises(ValueError, match=r"codes in \[0, 4\)"):
        NgramModel([np.array([4])], 4)
    with pytest.raises(ValueError, match="order: expected a number >= 1"):
        NgramModel([np.array([1])], 4, 0)
    with pytest.raises(ValueError, match="held-out"):
        NgramModel([np.array([1])], 4).bits_per_code([])
    with pytest.raises(ValueError, match="integer codes"):
        NgramModel([np.array([0.5])], 4)

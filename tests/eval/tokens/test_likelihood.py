"""Language-model figures."""

import math

import numpy as np
import pytest

from eval.tokens.likelihood import (
    bits_per_second,
    unigram_cross_entropy,
    unigram_entropy,
)


def test_unigram_entropy_of_uniform_and_of_constant_counts():
    assert unigram_entropy(np.full(8, 5)) == pytest.approx(math.log(8))
    assert unigram_entropy(np.array([0, 9, 0])) == 0.0


def test_cross_entropy_of_two_tokens_by_hand():
    """Trained on (3, 0) with one added: p = (4/5, 1/5); tested on one of each."""
    got = unigram_cross_entropy(np.array([3, 0]), np.array([1, 1]))
    assert got == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2)


def test_cross_entropy_is_at_least_the_entropy_of_the_test_tokens():
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 50, 100), rng.integers(0, 50, 100)
    assert unigram_cross_entropy(train, test) > unigram_entropy(test)


def test_bits_per_second_of_one_bit_tokens():
    assert bits_per_second(math.log(2), 23.4375) == pytest.approx(23.4375)


@pytest.mark.parametrize(
    "call",
    [
        lambda: unigram_entropy(np.zeros(3)),
        lambda: unigram_entropy(np.array([1, -1])),
        lambda: unigram_cross_entropy(np.ones(3), np.ones(4)),
        lambda: unigram_cross_entropy(np.ones(3), np.ones(3), smoothing=0.0),
    ],
)
def test_what_cannot_be_computed_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()

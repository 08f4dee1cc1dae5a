"""Codebook use."""

import numpy as np
import pytest

from eval.tokens.codebook import count_codes, usage


def test_uniform_codes_use_everything():
    got = usage(np.arange(64).repeat(3), 64, 23.4375)
    assert got.perplexity == pytest.approx(64.0)
    assert (got.used, got.used_fraction, got.num_tokens) == (64, 1.0, 192)
    assert got.normalized_entropy == pytest.approx(1.0)
    assert got.effective_bitrate == pytest.approx(got.bitrate)


def test_constant_codes_carry_nothing():
    got = usage(np.full(50, 7), 64, 23.4375)
    assert (got.used, got.perplexity, got.entropy_bits) == (1, 1.0, 0.0)
    assert got.effective_bitrate == 0.0


def test_hand_computed_four_entries():
    """Shares 1/2, 1/4, 1/4, 0 of a codebook of four: 1.5 bits."""
    got = usage(np.array([[0, 0], [1, 2]]), 4, 10.0)
    assert got.entropy_bits == pytest.approx(1.5)
    assert got.perplexity == pytest.approx(2**1.5)
    assert got.normalized_entropy == pytest.approx(0.75)
    assert got.effective_bitrate == pytest.approx(15.0)
    assert got.bitrate == pytest.approx(20.0)
    assert got.to_dict()["used"] == 3


def test_clips_of_unequal_length_count_as_one_stream():
    clips = [np.array([0, 1], np.uint16), np.array([], np.uint16), np.array([1], np.uint16)]
    np.testing.assert_array_equal(count_codes(clips, 3), [1, 2, 0])


@pytest.mark.parametrize(
    ("codes", "match"),
    [
        (np.array([0, 4]), r"\[0, 4\)"),
        (np.array([-1]), r"\[0, 4\)"),
        (np.array([0.5]), "integer"),
        (np.array([], np.int64), "at least one code"),
    ],
)
def test_wrong_codes_are_refused(codes, match):
    with pytest.raises(ValueError, match=match):
        usage(codes, 4, 10.0)

"""Diversity of texts and codes."""

import random
import time

import pytest

from eval.tokens.diversity import auto_bleu, bleu, distinct_n, diversity, self_bleu


def test_auto_bleu_by_hand():
    # "a b a b": all 4 words recur; of the pairs ab, ba, ab two of three do.
    assert auto_bleu(["a", "b", "a", "b"], 1) == 1.0
    assert auto_bleu(["a", "b", "a", "b"], 2) == pytest.approx((2 / 3) ** 0.5)
    assert auto_bleu(["a", "b", "c"], 2) == 0.0
    assert auto_bleu(["a"], 2) is None


def test_distinct_counts_over_all_texts():
    assert distinct_n([["a", "b"], ["a", "c"]], 1) == 3 / 4
    assert distinct_n([["a", "b"], ["a", "b"]], 2) == 0.5
    assert distinct_n([["a"]], 2) is None


def test_bleu_by_hand():
    # Words 2 of 3, pairs 1 of 2, as long as the reference.
    assert bleu(["a", "b", "x"], [["a", "b", "c"]]) == pytest.approx((2 / 3 * 1 / 2) ** 0.5)
    assert bleu(["a", "b"], [["a", "b", "c", "d"]]) == pytest.approx(2.718281828 ** (1 - 4 / 2))
    # A word that comes three times is matched as often as the reference has it.
    assert bleu(["a", "a", "a"], [["a", "b", "c"]], 1) == pytest.approx(1 / 3)


def test_equal_texts_are_fully_alike_and_others_not():
    assert self_bleu([[1, 2, 3], [1, 2, 3]]) == 1.0
    assert self_bleu([[1, 2, 3], [4, 5, 6]]) == 0.0
    assert self_bleu([[1, 2, 3]]) is None


def test_short_texts_are_counted_not_scored():
    got = diversity([["a"], ["a", "b", "a", "b"]])
    assert (got["texts"], got["auto_bleu_texts"], got["units"]) == (2, 1, 5)


@pytest.mark.parametrize(
    "call", [lambda: auto_bleu(["a"], 0), lambda: distinct_n([], 0), lambda: bleu(["a"], [])]
)
def test_wrong_calls_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def test_self_bleu_is_the_mean_bleu_against_all_others():
    draw = random.Random(0)
    texts = [[draw.choice("abcdef") for _ in range(draw.randrange(8))] for _ in range(30)]
    texts += [list("abc"), list("abc")]
    for n in (1, 2, 3):
        each = [bleu(text, [*texts[:i], *texts[i + 1 :]], n) for i, text in enumerate(texts)]
        assert self_bleu(texts, n) == pytest.approx(sum(each) / len(each))


def test_the_likeness_of_thousands_of_texts_takes_seconds():
    """Every text was compared with every other: minutes for a list of seed-tts-eval."""
    draw = random.Random(0)
    texts = [[draw.randrange(2000) for _ in range(12)] for _ in range(4000)]
    start = time.process_time()
    assert self_bleu(texts) is not None
    assert time.process_time() - start < 5.0

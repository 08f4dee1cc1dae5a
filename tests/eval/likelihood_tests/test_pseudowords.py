"""Pseudo-words of a small language: one phone of a word replaced, and no word of it."""

from __future__ import annotations

from random import Random

import pytest

from eval.likelihood_tests.pseudowords import PseudowordMaker, pair_words

WORDS = ["b'ata", "b'ada", "d'ata", "t'aba", "b'iba", "d'iba", "t'ida", "b'abi", "d'adi", "t'ati"]


@pytest.fixture
def maker() -> PseudowordMaker:
    return PseudowordMaker(WORDS, vowels="ai", marks="'", stress="'")


def differences(one: str, other: str) -> list[tuple[str, str]]:
    return [(a, b) for a, b in zip(one, other, strict=True) if a != b]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("seed", range(5))
def test_one_phone_of_its_kind_is_replaced_and_no_word_comes_of_it(
    word: str, seed: int, maker: PseudowordMaker
) -> None:
    made = maker.make(word, Random(seed), rarer=True, most_margin=9.0)
    assert made is not None
    assert made.phones not in maker
    ((old, new),) = differences(word, made.phones)
    assert (old in "ai") == (new in "ai")
    if old in "ai":
        assert word[made.phones.index(new, word.index(old)) - 1] == "'"


def test_marks_do_not_make_another_word(maker: PseudowordMaker) -> None:
    assert "bat'a" in maker
    assert "batu" not in maker


def test_phones_that_may_be_one_sound_are_not_exchanged() -> None:
    alike = PseudowordMaker(WORDS, vowels="ai", marks="'", alike=("td",))
    assert "b'ada" in alike
    assert alike.plain("b'ada") == "bata"
    made = [alike.make("b'ata", Random(seed), rarer=True, most_margin=9.0) for seed in range(20)]
    exchanged = [differences("b'ata", each.phones) for each in made if each is not None]
    assert exchanged
    assert all({"t", "d"} != {*pair} for found in exchanged for pair in found)


def test_a_succession_that_the_language_lacks_is_not_made() -> None:
    maker = PseudowordMaker(["aba", "ada", "aga", "bab"], vowels="a", marks="")
    # "b" stands at the beginning and the end of a word, "d" and "g" do not.
    assert maker.make("bab", Random(0), rarer=True, most_margin=9.0) is None


def test_pairs_do_not_lean_to_the_side_of_common_successions() -> None:
    rng = Random(1)
    words = sorted(
        {"".join(rng.choice("bdgt") + rng.choice("aiu") for _ in range(3)) for _ in range(90)}
    )
    maker = PseudowordMaker(words, vowels="aiu", marks="")
    pairs = pair_words(words, str, maker, 30, Random(0), least_phones=6)
    margins = [made.bigram_margin for _, _, made in pairs]
    assert len(pairs) == 30
    assert abs(sum(margins)) <= 1.0
    assert 0.3 <= sum(margin > 0 for margin in margins) / len(margins) <= 0.7
    assert len({made.phones for _, _, made in pairs}) == 30
    assert pair_words(reversed(words), str, maker, 30, Random(0), least_phones=6) == pairs


def test_words_without_a_pseudo_word_are_refused(maker: PseudowordMaker) -> None:
    with pytest.raises(ValueError, match="expected words with pseudo-words beside them, got 1"):
        pair_words(["b'a"], str, maker, 3, Random(0))
    with pytest.raises(ValueError, match="expected pronunciations with phones, got none"):
        PseudowordMaker(["'"], vowels="a", marks="'")

import pytest

from slm.text.letter_to_sound import align_letters, apply_rules, context, learn_rules

# Every spelling of a tiny language: "c" is K before "a" and "o", S before "i" and "e"; "h" makes
# "s" another sound and an "e" at the end is silent.
WORDS = {
    first + vowel + last + silent: (*sound, said, *ending)
    for first in ("c", "s", "sh", "t", "b")
    for vowel, said in (("a", "AE"), ("i", "IH"), ("o", "AA"))
    for last, ending in (("t", ("T",)), ("b", ("B",)), ("x", ("K", "S")))
    for silent in ("", "e")
    for sound in [
        {"c": ("S",) if vowel == "i" else ("K",), "sh": ("SH",)}.get(first, (first.upper(),))
    ]
}


def test_rules_say_the_words_that_they_were_learnt_from() -> None:
    rules = learn_rules(WORDS, min_count=1)
    wrong = [word for word, said in WORDS.items() if tuple(apply_rules(word, rules)) != said]
    assert not wrong


def test_rules_say_a_word_that_was_left_out() -> None:
    known = {word: said for word, said in WORDS.items() if word not in ("cite", "shax")}
    rules = learn_rules(known, min_count=1)
    assert apply_rules("cite", rules) == ["S", "IH", "T"]
    assert apply_rules("shax", rules) == ["SH", "AE", "K", "S"]


def test_a_rule_that_a_narrower_one_implies_is_left_out() -> None:
    rules = learn_rules(WORDS, min_count=1)
    assert rules["<b>"] == ("B",)
    assert not any("<b>" in key and len(key) > 3 for key in rules)


def test_rare_contexts_make_no_rule() -> None:
    assert "c<i>" not in learn_rules({"ci": ("S", "IH"), "ca": ("K", "AE")}, min_count=2)


def test_letters_are_aligned_one_to_one_where_nothing_is_known() -> None:
    assert align_letters("cat", ("K", "AE", "T"), {}) == [("K",), ("AE",), ("T",)]
    assert align_letters("ox", ("AA", "K", "S"), {})[0] in (("AA",), ("AA", "K"))  # type: ignore[index]


def test_too_many_phones_cannot_be_aligned() -> None:
    assert align_letters("w", ("D", "AH", "B"), {}) is None
    with pytest.raises(ValueError, match="aligned"):
        learn_rules({"w": ("D", "AH", "B")})


def test_the_context_of_a_letter_marks_the_edges_of_its_word() -> None:
    assert context("car", 0, 2, 1) == "#<c>a"
    assert context("car", 1, 1, 1) == "c<a>r"
    assert context("car", 2, 0, 1) == "<r>#"

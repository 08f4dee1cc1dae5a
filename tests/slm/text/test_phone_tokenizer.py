import unicodedata
from pathlib import Path

import pytest

from slm.text.lexicon import PHONES, Lexicon
from slm.text.phone_tokenizer import (
    MAX_DURATION,
    PAUSE_ID,
    UNIT_COUNT,
    PhoneTokenizer,
    is_word_start,
    word_units,
    words_and_pauses,
)

WORDS = {"a": ("AH",), "cat": ("K", "AE", "T"), "five": ("F", "AY", "V"), "o'clock": ("K",)}


@pytest.fixture
def tokenizer() -> PhoneTokenizer:
    return PhoneTokenizer(Lexicon(WORDS))


def test_text_is_pauses_and_phones_with_the_starts_of_words_marked(
    tokenizer: PhoneTokenizer,
) -> None:
    units = tokenizer.encode("A cat!")
    assert units[0] == units[-1] == PAUSE_ID
    assert [is_word_start(unit) for unit in units] == [False, True, True, False, False, False]
    assert tokenizer.decode(units) == ", AH K-AE-T,"
    assert max(units) < UNIT_COUNT


def test_a_pause_stands_at_marks_and_at_both_ends_and_never_twice(
    tokenizer: PhoneTokenizer,
) -> None:
    assert tokenizer.decode(tokenizer.encode("cat, a (cat) -- a")) == ", K-AE-T, AH, K-AE-T, AH,"


def test_case_apostrophes_and_hyphens_do_not_matter() -> None:
    assert words_and_pauses("The CAT\u2019s well-known cafe\u0301") == [
        "the", "cat's", "well", "known", "cafe",
    ]  # fmt: skip
    assert words_and_pauses("'tis the dogs' day") == ["tis", "the", "dogs'", "day"]


def test_numbers_are_written_out() -> None:
    assert words_and_pauses("5 o'clock & 10%") == ["five", "o'clock", "and", "ten", "percent"]


def test_text_without_a_word_is_refused(tokenizer: PhoneTokenizer) -> None:
    for text in ("", "...", "?!"):
        with pytest.raises(ValueError, match="at least one word"):
            tokenizer.encode(text)


def test_letters_that_no_rule_is_about_are_named(tokenizer: PhoneTokenizer) -> None:
    assert tokenizer.unknown_characters("a caf\u00e9 and a caf\u00e9") == "\u00e9"


def test_layout_of_ids_is_pause_phones_word_starts_durations() -> None:
    assert 1 + 2 * len(PHONES) == UNIT_COUNT
    assert PhoneTokenizer.vocab_size == UNIT_COUNT + MAX_DURATION + 1
    assert word_units(["AA", "ZH"]) == [40, 39]
    with pytest.raises(ValueError, match="XX"):
        word_units(["XX"])


def test_a_lexicon_may_grow_without_making_another_text_model(tmp_path: Path) -> None:
    small, large = PhoneTokenizer(Lexicon(WORDS)), PhoneTokenizer(Lexicon({"b": ("B",), **WORDS}))
    assert small.fingerprint == large.fingerprint
    large.save(tmp_path)
    assert PhoneTokenizer.load(tmp_path).encode("b") == large.encode("b")


def test_an_abbreviation_makes_no_pause() -> None:
    assert words_and_pauses("Mr. Smith met Dr. Jones.") == [
        "mister", "smith", "met", "doctor", "jones", ",",
    ]  # fmt: skip


def test_accents_are_taken_off_for_english_phones() -> None:
    expected = ["naturlich", "cafe", "strasse", "lodz"]
    composed = "nat\u00fcrlich caf\u00e9 Stra\u00dfe \u0141\u00f3d\u017a"
    assert words_and_pauses(composed) == expected
    assert words_and_pauses(unicodedata.normalize("NFD", composed)) == expected


def test_a_word_in_another_script_is_refused_not_left_out(tokenizer: PhoneTokenizer) -> None:
    for text in ("a \u043a\u043e\u0442", "a c\u0430t", "a \u732b"):
        with pytest.raises(ValueError, match="a to z"):
            tokenizer.encode(text)
    with pytest.raises(ValueError, match="English"):
        tokenizer.encode("a cat", language="de")

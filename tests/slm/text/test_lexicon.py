import lzma
from pathlib import Path

import pytest

from slm.text import lexicon as lexicon_module
from slm.text.lexicon import PHONES, Lexicon, read_dictionary

WORDS = {
    "cat": ("K", "AE", "T"),
    "dog": ("D", "AO", "G"),
    "fox": ("F", "AA", "K", "S"),
    "b": ("B", "IY"),
}


@pytest.fixture
def lexicon() -> Lexicon:
    return Lexicon(WORDS, {"<a>": ("AE",), "<d>": ("D",), "<g>": ("G",)}, "Whose it is.\nBSD.")


def test_words_of_the_dictionary_are_said_as_it_says(lexicon: Lexicon) -> None:
    assert lexicon.phones("cat") == ("K", "AE", "T")
    assert "cat" in lexicon
    assert "gad" not in lexicon


def test_other_words_are_said_by_rules(lexicon: Lexicon) -> None:
    assert lexicon.phones("gad") == ("G", "AE", "D")


@pytest.mark.parametrize(
    ("word", "ending"), [("cat's", ("S",)), ("dog's", ("Z",)), ("fox's", ("IH", "Z")), ("dog'", ())]
)
def test_possessives_are_a_word_and_its_ending(
    lexicon: Lexicon, word: str, ending: tuple[str, ...]
) -> None:
    assert lexicon.phones(word) == WORDS[word.split("'")[0]] + ending


def test_letters_without_a_rule_are_named(lexicon: Lexicon) -> None:
    assert lexicon.phones("bb") == ("B", "IY", "B", "IY")


def test_a_word_in_no_known_letter_cannot_be_said(lexicon: Lexicon) -> None:
    with pytest.raises(ValueError, match="letters a to z"):
        lexicon.phones("щ")


def test_a_stored_lexicon_is_the_same(lexicon: Lexicon, tmp_path: Path) -> None:
    lexicon.save(tmp_path)
    loaded = Lexicon.load(tmp_path)
    assert (loaded.words, loaded.rules) == (lexicon.words, lexicon.rules)
    assert loaded.notice == "Whose it is.\nBSD."
    assert loaded.fingerprint == lexicon.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["lexicon.xz"]


def test_what_is_no_lexicon_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found no file"):
        Lexicon.load(tmp_path)
    (tmp_path / "lexicon.xz").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="lexicon"):
        Lexicon.load(tmp_path)
    with pytest.raises(ValueError, match="phones"):
        Lexicon({"cat": ("K", "AE1", "T")})


def test_dictionaries_lose_variants_stress_and_remarks() -> None:
    lines = [";;; a remark", "A  AH0", "A(2)  EY1", "TOMATO  T AH0 M EY1 T OW2 # a fruit", ""]
    assert read_dictionary(lines) == {"a": ("AH",), "tomato": ("T", "AH", "M", "EY", "T", "OW")}


def test_there_are_39_phones_and_stored_models_count_on_their_order() -> None:
    assert len(PHONES) == 39
    assert (PHONES[0], PHONES[-1]) == ("AA", "ZH")
    assert list(PHONES) == sorted(PHONES)


def test_a_lexicon_that_unpacks_to_far_more_than_a_lexicon_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexicon_module, "_MOST_BYTES", 1 << 16)
    (tmp_path / "lexicon.xz").write_bytes(lzma.compress(bytes(1 << 20)))
    with pytest.raises(ValueError, match="larger than 65536 bytes when unpacked"):
        Lexicon.load(tmp_path)
    whole = lzma.compress(b"hh-slm lexicon 1\n[words]\n[rules]\n")
    (tmp_path / "lexicon.xz").write_bytes(whole[:-9])
    with pytest.raises(ValueError, match="cut short"):
        Lexicon.load(tmp_path)


def test_letters_of_another_script_are_refused_not_left_out(lexicon: Lexicon) -> None:
    with pytest.raises(ValueError, match="a to z"):
        lexicon.phones("c\u0430t")  # with a Cyrillic letter


def test_an_unlisted_word_without_a_vowel_is_said_letter_by_letter() -> None:
    lexicon = Lexicon({"l": ("EH", "L"), "m": ("EH", "M")}, {"<l>": ("L",), "<m>": ("M",)})
    assert lexicon.phones("llm") == ("EH", "L", "EH", "L", "EH", "M")
    assert lexicon.phones("mmm") == ("M", "M", "M")

import pytest

from slm.text.normalization import normalize_text
from slm.text.sentences import sentences


def test_sentences_are_split_where_they_end_and_long_ones_at_commas() -> None:
    assert sentences(" One. Two?  Three") == ["One.", "Two?", "Three"]
    long = ", ".join(["seven green hills"] * 30)
    parts = sentences(long)
    assert len(parts) > 1
    assert max(map(len, parts)) <= 240
    assert " ".join(parts) == long
    assert "".join(sentences("a" * 500)) == "a" * 500


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith met Mr. Jones at 5 p.m. yesterday.",
        "J. R. Smith of the U.S. Army, e.g. this one.",
        "See No. 7, Fig. 3 and pp. 4 to 5.",
        "Pens, etc. are sold by Smith & Co. and others.",
    ],
)
def test_an_abbreviation_ends_no_sentence(text: str) -> None:
    assert sentences(text) == [text]


def test_an_abbreviation_may_be_the_last_word() -> None:
    assert sentences("He left at 5 p.m. She stayed.") == ["He left at 5 p.m.", "She stayed."]
    assert sentences("No. So did I. Yes.") == ["No.", "So did I.", "Yes."]
    assert sentences('He said "No." She said (Yes.) Both.') == [
        'He said "No."',
        "She said (Yes.)",
        "Both.",
    ]


def test_pieces_without_letters_or_digits_are_left_out() -> None:
    text = "Hello. ... Dr. Smith went home. - ! 42."
    assert sentences(text) == ["Hello.", "Dr. Smith went home.", "42."]
    for nothing in ("  ", "... - !"):
        with pytest.raises(ValueError, match="a letter or a digit"):
            sentences(nothing)


def test_a_long_text_without_marks_is_split_however_long_it_is() -> None:
    parts = sentences("word " * 100_000)
    assert max(map(len, parts)) <= 240
    assert sum(part.count("word") for part in parts) == 100_000


def test_a_text_as_it_is_spoken_is_split_where_its_sentences_end() -> None:
    text = "Dr. Lee left the U.S. He met Mr. Jones at 5 p.m. They ate, etc. See No. 7."
    assert sentences(normalize_text(text)) == [
        "doctor Lee left the U S.",
        "He met mister Jones at five p m.",
        "They ate, et cetera.",
        "See number seven.",
    ]

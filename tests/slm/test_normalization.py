import pytest

from slm.normalization import sentences, spoken_form


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Smith has 42 dogs.", "doctor Smith has forty-two dogs."),
        (
            "It cost $1,250.50!",
            "It cost one thousand two hundred and fifty dollars and fifty cents!",
        ),
        ("the 3rd of 5", "the third of five"),
        ("minus -2.5%", "minus minus two point five percent"),
        ("see No. 7, e.g. this", "see number seven, for example this"),
        ("St. Paul & Co", "saint Paul and Co"),
        ("no. That is all.", "no. That is all."),
        ("nothing to do", "nothing to do"),
    ],
)
def test_english_is_written_as_it_is_said(text: str, expected: str) -> None:
    pytest.importorskip("inflect")
    assert spoken_form(text) == expected


def test_sentences_are_split_where_they_end_and_long_ones_at_commas() -> None:
    assert sentences(" One. Two?  Three") == ["One.", "Two?", "Three"]
    long = ", ".join(["seven green hills"] * 30)
    parts = sentences(long)
    assert len(parts) > 1
    assert max(map(len, parts)) <= 240
    assert " ".join(parts) == long
    assert "".join(sentences("a" * 500)) == "a" * 500
    with pytest.raises(ValueError, match="something to say"):
        sentences("  ")

import pytest

from slm.text.normalization import normalize_text


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
    assert normalize_text(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It cost $5.5.", "It cost five dollars and fifty cents."),
        ("$0.99, £1.01", "ninety-nine cents, one pound and one penny"),
        ("$1.5 billion", "one point five billion dollars"),
        ("$5.555", "five point five five five dollars"),
        ("the 1990s and '60s", "the nineteen nineties and sixties"),
        ("1800s, 2000s, 2010s", "eighteen hundreds, two thousands, twenty tens"),
        ("1e5", "one times ten to the power of five"),
        ("-1.5e-3", "minus one point five times ten to the power of minus three"),
        ("7" * 40, " ".join(["seven"] * 40)),
        ("at 5:30 p.m. yesterday", "at five thirty p m yesterday"),
        ("at 5 p.m. She left", "at five p m. She left"),
        ("7:05, 5:00, 17:00", "seven oh five, five o'clock, seventeen hundred"),
        ("at 5:00pm.", "at five p m."),
        ("I am 5. So am I", "I am five. So am I"),
        ("MP3 in 3D", "M P three in three D"),
        ("version 1.2.3", "version one point two point three"),
        ("5kg or .5", "five kilograms or point five"),
        ("\u0663 dogs", "three dogs"),
    ],
)
def test_no_number_is_lost_or_said_as_another(text: str, expected: str) -> None:
    assert normalize_text(text) == expected

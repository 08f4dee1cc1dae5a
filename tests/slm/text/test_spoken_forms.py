from pathlib import Path

import pytest

from slm.text.characters import unspoken
from slm.text.normalization import normalize_text
from slm.text.phone_tokenizer import words_and_pauses

TABLE = Path(__file__).parent / "spoken_forms.tsv"
# What a line of the table cannot show.
ESCAPES = ("\u0301", "\u00ad", "\u200b", "\u00a0")


def lines() -> list[tuple[str, str]]:
    """What is written and what is spoken, of each line of the table."""
    found = []
    for line in TABLE.read_text("utf-8").split("\n"):
        if line and not line.startswith("# "):
            written, spoken = line.split("\t")
            for each in ESCAPES:
                written = written.replace(f"\\u{ord(each):04x}", each)
            found.append((written, spoken))
    return found


@pytest.mark.parametrize(("written", "spoken"), lines())
def test_a_text_is_spoken_as_the_table_says(written: str, spoken: str) -> None:
    assert normalize_text(written) == spoken


def test_what_is_spoken_stays_as_it_is() -> None:
    assert [normalize_text(spoken) for _, spoken in lines()] == [spoken for _, spoken in lines()]


def test_the_table_has_150_lines_or_more_each_once() -> None:
    written = [text for text, _ in lines()]
    assert len(set(written)) == len(written) >= 150


def test_what_is_spoken_holds_words_and_marks_alone() -> None:
    characters = {each for _, spoken in lines() for each in spoken if not each.isalpha()}
    assert characters <= set(" ,.;:!?'\"()-\u2013\u2014")


@pytest.mark.parametrize(
    ("composed", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("na\u00efve", "nai\u0308ve"),
        ("find", "\ufb01nd"),
        ("Hello", "\uff28\uff45\uff4c\uff4c\uff4f"),
        ("it's", "it\u2019s"),
    ],
)
def test_forms_of_one_character_give_one_text(composed: str, other: str) -> None:
    assert normalize_text(composed) == normalize_text(other)
    assert normalize_text(composed, "de") == normalize_text(other, "de")
    assert words_and_pauses(composed) == words_and_pauses(other)


@pytest.mark.parametrize("language", ["de", "nl", "fr-FR", "zh"])
def test_other_languages_keep_their_words_numbers_and_abbreviations(language: str) -> None:
    german = "Am 3. Mai kam Dr. M\u00fcller f\u00fcr 5 \u20ac, z. B. mit dem IC 1984."
    assert normalize_text(german, language) == german
    assert (
        normalize_text("\u201eGr\u00fc\u00dfe\u201c<br/> aus Wien", language)
        == '"Gr\u00fc\u00dfe" aus Wien'
    )


def test_english_is_known_by_the_first_part_of_its_name() -> None:
    for language in ("en", "EN", "en-GB", "en_US", "eng", "English"):
        assert normalize_text("5", language) == "five"


@pytest.mark.parametrize("text", ["", "  ", "<break/>", "[laughter]", "\U0001f600", "---"])
def test_nothing_is_spoken_for_tags_cues_and_pictures(text: str) -> None:
    assert normalize_text(text) == ""


def test_what_nothing_is_said_for_is_named() -> None:
    assert unspoken("\U0001f600 hello \u2764\ufe0f \u2605 \U0001f600") == "\U0001f600\u2764\u2605"
    assert unspoken("5 \u00b0C & caf\u00e9 <b>x</b> [laughter]") == ""


@pytest.mark.parametrize("text", ["1 < 2 > 0", "write to <me@x.org>", "a <b and c> d"])
def test_angle_brackets_that_are_no_tags_hide_no_word(text: str) -> None:
    spoken = normalize_text(text)
    assert all(
        word in spoken
        for word in text.replace("<", " ").replace(">", " ").split()
        if word.isalpha()
    )


def test_brackets_with_words_are_spoken() -> None:
    assert normalize_text("[his] {name} *really*") == "(his) (name) really"


def test_words_of_other_scripts_stay() -> None:
    assert (
        normalize_text("say \u041f\u0440\u0438\u0432\u0435\u0442")
        == "say \u041f\u0440\u0438\u0432\u0435\u0442"
    )


def test_every_text_of_digits_and_signs_is_written_out() -> None:
    alphabet = "0123456789.,:-/$%#@+ aAxXIVm'\"<>\u2013\u00b0\u00bd"
    state = 1
    for _ in range(400):
        text = ""
        for _ in range(12):
            state = state * 1103515245 + 12345 & 0x7FFFFFFF
            text += alphabet[(state >> 12) % len(alphabet)]
        spoken = normalize_text(text)
        assert not any(each.isdigit() or each in "$%#@+<>\u00b0\u00bd" for each in spoken), text

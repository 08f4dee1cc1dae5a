"""Languages that callers name."""

import pytest

from slm.text.languages import language_code


@pytest.mark.parametrize("text", ["en", "EN", "en-GB", "de_AT", "zh-Hant-TW", "deu", "english"])
def test_codes_of_languages_are_taken_as_they_are(text: str) -> None:
    assert language_code(text) == text


@pytest.mark.parametrize("text", ["", " en", "xx", "Deutsch", "klingon", "en GB", "e", "e\u0301n"])
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected the code of a language"):
        language_code(text)

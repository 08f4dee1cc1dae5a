import pytest

from slm.data.config import DocumentSettings


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"min_prompt_codes: .* to max_prompt_codes = 9, got 10"):
        DocumentSettings(min_prompt_codes=10, max_prompt_codes=9)
    with pytest.raises(ValueError, match=r"text_drop_probability: expected a number in \[0, 1\]"):
        DocumentSettings(text_drop_probability=1.5)
    with pytest.raises(ValueError, match=r"shares\.books: .* got 2"):
        DocumentSettings(shares={"books": 2.0})

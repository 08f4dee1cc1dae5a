"""Numbers as text; summaries are tested with the scoring that makes them."""

from __future__ import annotations

import pytest

from eval.scoring.summary import number_text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.91234, "", "0.912"),
        (12.345, "", "12.35"),
        (23.0, "", "23"),
        (12345.6, "", "12 346"),
        (0.1534, "%", "15.3 %"),
        (3.0, "ms", "3 ms"),
    ],
)
def test_numbers_read_well(value: float, unit: str, text: str) -> None:
    assert number_text(value, unit=unit) == text

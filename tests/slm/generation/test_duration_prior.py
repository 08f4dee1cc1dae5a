import math

import pytest

from slm.data.token_store import TokenStore
from slm.generation.duration_prior import codes_per_character, duration_spread, length_bounds


def test_codes_per_character_pools_rows_with_text(store: TokenStore) -> None:
    rows = [row for row in store.rows if row["text"]]
    assert 0 < len(rows) < len(store)
    expected = sum(r["num_codes"] for r in rows) / sum(len(r["text"]) for r in rows)
    assert codes_per_character([store]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "mean", "expected"),
    [
        ("ten chars.", 2.0, (6, 64)),  # 20 codes: 0.3 of them, and 2 x 20 + 24
        (" a ", 2.0, (1, 28)),
        ("ten chars.", 0.0, (1, 100)),  # nothing known
        ("ten chars." * 9, 2.0, (54, 100)),  # the context is shorter than the text might take
        ("ten chars." * 99, 2.0, (594, 594)),
    ],
)
def test_bounds_follow_the_text(text: str, mean: float, expected: tuple[int, int]) -> None:
    assert length_bounds(text, mean, 24.0, 100) == expected


def test_the_spread_of_speaking_rates_tightens_the_bounds_and_never_widens_them(
    store: TokenStore,
) -> None:
    rows = [row for row in store.rows if row["text"]]
    logs = [math.log(row["num_codes"] / len(row["text"])) for row in rows]
    mean = sum(logs) / len(logs)
    expected = math.sqrt(sum((each - mean) ** 2 for each in logs) / len(logs))
    assert duration_spread([store]) == pytest.approx(expected)
    assert duration_spread([]) == 0
    tight = length_bounds("ten chars.", 2.0, 24.0, 100, spread=0.1)
    assert tight == (int(20 * math.exp(-0.4)), math.ceil(20 * math.exp(0.4) + 24))
    assert length_bounds("ten chars.", 2.0, 24.0, 100, spread=3.0) == (6, 64)

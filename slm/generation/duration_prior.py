"""Duration prior: bounds on the length of a text's speech, against runaway generation."""

from __future__ import annotations

import math
import statistics
from array import array
from collections.abc import Iterator, Sequence

from slm.data.token_store import TokenStore

_LONGEST_RATIO = 2.0  # speech may take so many times the mean of its text
_LONGEST_MARGIN = 1.0  # s on top, for very short texts
_SHORTEST_RATIO = 0.3  # of the mean; no natural speech is faster
_SPREADS = 4.0  # standard deviations either way that are allowed


def codes_per_character(stores: Sequence[TokenStore]) -> float:
    """Codes a text character, pooled over the rows with a transcript; 0 when there are none."""
    codes = characters = 0
    for num_codes, num_characters in _spoken_texts(stores):
        codes += num_codes
        characters += num_characters
    return codes / characters if characters else 0.0


def duration_spread(stores: Sequence[TokenStore]) -> float:
    """Standard deviation of log(codes a character) over rows with text, nats; 0 if none.

    Rows weigh alike. How fast people speak is near a log-normal, so that a few times this spread
    bounds what a text may take.
    """
    logs = array("d", (math.log(max(1, codes) / text) for codes, text in _spoken_texts(stores)))
    return statistics.pstdev(logs) if logs else 0.0


def length_bounds(
    text: str,
    mean_codes_per_character: float,
    frame_rate: float,
    longest: int,
    spread: float = 0.0,
) -> tuple[int, int]:
    """Fewest and most codes that the speech of a text may plausibly have.

    Args:
        text: The text.
        mean_codes_per_character: See `codes_per_character`; 0 when unknown, which leaves the
            bounds wide open.
        frame_rate: Codes a second, Hz.
        longest: Upper bound in any case.
        spread: See `duration_spread`; 0 when unknown. Four of it either way replace the fixed
            ratios where they are tighter.

    Returns:
        (fewest, most), 1 <= fewest <= most.
    """
    expected = mean_codes_per_character * len(text.strip())
    if not expected:
        return 1, longest
    slowest, fastest = _LONGEST_RATIO, _SHORTEST_RATIO
    # exp(+-4 s) of the mean, s the spread of a log-normal rate of speech
    if spread > 0:
        slowest = min(slowest, math.exp(_SPREADS * spread))
        fastest = max(fastest, math.exp(-_SPREADS * spread))
    # Short texts vary more than in proportion, hence the margin.
    fewest = max(1, int(fastest * expected))
    most = math.ceil(slowest * expected + _LONGEST_MARGIN * frame_rate)
    return fewest, max(fewest, min(most, longest))


def _spoken_texts(stores: Sequence[TokenStore]) -> Iterator[tuple[int, int]]:
    """Codes and characters of every row with text."""
    for store in stores:
        for row in store.rows:
            if text := (row.get("text") or "").strip():
                yield row["num_codes"], len(text)

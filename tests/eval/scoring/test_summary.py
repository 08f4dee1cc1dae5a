"""Numbers as text; summaries are tested with the scoring that makes them."""

from __future__ import annotations

from typing import Any

import pytest

from eval.scoring.summary import number_text, units_note


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.91234, "", "0.912"),
        (12.345, "", "12.35"),
        (23.0, "", "23"),
        (12345.6, "", "12 346"),
        (0.1534, "%", "15.3 %"),
        (3.0, "ms", "3 ms"),
        # What is told from 0 does not read as 0, rounding noise does, and has no sign.
        (0.00034, "", "0.0003"),
        (-0.00004, "nats", "-0.00004 nats"),
        (0.0002, "%", "0.02 %"),
        (0.0006, "", "0.001"),
        (-1e-17, "", "0"),
        (-1e-17, "%", "0.0 %"),
    ],
)
def test_numbers_read_well(value: float, unit: str, text: str) -> None:
    assert number_text(value, unit=unit) == text


def test_figures_of_fewer_speakers_than_the_rest_are_told_apart() -> None:
    """Where only clips of one speaker have a text, their word errors stood under "2 speakers"."""

    def figure(count: int) -> dict[str, Any]:
        return {"n_speakers": count, "ci95": [0.0, 1.0]}

    metrics = {
        "stoi.x": {"figures": {"stoi": figure(2)}},
        "wer.y": {"figures": {"wer": figure(1), "cer": figure(1)}},
        "pitch.z": {"figures": {"vuv_f1": {"n_speakers": 1, "ci95": None}}},
    }
    summary = {"n_speakers": 2, "metrics": metrics}
    note = "2 speakers, then their clips; wer, wer/cer: over clips of one speaker"
    assert units_note([summary]) == note
    assert units_note([{**summary, "metrics": {}}]) == "2 speakers, then their clips"

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import slm.engines.calibration
import slm.engines.engine
from slm.engines.calibration import faster_engine, seconds_a_step
from slm.engines.engine import best_engine
from slm.engines.native_build import is_available
from slm.model.speech_lm import SpeechLM


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, float]]:
    """A timer by which torch wins from 8 rows on; nothing is known before, in any folder."""
    monkeypatch.setenv("HH_SLM_CACHE", str(tmp_path))
    monkeypatch.setattr(slm.engines.calibration, "_FOUND", {})
    calls: list[int] = []

    def time(lm: SpeechLM, rows: int, weights: str) -> dict[str, float]:
        calls.append(rows)
        return {"native": 1.0, "torch": 2.0 if rows < 8 else 0.5}

    time.calls = calls  # type: ignore[attr-defined]
    return time


def test_the_faster_engine_is_chosen_by_rows_and_timed_once(
    lm: SpeechLM, timed: Callable[..., dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        found = [faster_engine(lm.config, rows, "exact", timed) for rows in (1, 3, 4, 8, 16)]
        assert found == ["native", "native", "native", "torch", "torch"]
        # As in another process: what was found lies in the folder.
        monkeypatch.setattr(slm.engines.calibration, "_FOUND", {})
    assert timed.calls == [1, 4, 8, 16]  # type: ignore[attr-defined]


def test_other_sizes_weights_and_threads_are_timed_anew(
    lm: SpeechLM,
    make_lm: Callable[..., SpeechLM],
    timed: Callable[..., dict[str, float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faster_engine(lm.config, 1, "exact", timed)
    faster_engine(make_lm(max_seq_len=200).config, 1, "exact", timed)
    assert timed.calls == [1]  # type: ignore[attr-defined]
    faster_engine(make_lm(dim=96).config, 1, "exact", timed)
    faster_engine(lm.config, 1, "int8", timed)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    faster_engine(lm.config, 1, "exact", timed)
    monkeypatch.setattr(slm.engines.calibration, "cpu_model", lambda: "Another")
    faster_engine(lm.config, 1, "exact", timed)
    assert timed.calls == [1] * 5  # type: ignore[attr-defined]


def test_an_engine_as_fast_as_the_measurement_tells_is_no_reason_to_change(
    lm: SpeechLM, timed: object
) -> None:
    """Compiled steps give a row the same bits in any batch."""
    assert faster_engine(lm.config, 1, "exact", lambda *_: {"native": 1.0, "torch": 0.98}) == (
        "native"
    )


def test_what_cannot_be_read_is_timed_anew_and_a_folder_that_cannot_be_written_is_borne(
    lm: SpeechLM,
    timed: Callable[..., dict[str, float]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    faster_engine(lm.config, 1, "exact", timed)
    (kept,) = tmp_path.glob("engine-*.json")
    for damaged in ("{", "", "[]", '{"engine": ["torch"]}', '{"engine": "steam"}', "\0" * 9):
        kept.write_text(damaged, encoding="utf-8")
        monkeypatch.setattr(slm.engines.calibration, "_FOUND", {})
        assert faster_engine(lm.config, 1, "exact", timed) == "native", damaged
    monkeypatch.setenv("HH_SLM_CACHE", str(kept))  # a file, where a folder is wanted
    monkeypatch.setattr(slm.engines.calibration, "_FOUND", {})
    assert faster_engine(lm.config, 1, "exact", timed) == "native"


@pytest.mark.skipif(not is_available(), reason="no C++ compiler")
def test_both_engines_are_timed_and_no_random_number_is_drawn_from_the_callers(
    lm: SpeechLM, timed: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slm.engines.engine, "faster_engine", faster_engine)
    before = torch.get_rng_state()
    assert best_engine(lm, 2) in ("native", "torch")
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        seconds = seconds_a_step(lm, 2, "int8")
    assert sorted(seconds) == ["native", "torch"]
    assert all(0 < each < 60 for each in seconds.values())

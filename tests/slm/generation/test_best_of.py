from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slm.generation.best_of import likelihood, load_verifier, rank


def candidate(log_likelihood: float, num_codes: int, truncated: bool = False) -> Any:
    return SimpleNamespace(
        log_likelihood=log_likelihood, codes=range(num_codes), truncated=truncated
    )


def test_the_built_in_verifier_is_the_mean_of_a_code() -> None:
    found = rank([candidate(-10, 5), candidate(-8, 2), candidate(-9, 9)], {"l": likelihood}, "x")
    assert found.choice == 2
    assert found.scores == {"l": (-2.0, -4.0, -1.0)}


def test_later_verifiers_only_break_ties_and_runaways_come_last() -> None:
    candidates = [candidate(0, 1, truncated=True), candidate(0, 1), candidate(0, 1)]
    verifiers: dict[str, Any] = {
        "words": lambda candidates, text, prompt: [0.0, -1.0, -1.0],
        "voice": lambda candidates, text, prompt: [0.9, 0.2, 0.3],
    }
    assert rank(candidates, verifiers, "x").choice == 2


def test_scores_that_do_not_fit_are_refused() -> None:
    for scores in ([1.0], [1.0, float("nan")]):
        verifiers: dict[str, Any] = {"v": lambda *_, given=scores: given}
        with pytest.raises(ValueError, match="2 finite scores of verifier 'v'"):
            rank([candidate(0, 1)] * 2, verifiers, "x")
    with pytest.raises(ValueError, match="got 0 and 1"):
        rank([], {"l": likelihood}, "x")
    with pytest.raises(ValueError, match=r"FILE\.py:CALLABLE"):
        load_verifier("wer")
    assert load_verifier("likelihood") == ("likelihood", likelihood)


def test_a_verifier_of_an_installed_package_is_taken_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "judges.py").write_text("def words(candidates, text, prompt):\n    return [1.0]\n")
    about = tmp_path / "judges-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: judges\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[hh_slm.verifiers]\nwer = judges:words\ngone = judges:gone\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    name, verifier = load_verifier("wer")
    assert name == "wer"
    assert verifier([candidate(0, 1)], "x", None) == [1.0]
    with pytest.raises(ValueError, match="cannot load verifier 'gone'"):
        load_verifier("gone")
    with pytest.raises(ValueError, match=r"installed \(gone, wer\), got 'other'"):
        load_verifier("other")

import sys
from runpy import run_module

import pytest

FORMER = {
    "ablate": "recipes.comparisons.ablate",
    "adapt": "recipes.comparisons.adapt",
    "anchors": "recipes.comparisons.anchors",
    "backup": "recipes.storage.backup",
    "cards": "recipes.release.model_cards",
    "likelihood_tests": "recipes.comparisons.likelihood_tests",
    "plan": "recipes.planning.plan",
    "plan_check": "recipes.planning.check_plan",
    "ship": "recipes.release.export",
    "store_check": "benchmarks.cases.token_store_memory",
    "transfer": "recipes.storage.transfer",
}


@pytest.mark.parametrize(("old", "new"), FORMER.items())
def test_a_command_runs_under_its_former_name(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [old, "--help"])
    monkeypatch.delitem(sys.modules, new, raising=False)
    with pytest.raises(SystemExit, match="0"):
        run_module(f"recipes.{old}", run_name="__main__", alter_sys=True)
    assert f"python -m {new}" in capsys.readouterr().out

"""Commands under their former names: `python -m recipes.plan` is `recipes.planning.plan`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec

NEW_NAMES = {
    "recipes.ablate": "recipes.comparisons.ablate",
    "recipes.adapt": "recipes.comparisons.adapt",
    "recipes.anchors": "recipes.comparisons.anchors",
    "recipes.backup": "recipes.storage.backup",
    "recipes.cards": "recipes.release.model_cards",
    "recipes.likelihood_tests": "recipes.comparisons.likelihood_tests",
    "recipes.plan": "recipes.planning.plan",
    "recipes.plan_check": "recipes.planning.check_plan",
    "recipes.ship": "recipes.release.export",
    "recipes.store_check": "benchmarks.cases.token_store_memory",
    "recipes.transfer": "recipes.storage.transfer",
}


class FormerNames(MetaPathFinder, InspectLoader):
    """Finds a module under a former name and runs the one that took its place."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        """Find a former name, and no other."""
        if fullname not in NEW_NAMES:
            return None
        return ModuleSpec(fullname, self, origin=__file__)

    def get_source(self, fullname: str) -> str:
        """Return the program that `python -m` is to run."""
        new = NEW_NAMES[fullname]
        return f"import runpy\nrunpy.run_module({new!r}, run_name='__main__', alter_sys=True)\n"

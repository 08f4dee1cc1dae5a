"""The modules of the packages and what they import, for tests of house rules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("codec", "slm", "eval", "recipes", "benchmarks")


def modules(*packages: str) -> Iterator[tuple[str, Path]]:
    """Name below the project's folder and path of every module of some packages, in order."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path


def sources(package: str) -> dict[str, str]:
    """The text of every module of a package, by its path from the root."""
    return {name: path.read_text("utf-8") for name, path in modules(package)}


def dotted(path: str) -> str:
    """The module of a path from the root."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def known() -> frozenset[str]:
    """The dotted names of all modules of our packages."""
    found = frozenset(dotted(name) for name, _ in modules(*OURS))
    assert {name.split(".")[0] for name in found} == set(OURS)
    return found


def imports_of(path: str, source: str, *, at_load: bool = False) -> list[str]:
    """Dotted names of what a module imports; of `from package import module` the module.

    Args:
        at_load: Only what loading the module imports, not what its functions do.
    """
    tree = ast.parse(source)
    nodes = ast.iter_child_nodes(tree) if at_load else ast.walk(tree)
    names: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                folder = path.rsplit("/", node.level)[0].replace("/", ".")
                base = f"{folder}.{base}".rstrip(".")
            inner = [f"{base}.{alias.name}" for alias in node.names]
            names += [name if name in known() else base for name in inner]
    return list(dict.fromkeys(names))

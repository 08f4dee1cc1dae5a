"""The modules of the packages, for tests of house rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def modules(*packages: str) -> Iterator[tuple[str, Path]]:
    """Name below the project's folder and path of every module of some packages, in order."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path

"""Messages of the packages: what they tell a reader to do can be done."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_no_message_asks_for_a_package_that_no_index_has() -> None:
    sources = [
        path
        for room in ("codec", "slm", "eval", "recipes")
        for path in ROOT.glob(f"{room}/**/*.py")
    ]
    wrong = [path.name for path in sources if "'hh-slm[" in path.read_text(encoding="utf-8")]
    assert sources
    assert wrong == []

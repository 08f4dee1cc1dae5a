"""The folder of what is made once for a user and a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from codec.cache_folder import cache_folder


def test_the_folder_is_the_named_one_or_that_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/of/mine"))
    monkeypatch.delenv("HH_SLM_CACHE", raising=False)
    found = []
    for base in ("", "relative", "/disk/cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", base)
        found.append(cache_folder().as_posix())
    assert found == ["/home/of/mine/.cache/hh-slm"] * 2 + ["/disk/cache/hh-slm"]
    monkeypatch.setenv("HH_SLM_CACHE", "kept")
    assert cache_folder() == Path("kept")

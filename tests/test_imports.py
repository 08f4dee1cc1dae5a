"""Settings are read without the seconds that torch takes to load."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("module", ["codec.phases", "slm.config", "recipes.schema", "codec.cli"])
def test_settings_load_without_torch(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'lightning') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["codec", "slm"])
def test_every_public_name_is_found_and_no_other(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) == set(module._MODULE_OF)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        getattr(module, "nothing")  # noqa: B009 - a name no type checker would let through

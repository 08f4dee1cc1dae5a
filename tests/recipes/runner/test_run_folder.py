"""Run folders: their settings and their lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from codec.runtime.run_lock import InUseError
from recipes.comparisons.anchors_config import AnchorsConfig
from recipes.runner.config import load_settings
from recipes.runner.run_folder import keep_settings, own_folder

ROOT = Path(__file__).resolve().parents[3]


def settings(run: Path, *overrides: str) -> AnchorsConfig:
    words = ["corpus=c", f"run={run}", *overrides]
    return load_settings(AnchorsConfig, ROOT / "recipes/configs" / "anchors.yaml", words)


def test_a_folder_made_with_other_settings_is_refused(tmp_path: Path) -> None:
    keep_settings(settings(tmp_path), tmp_path, ("workers",))
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "recoded.jsonl").touch()
    keep_settings(settings(tmp_path, "workers=3"), tmp_path, ("workers",))
    with pytest.raises(ValueError, match=r"made with other settings \(clips: None -> 4"):
        keep_settings(settings(tmp_path, "clips=4"), tmp_path, ("workers",))


def test_settings_of_a_run_that_was_refused_bind_nothing(tmp_path: Path) -> None:
    """A mistyped model was told, and the corrected command refused."""
    keep_settings(settings(tmp_path), tmp_path)
    (tmp_path / "list.json").touch()
    (tmp_path / ".lock").touch()
    keep_settings(settings(tmp_path, "clips=4"), tmp_path, before_work=["list.json"])
    with pytest.raises(ValueError, match="made with other settings"):
        keep_settings(settings(tmp_path, "clips=5"), tmp_path)


def test_one_process_works_in_a_run(tmp_path: Path) -> None:
    config = settings(tmp_path)
    with (
        own_folder(config, tmp_path),
        pytest.raises(InUseError, match="no other process works in"),
        own_folder(config, tmp_path),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]

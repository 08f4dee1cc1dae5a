from __future__ import annotations

from pathlib import Path

import pytest

from recipes.comparisons.adapt import AdaptConfig
from recipes.comparisons.anchors import AnchorsConfig
from recipes.runner.config import ConfigError
from recipes.runner.settings import keep_settings, load_settings

CONFIGS = Path(__file__).resolve().parents[3] / "recipes" / "configs"


@pytest.mark.parametrize(("name", "schema"), [("anchors", AnchorsConfig), ("adapt", AdaptConfig)])
def test_the_files_of_the_comparisons_load(name: str, schema: type) -> None:
    settings = load_settings(schema, CONFIGS / f"{name}.yaml", ["corpus=c", "run=r"])
    assert isinstance(settings, schema)


def test_an_override_wins_and_a_list_may_be_written_with_commas() -> None:
    settings = load_settings(
        AnchorsConfig,
        CONFIGS / "anchors.yaml",
        ["corpus=c", "run=r", "metrics=stoi,mel_l1", "clips=3", "codec=runs/a/model"],
    )
    assert settings.metrics == ["stoi", "mel_l1"]
    assert (settings.clips, settings.codec) == (3, ["runs/a/model"])


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["corpus=c"], "run"),
        (["corpus=c", "run=r", "metric=stoi"], "metric"),
        (["corpus=c", "run=r", "clips=many"], "clips"),
        (["corpus=c", "run=r", "clips=0"], "clips: expected null or at least 1"),
        (["corpus=c", "run=r", "codec=a/x,b/x"], "distinct names"),
        (["corpus"], "expected key=value"),
    ],
)
def test_a_wrong_setting_is_named(overrides: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_settings(AnchorsConfig, CONFIGS / "anchors.yaml", overrides)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("tokenizers.odd.kind=mp3", "kind: expected one of hh, kmeans"),
        ("prompt_seconds=2,1", "prompt_seconds: expected"),
        ("steps=0", "steps: expected more than 0"),
    ],
)
def test_a_wrong_setting_of_adapt_is_named(override: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_settings(AdaptConfig, CONFIGS / "adapt.yaml", ["corpus=c", "run=r", override])


def test_a_folder_made_with_other_settings_is_refused(tmp_path: Path) -> None:
    def settings(*overrides: str) -> AnchorsConfig:
        return load_settings(
            AnchorsConfig, CONFIGS / "anchors.yaml", ["corpus=c", f"run={tmp_path}", *overrides]
        )

    keep_settings(settings(), tmp_path, ("workers",))
    keep_settings(settings("workers=3"), tmp_path, ("workers",))
    with pytest.raises(ValueError, match=r"made with other settings \(clips: None -> 4"):
        keep_settings(settings("clips=4"), tmp_path, ("workers",))

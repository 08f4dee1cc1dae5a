"""The list of settings: complete, documented, and as the dataclasses have them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

import pytest

from recipes import run_all
from recipes.runner.cli import stage_command
from recipes.runner.config import Config
from recipes.runner.schema import TrainSlmConfig
from recipes.runner.settings_list import list_settings, settings_text
from slm import DocumentSettings, TrainingSettings


@dataclass
class Inner:
    """Sizes.

    Args:
        width: Of a layer,
            in units.
    """

    width: int = 4


@dataclass
class Outer:
    """A schema of every kind of comment."""

    plain: int = 1  # of its own
    # Above one field,
    # over two lines.
    above: str = "a"
    also: float | None = None

    bare: bool = False
    inner: Inner = field(default_factory=lambda: Inner(width=8))
    # By name.
    named: dict[str, Inner] = field(default_factory=dict)
    fast: int = field(default=0, metadata={"runtime": True})


def test_comments_types_and_defaults_are_those_of_the_source() -> None:
    found = {each.key: each for each in list_settings(Outer)}
    assert found["plain"].text == "of its own"
    assert found["above"].text == found["also"].text == "Above one field, over two lines."
    assert (found["also"].type, found["also"].default) == ("float | None", "null")
    assert found["bare"].text == ""
    assert (found["inner.width"].text, found["inner.width"].default) == (
        "Of a layer, in units.",
        "8",
    )
    assert (found["named.<name>"].type, found["named.<name>.width"].default) == ("section", "4")
    assert found["fast"].runtime


def test_every_setting_of_a_run_is_listed_and_explained() -> None:
    found = {each.key: each for each in list_settings(Config)}
    assert [key for key, each in found.items() if not each.text] == []
    assert found["corpus"].default.startswith("???")
    assert found["train_slm.steps"].default == "2000"
    assert found["train_codec.devices"].runtime
    assert "train_codec.phases.<name>.weights.mel" in found
    assert "train_codec.sources.<name>.share" in found


def test_fields_that_a_key_above_sets_are_left_out() -> None:
    keys = {each.key for each in list_settings(Config)}
    own = {each.name for each in dataclasses.fields(TrainSlmConfig)}
    for section, schema in (("documents", DocumentSettings), ("training", TrainingSettings)):
        names = {each.name for each in dataclasses.fields(schema)}
        listed = {name for name in names if f"train_slm.{section}.{name}" in keys}
        assert listed == names - own - {"max_steps", "seed", "lookahead"}


def test_a_stage_lists_its_own_sections_and_says_where_the_others_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        stage_command("train_text", ["--settings"])
    output = capsys.readouterr().out
    assert "train_text.vocab_size: int = 512\n" in output
    assert "threads: int = 0  ~\n" in output
    assert "generate.best_of" not in output
    assert "recipes.run_all --settings" in output


def test_the_list_is_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run_all.main(["--json", "--settings"])
    keys = {each["key"] for each in json.loads(capsys.readouterr().out)}
    assert keys == {each.key for each in list_settings(Config)}


def test_a_comment_of_several_settings_is_printed_once() -> None:
    text = settings_text(list_settings(Outer))
    assert text.count("# Above one field") == 1
    assert 'above: str = "a"\nalso: float | None = null\n' in text

"""The page is built and answers; what its buttons do is tested as functions."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from recipes.app.__main__ import OLDEST, main
from tests.support import forked


def gradio_version() -> int:
    """The installed one, 0 for none; importing an old one may fail."""
    try:
        return int(importlib.metadata.version("gradio").split(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return 0


def build(folder: Path) -> None:
    """Write type and properties of every component of the page."""
    from recipes.app.models import load_models
    from recipes.app.page import Page
    from recipes.app.uploads import UploadLimits

    models = load_models(["hh-mini-24k"], ["hh-mini-slm"])
    config = Page(models, UploadLimits(), folder).build().get_config_file()
    fields = [[each["type"], each["props"]] for each in config["components"]]
    (folder / "fields.json").write_text(json.dumps(fields, default=str))


@pytest.mark.skipif(gradio_version() < OLDEST, reason=f"no gradio {OLDEST} (extra app)")
def test_the_page_has_a_tab_for_each_thing_it_does(tmp_path: Path) -> None:
    # In a process of its own: what Gradio warns of and leaves open is not ours.
    own = {"GRADIO_TEMP_DIR": str(tmp_path), "GRADIO_ANALYTICS_ENABLED": "False"}
    output = tmp_path / "printed.txt"
    assert forked.run(build, tmp_path, output=output, environment=own) == 0, forked.printed(output)
    fields = json.loads((tmp_path / "fields.json").read_text())
    tabs = [props["label"] for kind, props in fields if kind == "tabitem"]
    assert tabs == ["Codec", "Speak", "Continue", "Compare codecs", "Compare models"]
    buttons = [props.get("value") for kind, props in fields if kind == "button"]
    assert buttons == ["Reconstruct", "Speak", "Cancel", "Continue", "Compare", "Compare"]


def build_two(folder: Path) -> None:
    """Write the speed field of a model that draws durations, and of one that does not."""
    from types import SimpleNamespace
    from typing import Any

    from recipes.app.fields import speed_of

    kept = []
    for is_aligned in (True, False):
        config = SimpleNamespace(is_aligned=is_aligned)
        synthesizer: Any = SimpleNamespace(lm=SimpleNamespace(config=config))
        kept.append(speed_of(synthesizer))
    (folder / "speeds.json").write_text(json.dumps(kept))


@pytest.mark.skipif(gradio_version() < OLDEST, reason=f"no gradio {OLDEST} (extra app)")
def test_whoever_sets_a_temperature_of_texts_can_set_a_speed(tmp_path: Path) -> None:
    own = {"GRADIO_TEMP_DIR": str(tmp_path), "GRADIO_ANALYTICS_ENABLED": "False"}
    output = tmp_path / "printed.txt"
    assert forked.run(build, tmp_path, output=output, environment=own) == 0, forked.printed(output)
    fields = json.loads((tmp_path / "fields.json").read_text())
    sliders = [props for kind, props in fields if kind == "slider"]
    labels = [props["label"] for props in sliders]
    # A continuation has no text, and so no durations.
    assert labels == ["Temperature", "Speed", "Seconds to add, at most", "Temperature"]
    speed = sliders[1]
    assert (speed["minimum"], speed["maximum"], speed["value"]) == (0.25, 4, 1)
    assert speed["interactive"]


@pytest.mark.skipif(gradio_version() < OLDEST, reason=f"no gradio {OLDEST} (extra app)")
def test_a_model_without_durations_has_no_speed_to_set(tmp_path: Path) -> None:
    output = tmp_path / "printed.txt"
    assert forked.run(build_two, tmp_path, output=output) == 0, forked.printed(output)
    aligned, other = json.loads((tmp_path / "speeds.json").read_text())
    assert aligned["interactive"]
    assert not other["interactive"]
    assert aligned["value"] == other["value"] == 1


def test_a_wrong_call_is_refused_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--max-seconds", "0"])
    last = capsys.readouterr().err.splitlines()[-1]
    assert "argument --max-seconds: expected a finite number > 0" in last

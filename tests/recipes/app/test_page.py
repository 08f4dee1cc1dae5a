"""The page is built and answers; what its buttons do is tested as functions."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from recipes.app.__main__ import OLDEST, main
from tests.support import forked


def gradio_version() -> int:
    """The installed one, 0 for none; importing an old one may fail."""
    try:
        return int(importlib.metadata.version("gradio").split(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return 0


needs_gradio = pytest.mark.skipif(
    gradio_version() < OLDEST, reason=f"no gradio {OLDEST} (extra app)"
)


def build(folder: Path) -> None:
    """Write type and properties of the page's components, and of two models' fields of speed.

    The first model draws durations, the second does not.
    """
    from types import SimpleNamespace

    from recipes.app.fields import speed_of
    from recipes.app.models import load_models
    from recipes.app.page import Page
    from recipes.app.uploads import UploadLimits

    models = load_models(["hh-mini-24k"], ["hh-mini-slm"])
    config = Page(models, UploadLimits(), folder).build().get_config_file()
    fields = [[each["type"], each["props"]] for each in config["components"]]
    speeds = []
    for is_aligned in (True, False):
        synthesizer: Any = SimpleNamespace(
            lm=SimpleNamespace(config=SimpleNamespace(is_aligned=is_aligned))
        )
        speeds.append(speed_of(synthesizer))
    (folder / "built.json").write_text(json.dumps([fields, speeds], default=str))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[Any]]:
    """What `build` writes, once for all tests: loading Gradio takes seconds.

    In a process of its own: what Gradio warns of and leaves open is not ours.
    """
    folder = tmp_path_factory.mktemp("page")
    own = {"GRADIO_TEMP_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"}
    output = folder / "printed.txt"
    assert forked.run(build, folder, output=output, environment=own) == 0, forked.printed(output)
    fields, speeds = json.loads((folder / "built.json").read_text())
    return fields, speeds


@needs_gradio
def test_the_page_has_a_tab_for_each_thing_it_does(built: tuple[list[Any], list[Any]]) -> None:
    fields, _ = built
    tabs = [props["label"] for kind, props in fields if kind == "tabitem"]
    assert tabs == ["Codec", "Speak", "Continue", "Compare codecs", "Compare models"]
    buttons = [props.get("value") for kind, props in fields if kind == "button"]
    assert buttons == ["Reconstruct", "Speak", "Cancel", "Continue", "Compare", "Compare"]


@needs_gradio
def test_whoever_sets_a_temperature_of_texts_can_set_a_speed(
    built: tuple[list[Any], list[Any]],
) -> None:
    fields, _ = built
    sliders = [props for kind, props in fields if kind == "slider"]
    labels = [props["label"] for props in sliders]
    # A continuation has no text, and so no durations.
    assert labels == ["Temperature", "Speed", "Seconds to add, at most", "Temperature"]
    speed = sliders[1]
    assert (speed["minimum"], speed["maximum"], speed["value"]) == (0.25, 4, 1)
    assert speed["interactive"]


@needs_gradio
def test_a_model_without_durations_has_no_speed_to_set(built: tuple[list[Any], list[Any]]) -> None:
    _, (aligned, other) = built
    assert aligned["interactive"]
    assert not other["interactive"]
    assert aligned["value"] == other["value"] == 1


def test_a_wrong_call_is_refused_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--max-seconds", "0"])
    last = capsys.readouterr().err.splitlines()[-1]
    assert "argument --max-seconds: expected a finite number > 0" in last

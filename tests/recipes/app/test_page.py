"""The page is built and answers; what its buttons do is tested as functions."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from recipes.app.__main__ import OLDEST, main
from recipes.app.models import load_models
from recipes.app.uploads import UploadLimits


def gradio_version() -> int:
    """The installed one, 0 for none; importing an old one may fail."""
    try:
        return int(importlib.metadata.version("gradio").split(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return 0


@pytest.mark.skipif(gradio_version() < OLDEST, reason=f"no gradio {OLDEST} (extra app)")
@pytest.mark.filterwarnings("default")  # those of a large package are not ours
def test_the_page_has_a_tab_for_each_thing_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    from recipes.app.page import Page

    models = load_models(["hh-mini-24k"], ["hh-mini-slm"])
    config = Page(models, UploadLimits(), tmp_path).build().get_config_file()
    tabs = [each["props"]["label"] for each in config["components"] if each["type"] == "tabitem"]
    assert tabs == ["Codec", "Speak", "Continue", "Compare codecs", "Compare models"]
    labels = [each["props"].get("value") for each in config["components"]]
    assert {"Reconstruct", "Speak", "Cancel", "Continue", "Download .hhc"} <= {
        label for label in labels if isinstance(label, str)
    }


def test_a_wrong_call_is_refused_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--max-seconds", "0"]) == 2
    assert capsys.readouterr().err == (
        "error: expected --max-seconds and --max-megabytes above 0\n"
    )

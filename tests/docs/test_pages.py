"""README and docs: the Python block runs, links and named tests exist, every room is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from codec.audio import write_audio
from tests.support.sources import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.large
def test_the_python_block_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_waveform: Callable[..., np.ndarray]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 1
    write_audio(tmp_path / "in.wav", make_waveform(1.0))
    write_audio(tmp_path / "voice.wav", make_waveform(1.5, seed=3))
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    exec(compile(blocks[0], "README.md", "exec"), namespace)
    assert (tmp_path / "out.wav").stat().st_size > 1000
    decoded = namespace["decoded"]
    assert isinstance(decoded, torch.Tensor)
    assert decoded.shape == (1, 24_000)


def test_the_readme_is_short() -> None:
    assert len(README.encode()) <= 8192


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_settings_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"`[^`\n]*`", "", text)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose) if ":" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = re.findall(r"recipes/configs/[\w/]+\.yaml|docs/[\w/]+\.md", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_promise_names_a_test_that_is_there() -> None:
    text = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file()
        or f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert len(named) > 10
    assert missing == []


def test_every_room_is_named() -> None:
    """A room that is made or renamed moves in the README too."""
    tree = README.split("## Rooms")[1].split("```")[1]
    for package in ("codec", "slm", "eval", "recipes", "benchmarks"):
        section = re.split(r"\n(?=\S)", tree.split(f"\n{package}/")[1])[0]
        named = set(re.findall(r"\b(\w+)/", section))
        rooms = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
        assert rooms <= named, f"{package}: not in the rooms: {sorted(rooms - named)}"


def test_the_guide_of_ones_own_voice_names_the_models_of_its_recipe() -> None:
    config = OmegaConf.load(ROOT / "recipes/configs/own_voice.yaml")
    text = (ROOT / "docs/guides/own_voice.md").read_text(encoding="utf-8")
    for key in ("codec.start", "train_text.start", "train_slm.start"):
        named = re.findall(rf"`{key}=([\w-]+)`", text)
        assert named == [OmegaConf.select(config, key)], key

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from codec.audio.store import AudioStore
from codec.training.config import FitConfig
from codec.training.fit import CHECKPOINT, fit_codec_phase
from tests.support.builders import JOINT, new_codec

AUTO = FitConfig(precision="auto", validate_every=2, checkpoint_every=2)
NATIVE = "codec.devices.native_bf16"


def trained_in(store: AudioStore, folder: Path, steps: int, config: FitConfig = AUTO) -> str:
    phase = replace(JOINT, steps=steps)
    fit_codec_phase(new_codec(), phase, store, store, folder, config=config)
    return torch.load(folder / CHECKPOINT, weights_only=True)["precision"]


@pytest.mark.parametrize(
    ("native", "precision"), [("amx_bf16", "bf16-mixed"), (None, "32-true")], ids=["amx", "avx2"]
)
def test_a_phase_is_trained_as_its_processor_can_and_says_so(
    store: AudioStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    native: str | None,
    precision: str,
) -> None:
    monkeypatch.setattr(NATIVE, lambda path: native)
    assert trained_in(store, tmp_path / "run", 3) == precision
    lines = [line for line in capsys.readouterr().err.splitlines() if "precision" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"phase joint: precision {precision}: this processor")


def test_a_phase_goes_on_in_the_precision_in_which_it_was_begun(
    store: AudioStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NATIVE, lambda path: "amx_bf16")
    trained_in(store, tmp_path / "run", 3)
    monkeypatch.setattr(NATIVE, lambda path: None)
    assert trained_in(store, tmp_path / "run", 4) == "bf16-mixed"
    # A precision that is named decides whatever the checkpoint's.
    named = replace(AUTO, precision="32-true")
    assert trained_in(store, tmp_path / "run", 5, named) == "32-true"

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codec import HHCodec
from codec.cli.main import main
from codec.export.comparison import OnnxComparison, compare_with_torch
from codec.export.onnx_files import DECODER, ENCODER, META

NEAR = OnnxComparison(2, 3.0, 1_000, 1, 1e-3, 40.0, 60.0)


def test_exported_files_are_compared_with_torch_on_recordings(
    exported: tuple[HHCodec, Path], make_waveform: Callable[..., np.ndarray]
) -> None:
    pytest.importorskip("onnxruntime", reason="it runs what was exported")
    codec, folder = exported
    clips = [make_waveform(seconds).astype(np.float32) for seconds in (0.5, 1.1)]
    clips.append(np.zeros(700, np.float32))
    found = compare_with_torch(codec, folder, clips)
    assert (found.num_recordings, found.num_codes, found.other_codes) == (3, 12 + 26 + 1, 0)
    assert found.seconds == pytest.approx(sum(map(len, clips)) / 24_000)
    assert found.least_snr is not None
    assert found.median_snr is not None
    assert 40 <= found.least_snr <= found.median_snr <= 200
    assert found.is_near


def test_files_of_other_weights_are_far_from_torch(
    exported: tuple[HHCodec, Path], make_waveform: Callable[..., np.ndarray]
) -> None:
    pytest.importorskip("onnxruntime", reason="it runs what was exported")
    codec, folder = exported
    other = HHCodec(codec.config).eval()  # random weights of another draw
    state = dict(codec.state_dict())
    name = next(each for each in state if each.startswith("quantizer.") and state[each].ndim == 2)
    other.load_state_dict(state | {name: -state[name]})
    with pytest.raises(ValueError, match=rf"expected files of {other.fingerprint}, got"):
        compare_with_torch(other, folder, [make_waveform(0.5).astype(np.float32)])


def test_a_part_alone_is_compared(
    exported: tuple[HHCodec, Path], make_waveform: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="it runs what was exported")
    codec, folder = exported
    for name in (META, DECODER):
        shutil.copy(folder / name, tmp_path)
    found = compare_with_torch(codec, tmp_path, [make_waveform(0.5).astype(np.float32)])
    assert (found.other_codes, found.level_db) == (None, None)
    assert found.is_near
    assert found.least_snr is not None
    (tmp_path / DECODER).unlink()
    shutil.copy(folder / ENCODER, tmp_path)
    found = compare_with_torch(codec, tmp_path, [make_waveform(0.5).astype(np.float32)])
    assert (found.other_codes, found.least_snr, found.median_snr) == (0, None, None)


def test_one_code_in_a_thousand_is_near_and_more_is_not() -> None:
    assert NEAR.is_near
    assert not replace(NEAR, other_codes=2).is_near
    assert not replace(NEAR, level_db=2e-3).is_near
    assert not replace(NEAR, least_snr=39.9).is_near


def test_what_cannot_be_compared_is_named_before_anything_is_written(
    exported: tuple[HHCodec, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec, folder = exported
    with pytest.raises(ValueError, match="expected at least one recording to compare, got none"):
        compare_with_torch(codec, folder, [])
    call = ["export", "onnx", "hh-mini-24k", str(tmp_path / "files"), "--compare"]
    assert main([*call, str(tmp_path / "absent")]) == 2
    assert "expected a file or a folder, got neither" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([*call, str(tmp_path / "empty")]) == 2
    assert "expected files of .wav" in capsys.readouterr().err
    assert not (tmp_path / "files").exists()
    assert json.loads((folder / META).read_text())["fingerprint"] == codec.fingerprint

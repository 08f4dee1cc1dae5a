from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.cli.main import main
from codec.export.onnx_files import DECODER, ENCODER, META, check_exportable, export_onnx

pytest.importorskip("onnxscript", reason="torch's exporter needs it")
onnxruntime = pytest.importorskip("onnxruntime", reason="it runs what was exported")


def config(**vocoder: Any) -> CodecConfig:
    values = CodecConfig.preset("tiny").to_dict()
    values["vocoder"] |= vocoder
    return CodecConfig.from_dict(values)


def sessions(folder: Path) -> list[Any]:
    return [onnxruntime.InferenceSession(folder / name) for name in (ENCODER, DECODER)]


def snr(reference: np.ndarray, got: np.ndarray) -> float:
    return float(10 * np.log10((reference**2).sum() / ((got - reference) ** 2).sum()))


def test_exported_files_compute_codes_levels_and_sound_of_any_length(
    tmp_path: Path, make_waveform: Callable[..., np.ndarray]
) -> None:
    codec = HHCodec(config()).eval()
    meta = export_onnx(codec, tmp_path)
    assert json.loads((tmp_path / META).read_text()) == meta
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([DECODER, ENCODER, META])
    encoder, decoder = sessions(tmp_path)
    for seconds, rows in ((0.02, 1), (0.5, 1), (1.3, 2)):
        clips = [make_waveform(seconds, seed=seed) for seed in range(rows)]
        waveform = np.stack(clips).astype(np.float32)
        codes, levels = encoder.run(None, {"waveform": waveform})
        expected, _ = codec.encode(waveform)
        assert codes.shape == expected.shape
        assert (codes != expected.numpy()).mean() <= 0.02
        np.testing.assert_allclose(levels, codec.levels(waveform).numpy(), atol=1e-3)
        (decoded,) = decoder.run(None, {"codes": expected.numpy()})
        assert snr(codec.decode(expected)[0].numpy(), decoded) > 60


def test_kinds_that_cannot_be_exported_are_refused_by_name() -> None:
    bigvgan = CodecConfig.preset("hh_24khz_bigvgan")
    with pytest.raises(ValueError, match=r"vocoder\.kind: expected vocos or harmonic.*bigvgan"):
        check_exportable(bigvgan)
    with pytest.raises(ValueError, match=r"encoder\.speech_layers: expected 0 for ONNX"):
        check_exportable(HHCodec.from_pretrained("hh-mini-24k-v2").config)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hh-mini-24k"])
def test_a_shipped_codec_computes_the_same_without_torch(
    tmp_path: Path,
    name: str,
    make_waveform: Callable[..., np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", "onnx", name, str(tmp_path), "--json"]) == 0
    codec = HHCodec.from_pretrained(name)
    assert json.loads(capsys.readouterr().out)["fingerprint"] == codec.fingerprint
    encoder, decoder = sessions(tmp_path)
    waveform = make_waveform(2.1)[None].astype(np.float32)
    codes, levels = encoder.run(None, {"waveform": waveform})
    expected, _ = codec.encode(waveform)
    assert (codes != expected.numpy()).mean() <= 0.02
    torch.testing.assert_close(
        torch.from_numpy(levels).double(), codec.levels(waveform), atol=1e-3, rtol=0
    )
    (decoded,) = decoder.run(None, {"codes": expected.numpy()})
    assert snr(codec.decode(expected)[0].numpy(), decoded) > 40

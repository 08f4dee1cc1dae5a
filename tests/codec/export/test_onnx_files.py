"""Codecs as ONNX files beside torch. `HH_SLM_EXPORTS=1` exports those that come along as well."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from codec import CodecConfig, HHCodec
from codec.cli.main import main
from codec.export.onnx_files import (
    DECODER,
    ENCODER,
    META,
    check_exportable,
    check_folder,
    export_onnx,
)
from codec.streaming.long_form import FADE, OVERLAP
from tests.support.codecs import tiny_codec, voiced_codec

# What the docstring of `codec.export.onnx_files` promises.
MOST_OTHER_CODES, LEAST_SNR, LEVEL_DB = 1e-3, 40.0, 1e-3


def session(path: Path) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime", reason="it runs what was exported")
    return onnxruntime.InferenceSession(path)


def snr(reference: np.ndarray, got: np.ndarray) -> float:
    return float(10 * np.log10((reference**2).sum() / ((got - reference) ** 2).sum()))


@pytest.mark.parametrize(
    ("samples", "rows"),
    # From 31 s on Whisper's states come in two windows.
    [(300, 1), (1024, 1), (1025, 1), (7_200, 2), (120_001, 1), (480_000, 1), (740_000, 1)],
    ids=str,
)
def test_exported_files_compute_codes_levels_and_sound_of_any_length(
    exported: tuple[HHCodec, Path],
    make_waveform: Callable[..., np.ndarray],
    samples: int,
    rows: int,
) -> None:
    codec, folder = exported
    clips = [make_waveform(samples / 24_000, seed=seed) for seed in range(rows)]
    waveform = np.stack(clips).astype(np.float32)
    codes, levels = session(folder / ENCODER).run(None, {"waveform": waveform})
    expected, _ = codec.encode(waveform)
    assert codes.shape == expected.shape == (rows, -(-samples // 1024))
    assert (codes != expected.numpy()).mean() <= MOST_OTHER_CODES
    np.testing.assert_allclose(levels, codec.levels(waveform).numpy(), atol=LEVEL_DB, rtol=0)
    (decoded,) = session(folder / DECODER).run(None, {"codes": expected.numpy()})
    assert snr(codec.decode(expected)[0].numpy(), decoded) >= LEAST_SNR


def test_the_sizes_beside_the_files_are_those_of_the_codec(exported: tuple[HHCodec, Path]) -> None:
    codec, folder = exported
    meta = json.loads((folder / META).read_text())
    assert sorted(path.name for path in folder.iterdir()) == sorted([DECODER, ENCODER, META])
    assert meta["code_fingerprints"] == list(codec.code_fingerprints)
    assert (meta["hop_length"], meta["codebook_size"]) == (1024, 64)
    assert (meta["longest_encoded"], meta["longest_decoded"]) == (1024, 1024)
    assert (meta["overlap"], meta["fade"]) == (OVERLAP, FADE)


def test_a_folder_of_another_codec_is_left_alone(
    exported: tuple[HHCodec, Path], tmp_path: Path
) -> None:
    codec, folder = exported
    meta = json.loads((folder / META).read_text()) | {"fingerprint": "other"}
    (tmp_path / META).write_text(json.dumps(meta))
    with pytest.raises(ValueError, match="expected files of this codec or none, got 'other'"):
        export_onnx(codec, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [META]


def test_kinds_that_cannot_be_exported_are_refused_by_name() -> None:
    bigvgan = CodecConfig.preset("hh_24khz_bigvgan")
    with pytest.raises(ValueError, match=r"vocoder\.kind: expected vocos or harmonic.*bigvgan"):
        check_exportable(bigvgan)
    check_exportable(bigvgan, ["encoder"])
    for parts in (["encoder"], ["decoder"]):
        with pytest.raises(ValueError, match=r"voice\.tokens: expected 0 for ONNX.*got 8"):
            check_exportable(voiced_codec().config, parts)
    tiny = CodecConfig.preset("tiny")
    short = replace(tiny, hop_length=256, encoder=replace(tiny.encoder, ratios=(4, 8, 8)))
    with pytest.raises(ValueError, match=r"hop_length: expected > 384 for ONNX, got 256"):
        check_exportable(short)
    check_exportable(short, ["decoder"])
    second = HHCodec.from_pretrained("hh-mini-24k-v2").config
    check_exportable(second)
    size = replace(second.encoder, ratios=(4, 4, 8, 16))
    coarse = replace(second, hop_length=2048, encoder=size)
    with pytest.raises(ValueError, match=r"hop_length: expected at most 1312 .*got 2048"):
        check_exportable(coarse, ["encoder"])
    with pytest.raises(ValueError, match=r"expected parts of encoder, decoder, got vocoder"):
        check_exportable(CodecConfig.preset("tiny"), ["vocoder"])


@pytest.mark.slow
def test_an_encoder_of_strided_convolutions_computes_the_same(
    tmp_path: Path, make_waveform: Callable[..., np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript", reason="torch's exporter needs it")
    config = CodecConfig.preset("tiny")
    size = replace(config.encoder, kind="seanet", channels=2, num_lstm_layers=1)
    codec = tiny_codec(replace(config, encoder=size))
    codec.save_pretrained(tmp_path / "codec")
    files = tmp_path / "files"
    argv = ["export", "onnx", str(tmp_path / "codec"), str(files), "--part", "encoder"]
    assert main(argv) == 0
    # each step as it begins: together they take half a minute
    steps = ["making encoder.onnx", "checking encoder.onnx", f"writing {files}"]
    assert capsys.readouterr().err.splitlines() == [f"export: {step}" for step in steps]
    waveform = make_waveform(1.3)[None].astype(np.float32)
    codes, levels = session(files / ENCODER).run(None, {"waveform": waveform})
    assert (codes != codec.encode(waveform)[0].numpy()).mean() <= MOST_OTHER_CODES
    np.testing.assert_allclose(levels, codec.levels(waveform).numpy(), atol=LEVEL_DB, rtol=0)


@pytest.mark.slow
@pytest.mark.skipif("HH_SLM_EXPORTS" not in os.environ, reason="a minute; set HH_SLM_EXPORTS=1")
@pytest.mark.parametrize("name", ["hh-mini-24k", "hh-mini-24k-v2"])
def test_a_shipped_codec_computes_the_same_without_torch(
    tmp_path: Path,
    name: str,
    make_waveform: Callable[..., np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("onnxscript", reason="torch's exporter needs it")
    codec = HHCodec.from_pretrained(name)
    soundfile.write(tmp_path / "clip.flac", make_waveform(3.0, seed=1), 24_000)
    files, clip = str(tmp_path / "files"), str(tmp_path / "clip.flac")
    assert main(["export", "onnx", name, files, "--compare", clip, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["fingerprint"] == codec.fingerprint
    assert report["beside_torch"]["num_codes"] == 71
    assert report["beside_torch"]["least_snr"] >= LEAST_SNR
    waveform = make_waveform(2.1)[None].astype(np.float32)
    expected, _ = codec.encode(waveform)
    codes, levels = session(Path(files) / ENCODER).run(None, {"waveform": waveform})
    assert (codes != expected.numpy()).mean() <= MOST_OTHER_CODES
    np.testing.assert_allclose(levels, codec.levels(waveform).numpy(), atol=LEVEL_DB, rtol=0)
    (decoded,) = session(Path(files) / DECODER).run(None, {"codes": expected.numpy()})
    assert snr(codec.decode(expected)[0].numpy(), decoded) >= LEAST_SNR


def test_a_part_that_may_be_another_codecs_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    # As a kill between the files leaves it.
    (tmp_path / "encoder.onnx").write_bytes(b"")
    check_folder(tmp_path, "0" * 16, ["encoder"])
    with pytest.raises(ValueError, match=r"expected meta\.json beside encoder\.onnx, got 'none'"):
        check_folder(tmp_path, "0" * 16, ["decoder"])

"""Levels of recordings through `.hhc` files and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from codec import HHCodec
from codec.audio.io import read_audio, write_audio
from codec.bitstream.conversions import CONVERSIONS
from codec.bitstream.convert import Pair
from codec.bitstream.format import CodedRecording
from codec.speech_level import measure_level

RATE = 24_000
Waveforms = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def codec() -> HHCodec:
    return HHCodec.from_pretrained("hh-mini-24k")


def dbfs(waveform: np.ndarray) -> float:
    return measure_level([waveform], RATE).dbfs


def convert(codec: HHCodec, kind: str, sources: list[Path], targets: list[Path]) -> None:
    pairs = [Pair(*each) for each in zip(sources, targets, strict=True)]
    for result in CONVERSIONS[kind](codec, pairs):
        assert result.error is None


@pytest.fixture
def recordings(tmp_path: Path, make_waveform: Waveforms) -> list[Path]:
    """Loud, soft and very soft speech of one length, which are converted in one batch."""
    speech = make_waveform(1.5)
    speech /= np.sqrt(np.mean(speech**2))
    paths = [tmp_path / f"{level}.wav" for level in (-12, -30, -60)]
    for path in paths:
        write_audio(path, 10 ** (int(path.stem) / 20) * speech, RATE)
    return paths


@pytest.mark.parametrize("together", [True, False])
def test_a_recording_gets_its_own_level_back(
    codec: HHCodec, tmp_path: Path, recordings: list[Path], together: bool
) -> None:
    codes = [path.with_suffix(".hhc") for path in recordings]
    for kind, sources, end in (
        ("encode", recordings, ".hhc"),
        ("decode", codes, "_decoded.wav"),
        ("reconstruct", recordings, "_through.wav"),
    ):
        targets = [path.parent / f"{path.stem}{end}" for path in sources]
        for group in [slice(0, 3)] if together else [slice(n, n + 1) for n in range(3)]:
            convert(codec, kind, sources[group], targets[group])
    for path in recordings:
        decoded = read_audio(path.with_name(f"{path.stem}_decoded.wav"), RATE)
        through = read_audio(path.with_name(f"{path.stem}_through.wav"), RATE)
        # The codec itself makes this sound softer or louder by less than 3 dB.
        assert dbfs(decoded) == pytest.approx(dbfs(read_audio(path, RATE)), abs=3.0)
        assert dbfs(decoded) == pytest.approx(dbfs(through), abs=0.3)


def test_a_stream_of_before_is_decoded_at_the_codecs_level(
    codec: HHCodec, tmp_path: Path, recordings: list[Path]
) -> None:
    stored = tmp_path / "a.hhc"
    convert(codec, "encode", recordings[1:2], [stored])
    with_level = CodedRecording.load(stored)
    assert with_level.header.level_dbfs == -30.0
    replace(with_level, header=replace(with_level.header, level_dbfs=None)).save(stored)
    assert stored.read_bytes()[8:10] == bytes([1, 0])
    convert(codec, "decode", [stored], [tmp_path / "a.wav"])
    codes = torch.from_numpy(with_level.codes.astype(np.int64))[None]
    expected = codec.decode(codes, lengths=torch.tensor([with_level.num_samples]))[0][0].numpy()
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", RATE), expected, atol=1e-4)


def test_silence_comes_back_as_silence(codec: HHCodec, tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", np.zeros(2 * RATE), RATE)
    convert(codec, "reconstruct", [tmp_path / "a.wav"], [tmp_path / "b.wav"])
    assert not read_audio(tmp_path / "b.wav", RATE).any()
    # Hiss stays as soft as it was, too.
    hiss = np.random.default_rng(0).standard_normal(2 * RATE) * 10 ** (-80 / 20)
    write_audio(tmp_path / "a.wav", hiss, RATE)
    convert(codec, "reconstruct", [tmp_path / "a.wav"], [tmp_path / "b.wav"])
    assert dbfs(read_audio(tmp_path / "b.wav", RATE)) < -75


def test_an_offset_is_left_out_and_changes_nothing_else(
    codec: HHCodec, tmp_path: Path, recordings: list[Path]
) -> None:
    speech = read_audio(recordings[1], RATE)
    write_audio(tmp_path / "offset.wav", speech + np.float32(0.3), RATE)
    targets = [tmp_path / "a.wav", tmp_path / "b.wav"]
    convert(codec, "reconstruct", [recordings[1], tmp_path / "offset.wav"], targets)
    plain, offset = (read_audio(path, RATE) for path in targets)
    assert abs(offset.mean()) < 1e-3
    assert dbfs(offset) == pytest.approx(dbfs(plain), abs=0.5)

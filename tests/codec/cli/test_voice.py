"""`hh-codec` with a codec that has a voice code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from codec import HHCodec
from codec.audio import read_audio, write_audio
from codec.bitstream.format import CodedRecording
from tests.support.codecs import voiced_codec


@pytest.fixture
def voiced(tmp_path: Path) -> tuple[HHCodec, str]:
    voiced_codec().save_pretrained(tmp_path / "voiced")
    return HHCodec.from_pretrained(tmp_path / "voiced"), str(tmp_path / "voiced")


@pytest.fixture
def recordings(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> Path:
    """A folder of two recordings of other pitches."""
    for index in range(2):
        sound = make_waveform(0.5, pitch=90 + 140 * index, seed=index)
        write_audio(tmp_path / "recordings" / f"{index}.wav", sound)
    return tmp_path / "recordings"


@pytest.fixture
def coded(
    tmp_path: Path,
    voiced: tuple[HHCodec, str],
    call: Callable[..., tuple[int, str, str]],
    recordings: Path,
) -> list[Path]:
    """Files of codes of a folder of recordings."""
    done = call("encode", recordings, tmp_path / "codes", "--codec", voiced[1])
    assert done[0] == 0, done
    return sorted((tmp_path / "codes").rglob("*.hhc"))


def test_codes_are_decoded_in_the_voice_of_another_file(
    tmp_path: Path,
    voiced: tuple[HHCodec, str],
    call: Callable[..., tuple[int, str, str]],
    coded: list[Path],
) -> None:
    codec, name = voiced
    first, other = CodedRecording.load(coded[0]), CodedRecording.load(coded[1])
    assert first.header.voice is not None
    assert other.header.voice is not None
    assert first.header.voice != other.header.voice
    argv = ("decode", coded[0], tmp_path / "out.wav", "--codec", name)
    heard = []
    for options in ((), ("--voice", coded[1]), ("--voice", coded[0])):
        assert call(*argv, *options)[0] == 0
        heard.append(read_audio(tmp_path / "out.wav"))
    assert np.array_equal(heard[0], heard[2])
    codes = torch.from_numpy(first.codes.astype(np.int64))
    level = first.header.level_dbfs
    made, _ = codec.decode(
        codes, lengths=[first.num_samples], levels=[level], voice=other.header.voice.tokens
    )
    np.testing.assert_allclose(heard[1], made[0].clamp(-1, 1).numpy(), atol=1e-4)
    assert not np.array_equal(heard[0], heard[1])
    # A folder, and again: what is there is of that voice.
    tree = ("decode", tmp_path / "codes", tmp_path / "tree", "--codec", name, "--resume", "--json")
    for voice, skipped in ((coded[1], 0), (coded[1], len(coded)), (coded[0], 0)):
        status, out, _ = call(*tree, "--voice", voice)
        assert (status, json.loads(out)["num_skipped"]) == (0, skipped)


def test_a_lost_voice_is_named_and_another_can_be_given(
    tmp_path: Path,
    voiced: tuple[HHCodec, str],
    call: Callable[..., tuple[int, str, str]],
    coded: list[Path],
) -> None:
    data = bytearray(coded[0].read_bytes())
    data[50] ^= 1
    coded[0].write_bytes(bytes(data))
    argv = ("decode", coded[0], tmp_path / "out.wav", "--codec", voiced[1])
    status, _, error = call(*argv)
    assert (status, "the voice behind the header is damaged" in error) == (1, True)
    status, _, error = call(*argv, "--salvage")
    assert (status, "expected a stream with a voice code of 8 tokens, got none" in error) == (
        1,
        True,
    )
    assert "--voice FILE" in error
    assert not (tmp_path / "out.wav").exists()
    assert call(*argv, "--salvage", "--voice", coded[1])[0] == 0
    assert len(read_audio(tmp_path / "out.wav")) > 0


def test_a_file_without_a_voice_is_refused_before_any_work(
    tmp_path: Path,
    voiced: tuple[HHCodec, str],
    codec: tuple[HHCodec, str],
    call: Callable[..., tuple[int, str, str]],
    coded: list[Path],
    recordings: Path,
) -> None:
    plain = next(path for path in sorted(recordings.rglob("*")) if path.suffix == ".wav")
    assert call("encode", plain, tmp_path / "plain.hhc", "--codec", codec[1])[0] == 0
    argv = ("decode", tmp_path / "codes", tmp_path / "out", "--codec", voiced[1])
    for voice, said in (
        (tmp_path / "plain.hhc", "codes were made by codec"),
        (tmp_path / "nothing.hhc", "nothing.hhc"),
    ):
        status, _, error = call(*argv, "--voice", voice)
        assert (status, said in error) == (2, True), error
    assert not (tmp_path / "out").exists()

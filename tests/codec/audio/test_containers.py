"""Headers that state more or fewer samples than there are, joined files, damaged files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec.audio.io import AudioError, audio_info, read_audio, read_samples, write_audio

RATE = 24_000
NOISE = (0.1 * np.random.default_rng(0).standard_normal(2 * RATE)).astype(np.float32)
KINDS = {
    "a.wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "ex.wav": ("WAVEX", "PCM_24"),
    "rf64.wav": ("RF64", "PCM_16"),
    "a.w64": ("W64", "PCM_16"),
    "a.aiff": ("AIFF", "PCM_16"),
    "a.au": ("AU", "PCM_16"),
    "a.flac": ("FLAC", "PCM_16"),
    "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.ogg": ("OGG", "VORBIS"),
    "a.opus": ("OGG", "OPUS"),
}


@pytest.fixture(params=sorted(KINDS))
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A whole recording of two seconds in each format."""
    kind, subtype = KINDS[request.param]
    soundfile.write(tmp_path / request.param, NOISE, RATE, format=kind, subtype=subtype)
    return tmp_path / request.param


def changed(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


def wav(stated: int, body: bytes, riff: int | None = None, rate: int = RATE) -> bytes:
    head = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    size = 36 + stated if riff is None else riff
    parts = (b"RIFF", struct.pack("<I", size), b"WAVEfmt ", head, b"data")
    return b"".join(parts) + struct.pack("<I", stated) + body


def vbr_without_length(path: Path, waveform: np.ndarray) -> Path:
    """An MP3 of variable bit rate as streams have it: without the frame that states its length."""
    settings = {"bitrate_mode": "VARIABLE", "compression_level": 0.5}
    soundfile.write(path, waveform, RATE, format="MP3", **settings)
    # the tag and its table end before byte 170
    return changed(path, lambda data: data[data.index(b"\xff\xf3", 170) :])


def test_whole_files_read_as_libsndfile_reads_them(whole: Path) -> None:
    expected = soundfile.read(whole, dtype="float32")[0]
    rate = soundfile.info(whole).samplerate
    np.testing.assert_array_equal(read_audio(whole, rate), expected)


def test_a_file_cut_in_half_is_refused(whole: Path) -> None:
    changed(whole, lambda data: data[: len(data) // 2])
    with pytest.raises(AudioError, match=f"{whole.name}: "):
        read_audio(whole)


def test_two_files_joined_are_refused(whole: Path) -> None:
    changed(whole, lambda data: data + data)
    with pytest.raises(AudioError, match=f"{whole.name}: "):
        read_audio(whole)


def test_a_file_cut_in_half_is_refused_from_its_header(whole: Path) -> None:
    changed(whole, lambda data: data[: len(data) // 2])
    if whole.suffix != ".flac":  # a cut frame gives no sum to check
        with pytest.raises(AudioError, match=f"{whole.name}: "):
            audio_info(whole)


@pytest.mark.parametrize("share", [0.0, 0.5, 2.0])
def test_a_wav_header_that_states_another_length_is_refused(tmp_path: Path, share: float) -> None:
    body = (NOISE * 32767).astype("<i2").tobytes()
    (tmp_path / "a.wav").write_bytes(wav(int(share * len(body)), body))
    with pytest.raises(AudioError, match=r"a\.wav: .*expected .* got"):
        audio_info(tmp_path / "a.wav")


def test_a_flac_header_that_states_another_length_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", NOISE, RATE)
    changed(tmp_path / "a.flac", lambda data: data[:22] + struct.pack(">I", RATE) + data[26:])
    with pytest.raises(AudioError, match="24000 samples, got 48000"):
        audio_info(tmp_path / "a.flac")


@pytest.mark.parametrize("stated", [0x7FFFF000, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB])
def test_the_wav_of_a_stream_is_read_to_its_end(tmp_path: Path, stated: int) -> None:
    body = (NOISE * 32767).astype("<i2").tobytes()
    (tmp_path / "a.wav").write_bytes(wav(stated, body, riff=min(stated + 36, 0xFFFFFFFF)))
    assert len(read_audio(tmp_path / "a.wav")) == len(NOISE)


@pytest.mark.parametrize("tail", [b"LIST\4\0\0\0abcd", b"TAG" + bytes(125), bytes(512), b"\0"])
def test_what_may_follow_the_samples_of_a_wav_is_no_fault(tmp_path: Path, tail: bytes) -> None:
    body = (NOISE * 32767).astype("<i2").tobytes()
    (tmp_path / "a.wav").write_bytes(wav(len(body), body + tail))
    assert len(read_audio(tmp_path / "a.wav")) == len(NOISE)


@pytest.mark.parametrize("loud_first", [True, False])
def test_an_mp3_of_variable_bit_rate_without_a_length_is_read_whole(
    tmp_path: Path, loud_first: bool
) -> None:
    half = NOISE if loud_first else np.zeros_like(NOISE)
    other = np.zeros_like(NOISE) if loud_first else NOISE
    waveform = np.concatenate([half, other])
    soundfile.write(
        tmp_path / "stated.mp3", waveform, RATE, bitrate_mode="VARIABLE", compression_level=0.5
    )
    expected = read_audio(tmp_path / "stated.mp3")
    path = vbr_without_length(tmp_path / "a.mp3", waveform)
    found = read_audio(path)
    # 576 samples of the encoder's delay before, and some of its padding behind
    np.testing.assert_allclose(found[576 : 576 + len(expected)], expected, atol=1e-6)
    assert audio_info(path) == (len(found), RATE)
    for first in range(3000, len(found) - 1000, 7001):
        part = read_samples(path, RATE, first, 1000)
        np.testing.assert_allclose(part, found[first : first + 1000], atol=1e-6)


def test_an_mp3_of_several_rates_is_refused(tmp_path: Path) -> None:
    path = vbr_without_length(tmp_path / "a.mp3", NOISE)
    soundfile.write(tmp_path / "b.mp3", NOISE, 16_000)
    changed(path, lambda data: data + (tmp_path / "b.mp3").read_bytes())
    with pytest.raises(AudioError, match="expected one sample rate, got 16000 Hz, 24000 Hz"):
        read_audio(path)


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
def test_an_ogg_damaged_in_the_middle_is_refused(tmp_path: Path, name: str) -> None:
    kind, subtype = KINDS[name]
    soundfile.write(tmp_path / name, NOISE, RATE, format=kind, subtype=subtype)

    def damaged(data: bytes) -> bytes:
        half = len(data) // 2
        return data[:half] + b"\xff" * 40 + data[half + 40 :]

    changed(tmp_path / name, damaged)
    with pytest.raises(AudioError, match=name):
        read_audio(tmp_path / name)


@pytest.mark.parametrize("rate", [1, 999, 1_000_001, 2**31 - 1])
def test_rates_that_no_recording_has_are_refused_from_the_header(tmp_path: Path, rate: int) -> None:
    (tmp_path / "a.wav").write_bytes(wav(200, bytes(200), rate=rate))
    with pytest.raises(AudioError, match=f"1000 to 1000000 Hz in the header, got {rate}"):
        audio_info(tmp_path / "a.wav")


@pytest.mark.parametrize("first", [0, 1000])
def test_channels_that_cancel_each_other_are_refused(tmp_path: Path, first: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([NOISE, -NOISE], axis=1), RATE)
    with pytest.raises(AudioError, match="out of phase"):
        read_samples(tmp_path / "a.wav", RATE, first)
    # one channel of them is sound
    one = read_samples(tmp_path / "a.wav", RATE, first, channel=1)
    np.testing.assert_allclose(one, -NOISE[first:], atol=1e-4)


def test_one_channel_can_be_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([NOISE, NOISE[::-1]], axis=1), 16_000)
    soundfile.write(tmp_path / "b.wav", NOISE[::-1], 16_000)
    whole = read_audio(tmp_path / "b.wav")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", channel=1), whole)
    with pytest.raises(AudioError, match="a channel of its 2, from 0 on, got 2"):
        read_audio(tmp_path / "a.wav", channel=2)


def test_what_is_too_long_for_wav_is_written_as_rf64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.audio.writing.LARGEST_WAV", 2 * len(NOISE) - 1)
    write_audio(tmp_path / "long.wav", NOISE)
    write_audio(tmp_path / "short.wav", NOISE[1:])
    assert soundfile.info(tmp_path / "long.wav").format == "RF64"
    assert soundfile.info(tmp_path / "short.wav").format == "WAV"
    np.testing.assert_allclose(read_audio(tmp_path / "long.wav"), NOISE, atol=1 / 32768)


def test_a_long_recording_is_looked_through_before_it_is_read_in_parts(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", NOISE, RATE)
    changed(tmp_path / "a.flac", lambda data: data + data)
    with pytest.raises(AudioError, match="a second one behind it"):
        audio_info(tmp_path / "a.flac", whole=True)


@pytest.mark.parametrize("num_samples", [4800, 7200, 24_000, 4096, 4097])
@pytest.mark.parametrize("silent_from", [0, 4000])
def test_a_flac_that_ends_in_silence_is_whole(
    tmp_path: Path, num_samples: int, silent_from: int
) -> None:
    """Frames of silence are shorter than any other, and the last one counts as well."""
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, num_samples).astype(np.float32)
    waveform[silent_from:] = 0
    write_audio(tmp_path / "a.flac", waveform)
    assert read_audio(tmp_path / "a.flac", 24_000).shape == (num_samples,)

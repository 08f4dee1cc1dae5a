import errno
import os
import sys

import numpy as np
import pytest
import soundfile

from codec.audio.io import (
    AudioError,
    audio_channels,
    audio_info,
    audio_level,
    normalize_loudness,
    read_audio,
    read_samples,
    read_whole,
    write_audio,
)
from codec.files.locations import Part, part_path
from tests.support.tars import locations, pack, write_tar


def test_a_written_file_reads_back(tmp_path, make_waveform):
    waveform = make_waveform(0.3)
    for name in ("a.wav", "b.flac"):
        write_audio(tmp_path / name, waveform)
        np.testing.assert_allclose(read_audio(tmp_path / name), waveform, atol=1 / 32768)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_other_rates_are_resampled(tmp_path, make_waveform, rate):
    soundfile.write(tmp_path / "a.wav", make_waveform(0.5, sample_rate=rate), rate)
    assert len(read_audio(tmp_path / "a.wav")) == 12_000


def test_stereo_is_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.tile([[0.5, 0.1]], (2400, 1)), 24_000)
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), 0.3, atol=1e-3)


def test_a_part_of_a_file_is_that_part(tmp_path, make_waveform):
    waveform = make_waveform(1.0)
    write_audio(tmp_path / "a.flac", waveform)
    part = read_audio(tmp_path / "a.flac", start=0.25, duration=0.5)
    np.testing.assert_allclose(part, waveform[6000:18_000], atol=1 / 32768)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_part_of_a_resampled_file_is_that_part_of_the_whole(tmp_path, make_waveform, rate):
    soundfile.write(tmp_path / "a.wav", make_waveform(1.0, sample_rate=rate), rate)
    whole = read_audio(tmp_path / "a.wav")
    part = read_audio(tmp_path / "a.wav", start=0.3, duration=0.2)
    np.testing.assert_allclose(part, whole[7200:12_000], atol=1e-6)
    assert len(read_audio(tmp_path / "a.wav", start=0.9, duration=5.0)) == 2400


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"start": 0.2}, "nothing to read from 0.2 s, it lasts 0.100 s"),
        ({"start": -0.1}, "nothing to read from -0.1 s"),
        ({"duration": 0.0}, "nothing to read"),
        ({"sample_rate": 0}, "sample rate of 1 Hz or more, got 0"),
    ],
)
def test_a_part_that_is_not_there_is_refused(tmp_path, make_waveform, part, message):
    write_audio(tmp_path / "a.wav", make_waveform(0.1))
    with pytest.raises(AudioError, match=message):
        read_audio(tmp_path / "a.wav", **part)


def test_long_files_are_read_block_by_block(tmp_path, make_waveform, monkeypatch):
    waveform = make_waveform(1.0)
    write_audio(tmp_path / "a.wav", waveform)
    whole, level = read_audio(tmp_path / "a.wav"), audio_level(tmp_path / "a.wav")
    monkeypatch.setattr("codec.audio.io.BLOCK", 1000)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav"), whole)
    assert audio_level(tmp_path / "a.wav") == pytest.approx(level)
    assert level[0] == pytest.approx(np.sqrt(np.mean(waveform**2)), rel=1e-3)
    assert audio_info(tmp_path / "a.wav") == (24_000, 24_000)


def bad_files(folder, waveform):
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("not audio at all")
    soundfile.write(folder / "nan.wav", np.full(2400, np.nan), 24_000, subtype="FLOAT")
    soundfile.write(folder / "none.wav", np.zeros(0), 24_000)
    write_audio(folder / "whole.flac", waveform)
    whole = (folder / "whole.flac").read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])
    # as encoders leave it that cannot go back to the header: 36 bits of length are zero
    unknown = whole[:21] + bytes([whole[21] & 0xF0]) + bytes(4) + whole[26:]
    (folder / "unstated.flac").write_bytes(unknown)


@pytest.mark.parametrize(
    "name",
    ["missing.wav", "empty.wav", "text.wav", "nan.wav", "none.wav", "cut.flac", "unstated.flac"],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, make_waveform, name):
    bad_files(tmp_path, make_waveform(1.0))
    with pytest.raises(AudioError, match=name):
        read_audio(tmp_path / name)


def test_a_length_that_the_header_does_not_state_is_not_believed(tmp_path, make_waveform):
    """libsndfile says 2**63 - 1 samples, for which windows were listed until memory ran out."""
    bad_files(tmp_path, make_waveform(1.0))
    with pytest.raises(AudioError, match="expected a length in the header"):
        audio_info(tmp_path / "unstated.flac")


def test_only_finite_mono_waveforms_are_written(tmp_path):
    for waveform in (np.zeros((2, 10)), np.full(10, np.inf)):
        with pytest.raises(AudioError, match=r"a\.wav"):
            write_audio(tmp_path / "a.wav", waveform)
    with pytest.raises(AudioError, match=r"\.wav or \.flac"):
        write_audio(tmp_path / "a.mp3", np.zeros(10))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(soundfile, "write", full)
    with pytest.raises(OSError, match="No space"):
        write_audio(tmp_path / "a.wav", np.zeros(100))
    assert list(tmp_path.iterdir()) == []


def test_loudness_is_normalised_without_clipping(make_waveform):
    waveform = make_waveform(1.0)
    quiet = normalize_loudness(0.01 * waveform, -23.0)
    assert 20 * np.log10(np.sqrt(np.mean(quiet**2))) == pytest.approx(-23.0, abs=0.01)
    spike = np.zeros(1000, dtype=np.float32)
    spike[5] = 0.1
    assert np.abs(normalize_loudness(spike, -23.0)).max() == pytest.approx(1.0)
    silence = np.zeros(10, dtype=np.float32)
    assert normalize_loudness(silence, -23.0) is silence


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.opus"])
def test_a_member_of_a_tar_reads_as_the_file_that_was_packed(tmp_path, make_waveform, name):
    subtype = "OPUS" if name == "a.opus" else None
    form = "OGG" if name in ("a.ogg", "a.opus") else None
    soundfile.write(tmp_path / name, make_waveform(1.0), 24_000, format=form, subtype=subtype)
    whole, part = (
        read_audio(tmp_path / name, 16_000),
        read_samples(tmp_path / name, 24_000, 999, 50),
    )
    (tmp_path / "b.txt").write_text("text")
    found = pack(tmp_path / "some.tar", [tmp_path / "b.txt", tmp_path / name])
    np.testing.assert_array_equal(read_audio(found[name], 16_000), whole)
    np.testing.assert_array_equal(read_samples(found[name], 24_000, 999, 50), part)
    with pytest.raises(AudioError, match=r"some\.tar:0:b\.txt: cannot be read as audio"):
        audio_info(found["b.txt"])
    write_tar(tmp_path / "some.tar", {"c.wav": b""})
    with pytest.raises(AudioError, match="the tar has changed; import it again"):
        audio_info(found[name])
    with pytest.raises(AudioError, match=r"c\.wav: the file is empty"):
        audio_info(locations(tmp_path / "some.tar")["c.wav"])
    with pytest.raises(AudioError, match="no such audio file"):
        audio_info(f"{tmp_path}/other.tar:0:a.wav")


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_a_named_part_reads_as_that_part_of_its_channel(tmp_path, make_waveform, suffix):
    path = tmp_path / f"a.{suffix}"
    stereo = np.stack([make_waveform(2.0), make_waveform(2.0, pitch=90.0)], axis=1)
    soundfile.write(path, stereo, 24_000)
    named = part_path(path, Part(0.5, 1.75, 1))
    expected = read_samples(path, 24_000, 12_000, 30_000, channel=1)
    assert audio_info(named) == (30_000, 24_000)
    assert audio_channels(named) == 1
    np.testing.assert_array_equal(read_whole(named)[0], expected)
    np.testing.assert_array_equal(read_samples(named, 24_000, 700, 99), expected[700:799])
    assert audio_level(named)[1] == np.abs(expected).max()
    # At another rate it begins and ends as a file of its own would.
    write_audio(tmp_path / "cut.wav", expected, 24_000)
    alone = read_audio(tmp_path / "cut.wav", 16_000)
    np.testing.assert_allclose(read_audio(named, 16_000), alone, atol=1e-4)
    rest = part_path(path, Part(0.5))
    np.testing.assert_array_equal(
        read_whole(rest)[0], read_samples(path, 24_000, 12_000, audio_info(path)[0] - 12_000)
    )


def test_a_part_beyond_its_recording_is_refused(tmp_path, make_waveform):
    soundfile.write(tmp_path / "a.wav", make_waveform(1.0), 24_000)

    def info(*part):
        return audio_info(part_path(tmp_path / "a.wav", Part(*part)))

    assert info(0.5, 1.05) == (12_000, 24_000)  # times are rounded
    for part in ((0.5, 1.2), (1.0, 1.05), (0.5, 0.5), (0.0, 1e300), (2.0, None)):
        with pytest.raises(AudioError, match=r"a\.wav#t=.*: expected a part of its 1\.000 s, got"):
            info(*part)
    with pytest.raises(AudioError, match="expected a channel of its 1, from 0 on, got 1"):
        info(0.0, 1.0, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a disk with names of any bytes")
def test_names_that_are_not_utf_8_are_read_and_written(tmp_path, make_waveform):
    folder = tmp_path / os.fsdecode(b"\xe9t\xe9")
    for suffix in (".wav", ".flac"):
        path = folder / os.fsdecode(b"\xff" + suffix.encode())
        write_audio(path, make_waveform(0.1))
        assert len(read_audio(path)) == 2400
        assert audio_info(path) == (2400, 24_000)
    assert len(list(folder.iterdir())) == 2


def test_whole_numbers_are_written_over_their_full_scale(tmp_path, make_waveform):
    waveform = make_waveform(0.1)
    for kind, scale in (("int16", 1 << 15), ("int32", 1 << 31)):
        write_audio(tmp_path / "out.wav", (waveform.astype(np.float64) * (scale - 1)).astype(kind))
        np.testing.assert_allclose(read_audio(tmp_path / "out.wav"), waveform, atol=1e-4)
    for other in ("int64", "uint8", "bool", "complex64"):
        with pytest.raises(AudioError, match=f"expected float samples .* got {other}"):
            write_audio(tmp_path / "other.wav", np.ones(9, other))
    assert not (tmp_path / "other.wav").exists()

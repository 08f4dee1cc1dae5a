"""Folders of recordings and codes on the command line: trees, resumed runs, batches, workers."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import soundfile
import torch

from codec import HHCodec
from codec.audio.io import read_audio, write_audio
from codec.files.derived import LOG_NAME


def test_a_folder_becomes_a_tree_of_the_same_shape_and_the_unreadable_are_listed(
    tmp_path, codec, call, recordings
):
    target = tmp_path / "decoded"
    status, out, error = call("reconstruct", recordings, target, "--codec", codec[1], "--json")
    assert status == 1
    files = visible(target)
    assert files == ["a.wav", "deep/b.flac", "deep/c.wav"]
    lengths = [len(read_audio(target / name)) for name in files]
    assert lengths == [12_000, 7_200, 4_800]
    report = json.loads(out)
    assert (report["num_done"], report["num_skipped"], report["num_failed"]) == (3, 0, 2)
    assert report["num_other_files"] == 1
    assert report["duration"] == pytest.approx(1.0)
    bad = {str(recordings / "deep" / "text.flac"), str(recordings / "empty.wav")}
    assert set(report["failed"]) == bad
    assert all(f"failed: {name}: " in error for name in bad)
    assert "reconstruct: 100%" in error


def visible(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p.relative_to(folder).as_posix() for p in paths if p.name != LOG_NAME)


def test_a_file_whose_place_is_taken_is_listed_with_place_and_cause(
    tmp_path, codec, call, make_waveform
):
    for name in ("a.wav", "b.wav"):
        write_audio(tmp_path / "in" / name, make_waveform(0.2))
    taken = tmp_path / "out" / "a.wav"
    taken.mkdir(parents=True)
    argv = ("reconstruct", tmp_path / "in", tmp_path / "out", "--codec", codec[1], "--json")
    status, out, error = call(*argv)
    assert status == 1
    assert json.loads(out)["failed"] == {str(tmp_path / "in/a.wav"): f"{taken}: Is a directory"}
    assert f"failed: {tmp_path / 'in/a.wav'}: {taken}: Is a directory\n" in error


def test_a_resumed_folder_notices_what_has_changed(
    tmp_path, codec, call, recordings, make_waveform
):
    folder = codec[1]
    for name in ("empty.wav", "deep/text.flac"):
        (recordings / name).unlink()
    target = tmp_path / "decoded"

    def resumed(codec_folder=folder):
        argv = ("reconstruct", recordings, target, "--codec", codec_folder, "--resume", "--json")
        report = json.loads(call(*argv)[1])
        return report["num_done"], report["num_skipped"]

    assert resumed() == (3, 0)
    assert resumed() == (0, 3)
    # Another recording of the same length, older than its output.
    write_audio(recordings / "a.wav", make_waveform(0.5, seed=9))
    os.utime(recordings / "a.wav", (1e9, 1e9))
    assert resumed() == (1, 2)
    # Another codec.
    other = HHCodec.from_pretrained(folder, fold=False)
    with torch.no_grad():
        next(other.vocoder.parameters()).add_(1e-3)
    other.weights_changed()
    other.save_pretrained(tmp_path / "other")
    assert resumed(tmp_path / "other") == (3, 0)
    # Both trees moved, and outputs of a version that kept no notes.
    (target / LOG_NAME).unlink()
    assert resumed() == (0, 3)
    os.utime(recordings / "a.wav")
    assert resumed() == (1, 2)


def test_a_single_file_is_made_again_where_its_recording_has_changed(
    tmp_path, codec, call, make_waveform
):
    argv = ("encode", tmp_path / "a.wav", tmp_path / "a.hhc", "--codec", codec[1])
    skipped = []
    for seed in (0, 0, 1):
        if seed not in skipped:
            write_audio(tmp_path / "a.wav", make_waveform(0.5, seed=seed))
            skipped.append(seed)
        call(*argv, "--resume")
    expected = (tmp_path / "a.hhc").read_bytes()
    call(*argv)
    assert (tmp_path / "a.hhc").read_bytes() == expected


def test_a_folder_does_not_become_a_folder_with_the_name_of_a_file(tmp_path, call, recordings):
    status, _, error = call("reconstruct", recordings, tmp_path / "out.wav")
    assert status == 2
    assert "expected the name of a folder" in error


def test_a_resumed_folder_does_only_what_is_missing(tmp_path, codec, call, recordings):
    target = tmp_path / "decoded"
    (recordings / "empty.wav").unlink()
    (recordings / "deep" / "text.flac").unlink()
    argv = ("reconstruct", recordings, target, "--codec", codec[1], "--json")
    assert call(*argv)[0] == 0
    whole = {name: (target / name).read_bytes() for name in ("a.wav", "deep/c.wav")}
    (target / "a.wav").unlink()
    (target / "deep" / "c.wav").write_bytes(b"damaged")
    write_audio(target / "deep" / "b.flac", np.zeros(7_200, dtype=np.float32))
    mine = (target / "deep" / "b.flac").read_bytes()
    status, out, _ = call(*argv, "--resume")
    report = json.loads(out)
    assert (status, report["num_done"], report["num_skipped"]) == (0, 2, 1)
    assert {name: (target / name).read_bytes() for name in whole} == whole
    assert (target / "deep" / "b.flac").read_bytes() == mine
    assert json.loads(call(*argv)[1])["num_done"] == 3
    assert (target / "deep" / "b.flac").read_bytes() != mine


def test_a_tree_of_codes_is_made_resumed_and_decoded(tmp_path, codec, call, recordings):
    codes, decoded = tmp_path / "codes", tmp_path / "decoded"
    last = ("--codec", codec[1], "--json")
    status, out, _ = call("encode", recordings, codes, *last, "--batch-size", 4)
    assert (status, json.loads(out)["num_done"]) == (1, 3)
    files = visible(codes)
    assert files == ["a.hhc", "deep/b.hhc", "deep/c.hhc"]
    (codes / "a.hhc").write_bytes((codes / "a.hhc").read_bytes()[:-1])
    report = json.loads(call("encode", recordings, codes, *last, "--resume")[1])
    assert (report["num_done"], report["num_skipped"], report["num_failed"]) == (1, 2, 2)
    status, out, _ = call("decode", codes, decoded, *last)
    assert (status, json.loads(out)["num_samples"]) == (0, 24_000)
    lengths = [len(read_audio(decoded / name)) for name in ("a.wav", "deep/b.wav", "deep/c.wav")]
    assert lengths == [12_000, 7_200, 4_800]
    report = json.loads(call("decode", codes, decoded, *last, "--resume")[1])
    assert (report["num_done"], report["num_skipped"]) == (0, 3)


def test_streams_of_equal_lengths_are_decoded_together(
    tmp_path, codec, call, make_waveform, monkeypatch
):
    for number in range(3):
        write_audio(tmp_path / "in" / f"{number}.wav", make_waveform(0.5, seed=number))
    last = ("--codec", codec[1])
    call("encode", tmp_path / "in", tmp_path / "codes", *last)
    sizes, decode = [], HHCodec.decode

    def counted(self, codes, *lengths, **named):
        sizes.append(len(codes))
        return decode(self, codes, *lengths, **named)

    monkeypatch.setattr(HHCodec, "decode", counted)
    call("decode", tmp_path / "codes", tmp_path / "alone", *last)
    status, _, _ = call("decode", tmp_path / "codes", tmp_path / "both", *last, "--batch-size", 2)
    assert (status, sizes) == (0, [1, 1, 1, 2, 1])
    for path in sorted((tmp_path / "alone").iterdir()):
        assert path.read_bytes() == (tmp_path / "both" / path.name).read_bytes()


def test_a_batch_of_equal_lengths_gives_what_each_gives_alone(tmp_path, codec, call, make_waveform):
    for number in range(3):
        write_audio(tmp_path / "in" / f"{number}.wav", make_waveform(0.5, seed=number))
    (tmp_path / "in" / "bad.wav").write_bytes((tmp_path / "in" / "0.wav").read_bytes()[:9000])
    for command, suffix in (("encode", "hhc"), ("reconstruct", "wav")):
        made = []
        for size in (1, 8):
            folder = tmp_path / f"{command}{size}"
            argv = (command, tmp_path / "in", folder, "--codec", codec[1], "--batch-size", size)
            call(*argv)
            made.append([(folder / f"{number}.{suffix}").read_bytes() for number in range(3)])
        assert made[0] == made[1]
        assert len(set(made[0])) == 3


@pytest.mark.slow
def test_several_processes_do_what_one_does(tmp_path, codec, call, recordings):
    found = {}
    for workers in (1, 2):
        target = tmp_path / f"by{workers}"
        argv = ("encode", recordings, target, "--codec", codec[1], "--json")
        status, out, _ = call(*argv, "--workers", workers)
        report = json.loads(out)
        files = {p.relative_to(target): p.read_bytes() for p in target.rglob("*.hhc")}
        found[workers] = (status, files, report["failed"], report["num_codes"])
    assert found[1] == found[2]
    assert len(found[1][1]) == 3


def test_recordings_in_linked_folders_are_converted(tmp_path, codec, call, make_waveform):
    (tmp_path / "disk").mkdir()
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "disk" / "b.wav", make_waveform(0.2), 24_000)
    (tmp_path / "in" / "more").symlink_to(tmp_path / "disk")
    (tmp_path / "in" / "gone.wav").symlink_to(tmp_path / "nothing.wav")
    argv = ("encode", tmp_path / "in", tmp_path / "out", "--codec", codec[1], "--json")
    status, out, _ = call(*argv)
    assert (status, json.loads(out)["num_done"]) == (1, 1)
    assert list(json.loads(out)["failed"]) == [str(tmp_path / "in" / "gone.wav")]
    assert (tmp_path / "out" / "more" / "b.hhc").is_file()

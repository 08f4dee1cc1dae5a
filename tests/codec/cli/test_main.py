import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from codec import CodecConfig, HHCodec
from codec.audio.io import read_audio, write_audio
from codec.bitstream.format import CodedRecording, StreamHeader
from codec.cli.main import main
from codec.derived import LOG_NAME


def save_codec(folder: Path, seed: int = 0) -> HHCodec:
    torch.manual_seed(seed)
    codec = HHCodec(CodecConfig.preset("tiny")).eval()
    codec.quantizer.initialize(torch.randn(400, 8), seed=0)
    codec.save_pretrained(folder)
    return codec


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> tuple[HHCodec, str]:
    """A tiny codec and the folder it lies in."""
    folder = tmp_path_factory.mktemp("codec")
    return save_codec(folder), str(folder)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A caller of the command line: exit status, standard output, standard error."""

    def run(*argv: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in argv])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def recordings(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> Path:
    """A tree of recordings of several kinds, two that cannot be read, and a text."""
    folder = tmp_path / "recordings"
    write_audio(folder / "a.wav", make_waveform(0.5))
    write_audio(folder / "deep" / "b.flac", make_waveform(0.3, seed=1))
    stereo = np.stack([make_waveform(0.2, sample_rate=16_000)] * 2, axis=1)
    soundfile.write(folder / "deep" / "c.ogg", stereo, 16_000)
    (folder / "empty.wav").touch()
    (folder / "deep" / "text.flac").write_text("not audio")
    (folder / "notes.txt").write_text("a text")
    return folder


def test_a_recording_becomes_codes_and_comes_back_at_its_own_length(
    tmp_path, codec, call, make_waveform
):
    model, folder = codec
    soundfile.write(tmp_path / "in.wav", make_waveform(0.7, sample_rate=16_000), 16_000)
    status, out, _ = call(
        "encode", tmp_path / "in.wav", tmp_path / "in.hhc", "--codec", folder, "--json"
    )
    assert status == 0
    report = json.loads(out)
    assert report["num_samples"] == 16_800
    assert report["num_codes"] == 17
    assert report["duration"] == pytest.approx(0.7)
    assert report["codec_fingerprint"] == model.fingerprint
    waveform = torch.from_numpy(read_audio(tmp_path / "in.wav"))[None]
    codes, _ = model.encode(waveform)
    stored = CodedRecording.load(tmp_path / "in.hhc")
    assert stored.codes.tolist() == codes[0].tolist()

    argv = ("decode", tmp_path / "in.hhc", tmp_path / "out.wav", "--codec", folder)
    status, out, _ = call(*argv)
    assert status == 0
    assert "num_codes" in out
    levels = torch.tensor([stored.header.level_dbfs])
    expected, _ = model.decode(codes, lengths=torch.tensor([16_800]), levels=levels)
    np.testing.assert_allclose(
        read_audio(tmp_path / "out.wav"), expected[0].clamp(-1, 1), atol=1 / 32768
    )


def test_another_codec_refuses_the_codes(tmp_path, codec, call, make_waveform):
    model, folder = codec
    write_audio(tmp_path / "in.wav", make_waveform(0.2))
    call("encode", tmp_path / "in.wav", tmp_path / "in.hhc", "--codec", folder)
    other = save_codec(tmp_path / "other", seed=1)
    status, out, error = call(
        "decode", tmp_path / "in.hhc", tmp_path / "out.wav", "--codec", tmp_path / "other"
    )
    assert status == 1
    assert "num_failed" in out
    made_by = f"the codes were made by codec {model.code_fingerprint}"
    assert f"failed: {tmp_path / 'in.hhc'}: {made_by}" in error
    assert other.code_fingerprint in error
    assert not (tmp_path / "out.wav").exists()


def test_codes_outlive_the_vocoder_of_their_codec(tmp_path, codec, call, make_waveform):
    """Also those of files that name the whole codec, as all did before code fingerprints."""
    model, folder = codec
    other = HHCodec.from_pretrained(folder, fold=False)
    with torch.no_grad():
        next(other.vocoder.parameters()).add_(1e-3)
    other.keep_codes_of(model)
    other.save_pretrained(tmp_path / "other")
    write_audio(tmp_path / "in.wav", make_waveform(0.2))
    call("encode", tmp_path / "in.wav", tmp_path / "new.hhc", "--codec", folder)
    coded = CodedRecording.load(tmp_path / "new.hhc")
    assert coded.header.codec_fingerprint == other.code_fingerprint
    old = replace(coded, header=replace(coded.header, codec_fingerprint=model.fingerprint))
    (tmp_path / "old.hhc").write_bytes(old.to_bytes())
    heard = []
    for name in ("new", "old"):
        target = tmp_path / f"{name}.wav"
        call("decode", tmp_path / f"{name}.hhc", target, "--codec", tmp_path / "other")
        heard.append(target.read_bytes())
    assert heard[0] == heard[1]


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


def test_a_damaged_stream_is_refused_and_salvaged(tmp_path, codec, call, recordings):
    last = ("--codec", codec[1], "--json")
    model = codec[0]
    header = StreamHeader(model.fingerprint, 24_000, 1024, 64, block_codes=4)
    codes = np.arange(12, dtype=np.uint16)
    CodedRecording(header, codes, 12_000).save(tmp_path / "a.hhc")
    data = bytearray((tmp_path / "a.hhc").read_bytes())
    data[36 + 13 + 8] ^= 1
    (tmp_path / "a.hhc").write_bytes(data)
    status, _, error = call("decode", tmp_path / "a.hhc", tmp_path / "a.wav", *last)
    assert status == 1
    assert "block 1 is damaged" in error
    assert not (tmp_path / "a.wav").exists()
    argv = ("decode", tmp_path / "a.hhc", tmp_path / "a.wav", *last, "--salvage")
    status, out, _ = call(*argv)
    assert status == 0
    assert json.loads(out)["lost_blocks"] == {str(tmp_path / "a.hhc"): [1]}
    assert len(read_audio(tmp_path / "a.wav")) == 12_000


def test_a_salvaged_stream_that_lost_its_end_is_named(tmp_path, codec, call):
    header = StreamHeader(codec[0].fingerprint, 24_000, 1024, 64, block_codes=4)
    CodedRecording(header, np.arange(12, dtype=np.uint16), 12_000).save(tmp_path / "a.hhc")
    whole = (tmp_path / "a.hhc").read_bytes()
    argv = ("decode", tmp_path / "a.hhc", tmp_path / "a.wav", "--codec", codec[1], "--json")
    for data, lost in ((whole, []), (whole[: 36 + 2 * 13], [str(tmp_path / "a.hhc")])):
        (tmp_path / "a.hhc").write_bytes(data)
        status, out, error = call(*argv, "--salvage")
        assert (status, json.loads(out)["lost_ends"]) == (0, lost)
        assert ("its end is lost" in error) == bool(lost)
    assert len(read_audio(tmp_path / "a.wav")) == 8 * 1024


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


def test_files_are_verified(tmp_path, codec, call, recordings):
    status, out, error = call("verify", recordings / "a.wav", "--codec", codec[1])
    assert status == 0
    assert out.startswith("ok ")
    assert "verify: 100%" in error
    status, out, _ = call("verify", recordings, "--codec", codec[1], "--json")
    report = json.loads(out)
    assert (status, report["num_files"], report["num_failed"]) == (1, 5, 2)
    assert not report["files"][str(recordings / "empty.wav")]["is_sound"]
    assert report["files"][str(recordings / "a.wav")]["checks"]["batched"]
    status, out, _ = call("verify", recordings, "--codec", codec[1])
    assert out.count("FAILED") == 2


def test_the_codec_that_comes_with_the_package_is_the_default(tmp_path, call, recordings):
    status, _, _ = call("reconstruct", recordings / "a.wav", tmp_path / "out.wav")
    assert status == 0
    assert len(read_audio(tmp_path / "out.wav")) == 12_000


def test_one_file_is_reconstructed_as_by_encode_and_decode(tmp_path, codec, call, recordings):
    last = ("--codec", codec[1])
    assert call("reconstruct", recordings / "a.wav", tmp_path / "whole.wav", *last)[0] == 0
    call("encode", recordings / "a.wav", tmp_path / "a.hhc", *last)
    call("decode", tmp_path / "a.hhc", tmp_path / "steps.wav", *last)
    assert (tmp_path / "whole.wav").read_bytes() == (tmp_path / "steps.wav").read_bytes()
    assert call("reconstruct", recordings / "empty.wav", tmp_path / "none.wav", *last)[0] == 1


def test_figures_of_the_papers_codec(call):
    status, out, _ = call("info", "--preset", "hh_24khz", "--json")
    assert status == 0
    report = json.loads(out)
    counts = report["parameters"]
    assert counts["encoder"] == 17_142_272
    assert counts["backbone"] == 61_901_568
    assert counts["mel_head"] == 307_300
    assert counts["codebook_transform"] == 2 * 512 * 1024 + 1024 + 512
    parts = ("encoder", "codebook_transform", "backbone", "mel_head", "vocoder")
    assert counts["inference"] == sum(counts[part] for part in parts)
    assert counts["total"] == counts["inference"] + counts["training_only"]
    assert (report["frame_rate"], report["bitrate"]) == (23.4375, 304.6875)
    assert report["mel"]["padding"] == "center"
    assert report["fingerprint"] is None


def test_figures_of_a_trained_codec(codec, call):
    model, folder = codec
    report = json.loads(call("info", "--codec", folder, "--json")[1])
    assert report["fingerprint"] == model.fingerprint
    assert report["parameters"]["total"] == sum(p.numel() for p in model.parameters())
    status, out, _ = call("info", "--codec", folder)
    assert status == 0
    assert all(name in out for name in (*report, *report["parameters"], *report["mel"]))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("encode", "a.wav", "a.bin"), "ending in .hhc"),
        (("encode", "none.wav", "a.hhc"), "there is none"),
        (("encode", "a.wav", "a.hhc", "--workers", "0"), "workers of 1 or more, got 0"),
        (("encode", "a.wav", "a.hhc", "--device", "abacus"), "device 'abacus'"),
        (("decode", "a.wav", "b.mp3"), ".wav or .flac"),
        (("decode", ".", "../decoded"), "expected files of .hhc"),
        (("verify", "none"), "there is none"),
        (("verify", "deep/empty"), "expected files of"),
        (("reconstruct", "a.wav", "a.ogg"), ".wav or .flac"),
        (("reconstruct", "a.wav", "a.wav"), "another file"),
        (("reconstruct", ".", "decoded"), "outside"),
        (("reconstruct", "deep/empty", "decoded"), "expected files of"),
        (("reconstruct", "none", "decoded"), "there is none"),
    ],
)
def test_a_wrong_call_says_what_was_expected(codec, call, recordings, monkeypatch, argv, message):
    monkeypatch.chdir(recordings)
    (recordings / "deep" / "empty").mkdir()
    before = (recordings / "a.wav").read_bytes()
    status, out, error = call(*argv, "--codec", codec[1])
    assert (status, out) == (2, "")
    assert error.startswith("error: ")
    assert message in error
    assert (recordings / "a.wav").read_bytes() == before


def test_two_recordings_are_never_written_to_one_file(tmp_path, codec, call, recordings):
    (recordings / "a.ogg").write_bytes((recordings / "deep" / "c.ogg").read_bytes())
    status, _, error = call("reconstruct", recordings, tmp_path / "decoded", "--codec", codec[1])
    assert status == 2
    assert "a.ogg" in error
    assert "a.wav" in error
    assert not (tmp_path / "decoded").exists()


def test_what_the_disk_refuses_is_another_status(tmp_path, codec, call, recordings):
    (tmp_path / "file").touch()
    argv = ("encode", recordings / "a.wav", tmp_path / "file" / "a.hhc")
    status, _, error = call(*argv, "--codec", codec[1])
    assert status == 1
    assert f"failed: {recordings / 'a.wav'}: " in error
    status, _, error = call("decode", recordings / "a.wav", tmp_path / "b.wav", "--codec", codec[1])
    assert status == 1
    assert "no .hhc stream" in error
    assert list(tmp_path.glob("*.wav")) == []


@pytest.mark.parametrize("command", ["encode", "decode", "reconstruct", "verify", "info"])
def test_help_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"hh-codec {command}" in capsys.readouterr().out.split("example")[1]

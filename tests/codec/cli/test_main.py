import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from codec import HHCodec
from codec.audio.io import read_audio, write_audio
from codec.bitstream.format import CodedRecording, StreamHeader
from codec.cli.main import main


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
    assert report["code_fingerprint"] == model.code_fingerprint
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


def test_another_codec_refuses_the_codes(tmp_path, codec, call, make_waveform, save_codec):
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


@pytest.mark.large
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
    assert json.loads(call("info", folder, "--json")[1]) == report
    assert call("info", "")[0] == 2
    status, out, _ = call("info", "--codec", folder)
    assert status == 0
    assert all(name in out for name in (*report, *report["parameters"], *report["mel"]))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("encode", "a.wav", "a.bin"), "ending in .hhc"),
        (("encode", "none.wav", "a.hhc"), "got neither"),
        (("encode", "a.wav", "a.hhc", "--device", "abacus"), "device 'abacus'"),
        (("decode", "a.wav", "b.mp3"), ".wav or .flac"),
        (("decode", ".", "../decoded"), "expected files of .hhc"),
        (("verify", "none"), "got neither"),
        (("verify", "deep/empty"), "expected files of"),
        (("reconstruct", "a.wav", "a.ogg"), ".wav or .flac"),
        (("reconstruct", "a.wav", "a.wav"), "another file"),
        (("reconstruct", ".", "decoded"), "outside"),
        (("reconstruct", "deep/empty", "decoded"), "expected files of"),
        (("reconstruct", "none", "decoded"), "got neither"),
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

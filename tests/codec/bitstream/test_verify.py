import numpy as np
import pytest
import soundfile
import torch

from codec import CodecConfig, HHCodec
from codec.audio.io import write_audio
from codec.bitstream.convert import Pair, encode_recording
from codec.bitstream.verify import verify_file
from tests.support.codecs import tiny_codec


@pytest.fixture(scope="module")
def codec() -> HHCodec:
    return tiny_codec()


@pytest.fixture
def clip(tmp_path, make_waveform):
    write_audio(tmp_path / "a.wav", make_waveform(0.7))
    return tmp_path / "a.wav"


def test_a_sound_recording_and_its_stream_pass(codec, clip, tmp_path):
    verdict = verify_file(codec, clip)
    assert verdict.is_sound
    assert set(verdict.checks) == {"batched", "repeated", "range", "bitstream", "length"}
    assert (verdict.duration, verdict.num_codes) == (0.7, 17)
    encode_recording(codec, Pair(clip, tmp_path / "a.hhc"))
    verdict = verify_file(codec, tmp_path / "a.hhc")
    assert verdict.is_sound
    assert verdict.checks == {"header": True, "blocks": True, "codec": True}
    assert verdict.num_codes == 17


def test_codes_that_change_in_a_batch_are_found(codec, clip, monkeypatch):
    encode = HHCodec.encode

    def leaky(self, waveform, lengths=None, *, search=0):
        codes, code_lengths = encode(self, waveform, lengths)
        return (codes + (len(codes) > 1)) % 64, code_lengths

    monkeypatch.setattr(HHCodec, "encode", leaky)
    verdict = verify_file(codec, clip)
    assert not verdict.is_sound
    assert not verdict.checks["batched"]
    assert "batch" in verdict.reason


def test_codes_that_differ_a_second_time_are_found(codec, clip, monkeypatch):
    def restless(self, waveform, lengths=None, *, search=0):
        codes = torch.randint(0, 64, (len(waveform), -(-waveform.shape[1] // 1024)))
        return codes, torch.full((len(waveform),), codes.shape[1])

    monkeypatch.setattr(HHCodec, "encode", restless)
    assert not verify_file(codec, clip).checks["repeated"]


def test_a_decoder_that_returns_another_length_is_found(codec, clip, monkeypatch):
    def short(self, codes, *, lengths, voice=None):
        return torch.zeros(1, int(lengths[0]) - 1), lengths - 1

    monkeypatch.setattr(HHCodec, "decode", short)
    verdict = verify_file(codec, clip)
    assert not verdict.checks["length"]
    assert verdict.reason == "16800 samples became 16799"


def test_damaged_blocks_and_another_codec_are_named(codec, clip, tmp_path):
    stream = tmp_path / "a.hhc"
    encode_recording(codec, Pair(clip, stream))
    torch.manual_seed(1)
    other = HHCodec(CodecConfig.preset("tiny")).eval()
    verdict = verify_file(other, stream)
    assert verdict.checks == {"header": True, "blocks": True, "codec": False}
    assert codec.code_fingerprint in verdict.reason
    data = bytearray(stream.read_bytes())
    data[45] ^= 1
    stream.write_bytes(data)
    verdict = verify_file(codec, stream)
    assert verdict.checks == {"header": True, "blocks": False, "codec": True}
    assert "block 0" in verdict.reason


@pytest.mark.parametrize("name", ["none.wav", "none.hhc", "text.wav", "text.hhc"])
def test_what_cannot_be_read_does_not_pass(codec, tmp_path, name):
    if name.startswith("text"):
        (tmp_path / name).write_text("no recording at all, but a text of more than 36 bytes")
    verdict = verify_file(codec, tmp_path / name)
    assert not verdict.is_sound
    assert verdict.reason


def test_a_long_recording_is_checked_in_windows(codec, tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal(1030 * 1024)
    soundfile.write(tmp_path / "long.wav", noise, 24_000)
    verdict = verify_file(codec, tmp_path / "long.wav")
    assert verdict.is_sound
    assert verdict.num_codes == 1030

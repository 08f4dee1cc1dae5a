"""A voice code in files of codes, and in all that reads and writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from codec import HHCodec
from codec.audio.io import read_audio, write_audio
from codec.bitstream.compressed import CompressedBlock, CompressedRecording, codes_checksum
from codec.bitstream.conversions import CONVERSIONS
from codec.bitstream.convert import Pair, decode_recording, stream_header
from codec.bitstream.format import CodedRecording
from codec.bitstream.open_formats import load_codes, read_codes, save_codes
from codec.bitstream.records import BitstreamError, StreamHeader
from codec.bitstream.salvage import salvage
from codec.bitstream.verify import verify_file
from codec.bitstream.voice import StreamVoice, find_voice
from codec.streaming.long_form import WINDOW, decode_stream, encode_stream, recording_voice
from codec.streaming.stream_decoder import StreamDecoder
from tests.support.codecs import tiny_codec, voiced_codec

VOICE = StreamVoice((0, 255, 7, 128, 1, 2, 3, 4), 256, "00112233445566ff")
HEADER = StreamHeader("0123456789abcdef", 24_000, 1024, 64, block_codes=5, level_dbfs=-20.5)
CODED = CodedRecording(
    replace(HEADER, voice=VOICE), np.arange(12, dtype=np.uint16), 12 * 1024 - 100
)
FORMS = ("hhc", "json", "pt")


@pytest.fixture(scope="module")
def codec() -> HHCodec:
    return voiced_codec()


@pytest.fixture
def clips(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> list[Path]:
    """Two recordings of one number of codes."""
    paths = []
    for seed in range(2):
        paths.append(tmp_path / f"clip{seed}.wav")
        write_audio(paths[-1], make_waveform(0.5, pitch=90 + 120 * seed, seed=seed), 24_000)
    return paths


def test_a_stream_with_a_voice_is_version_4_and_comes_back() -> None:
    data = CODED.to_bytes()
    plain = CodedRecording(HEADER, CODED.codes, CODED.num_samples).to_bytes()
    assert (data[8], plain[8]) == (4, 2)
    # A record of 30 bytes behind the header, and nothing else.
    assert data[36:40] == b"\xfe\xff\xff\xff"
    assert data[66:] == plain[36:]
    back = CodedRecording.from_bytes(data)
    assert back.header == CODED.header
    assert np.array_equal(back.codes, CODED.codes)
    assert StreamHeader.unpack(data[:66]) == CODED.header
    without_level = replace(CODED, header=replace(CODED.header, level_dbfs=None))
    assert CodedRecording.from_bytes(without_level.to_bytes()).header == without_level.header


def test_a_stream_without_a_voice_stays_what_it_was() -> None:
    """Bytes of a file of version 2 and of version 1, as they were written before."""
    start = bytes.fromhex("894848430d0a1a0a02c80500400000 00c05d0000000400000123456789abcdef")
    assert HEADER.pack()[:32] == start
    assert replace(HEADER, level_dbfs=None).pack()[8:10] == b"\x01\x00"


@pytest.mark.parametrize("place", [*range(36, 66)])
def test_any_changed_byte_of_a_voice_is_found(place: int) -> None:
    data = bytearray(CODED.to_bytes())
    data[place] ^= 0x10
    with pytest.raises(BitstreamError, match="the voice behind the header is damaged"):
        CodedRecording.from_bytes(bytes(data))
    found = salvage(bytes(data))
    assert found.lost_voice
    assert not found.is_whole
    assert found.recording.header == HEADER
    assert np.array_equal(found.recording.codes, CODED.codes)


def test_a_voice_that_is_cut_short_is_damaged() -> None:
    for size in range(36, 66):
        with pytest.raises(BitstreamError, match="the voice behind the header is damaged"):
            StreamHeader.unpack(CODED.to_bytes()[:size])


def test_a_voice_is_salvaged_without_the_header_and_behind_other_bytes() -> None:
    data = CODED.to_bytes()
    assert find_voice(b"\xfe\xff\xff\xff" * 40 + data) == VOICE
    found = salvage(b"\0" * 36 + data[36:], HEADER)
    assert found.recording.header == CODED.header
    assert not found.lost_voice
    whole = salvage(data)
    assert whole.is_whole
    assert whole.recording.header == CODED.header


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokens": ()}, "number of tokens is 0"),
        ({"tokens": (1,) * 256}, "number of tokens is 256"),
        ({"tokens": (256,)}, "tokens is"),
        ({"size": 1}, "size is 1"),
        ({"size": 65537}, "size is 65537"),
        ({"fingerprint": "voice"}, "fingerprint is 'voice'"),
    ],
)
def test_a_voice_that_cannot_be_stored_is_refused(change: dict, said: str) -> None:
    with pytest.raises(BitstreamError, match=said):
        replace(VOICE, **change)


def test_a_compressed_stream_keeps_the_voice() -> None:
    block = CompressedBlock(12, codes_checksum(CODED.codes), b"payload")
    header = replace(CODED.header, block_codes=12)
    made = CompressedRecording(header, "ff" * 8, "torch", (block,), CODED.num_samples)
    assert made.to_bytes()[8] == 5
    assert CompressedRecording.from_bytes(made.to_bytes()) == made
    plain = replace(made, header=replace(header, voice=None))
    assert plain.to_bytes()[8] == 3
    assert CompressedRecording.from_bytes(plain.to_bytes()) == plain
    damaged = bytearray(made.to_bytes())
    damaged[60] ^= 1
    with pytest.raises(BitstreamError, match="the voice behind the header is damaged"):
        CompressedRecording.from_bytes(bytes(damaged))
    with pytest.raises(BitstreamError, match=r"compressed \(version 5 of \.hhc\)"):
        StreamHeader.unpack(made.to_bytes())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_but_npy_holds_the_voice(form: str, tmp_path: Path) -> None:
    save_codes(tmp_path / f"codes.{form}", CODED)
    back = load_codes(tmp_path / f"codes.{form}", HEADER)
    assert (back.header.voice, back.header.level_dbfs) == (VOICE, -20.5)
    with pytest.raises(BitstreamError, match=r"without a voice code for \.npy, got one"):
        save_codes(tmp_path / "codes.npy", CODED)
    assert not (tmp_path / "codes.npy").exists()


def test_json_without_a_voice_has_the_fields_that_it_had(tmp_path: Path) -> None:
    save_codes(tmp_path / "codes.json", replace(CODED, header=HEADER))
    fields = json.loads((tmp_path / "codes.json").read_text())
    assert not [name for name in fields if "voice" in name]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"voice": [1, 2.5]}, "expected voice tokens"),
        ({"voice": "12"}, "expected voice tokens"),
        ({"voice": [300]}, "tokens is"),
        ({"voice_size": True}, "expected voice tokens"),
        ({"voice_fingerprint": 5}, "expected voice tokens"),
        ({"voice_size": None}, "got voice, voice_fingerprint alone"),
    ],
)
def test_a_damaged_voice_in_json_is_refused(change: dict, said: str, tmp_path: Path) -> None:
    save_codes(tmp_path / "codes.json", CODED)
    fields = json.loads((tmp_path / "codes.json").read_text()) | change
    with pytest.raises(BitstreamError, match=said):
        read_codes(json.dumps(fields).encode(), HEADER)


@pytest.mark.parametrize("form", FORMS)
def test_files_go_through_a_codec_with_a_voice_alone_and_in_batches(
    form: str, codec: HHCodec, clips: list[Path], tmp_path: Path
) -> None:
    for kind in ("alone", "batch"):
        step = len(clips) if kind == "batch" else 1
        coded = [Pair(clip, tmp_path / kind / f"{clip.stem}.{form}") for clip in clips]
        back = [Pair(pair.target, pair.target.with_suffix(".wav")) for pair in coded]
        again = [Pair(clip, tmp_path / kind / f"{clip.stem}_made.wav") for clip in clips]
        (tmp_path / kind).mkdir()
        for name, pairs in (("encode", coded), ("decode", back), ("reconstruct", again)):
            for start in range(0, len(pairs), step):
                for result in CONVERSIONS[name](codec, pairs[start : start + step]):
                    assert result.error is None, result.error
        for pair, made in zip(back, again, strict=True):
            assert pair.target.read_bytes() == made.target.read_bytes()
    for clip in clips:
        for name in (f"{clip.stem}.{form}", f"{clip.stem}.wav"):
            alone, batch = (tmp_path / kind / name for kind in ("alone", "batch"))
            assert form == "pt" or alone.read_bytes() == batch.read_bytes()
        found = load_codes(tmp_path / "batch" / f"{clip.stem}.{form}", stream_header(codec))
        own = codec.encode_voice(read_audio(clip, 24_000))
        assert found.header.voice is not None
        assert own is not None
        assert found.header.voice.tokens == tuple(own[0].tolist())


def test_npy_is_refused_before_any_work(
    codec: HHCodec, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HHCodec, "encode", None)
    for pairs in (
        [Pair(clips[0], tmp_path / "a.npy")],
        [Pair(c, c.with_suffix(".npy")) for c in clips],
    ):
        for result in CONVERSIONS["encode"](codec, pairs):
            assert "voice.tokens: expected 0 for .npy" in (result.error or "")


def test_codes_of_another_voice_or_of_none_are_refused(codec: HHCodec, tmp_path: Path) -> None:
    plain = tiny_codec()
    codes, samples = np.arange(3, dtype=np.uint16), 3000
    own = stream_header(codec, voice=np.zeros(8, dtype=np.int64))
    assert own.voice is not None
    cases = (
        (plain, own, "expected a stream without a voice code, got one with 8 tokens"),
        (codec, stream_header(codec), "with a voice code of 8 tokens, got none"),
        (codec, replace(own, voice=VOICE), "expected a voice code of .*00112233445566ff"),
        (codec, replace(own, voice=replace(own.voice, tokens=(1,))), "expected 8 voice tokens"),
    )
    for number, (reader, header, said) in enumerate(cases):
        path = tmp_path / f"{number}.hhc"
        header = replace(header, codec_fingerprint=reader.code_fingerprint)
        CodedRecording(header, codes, samples).save(path)
        with pytest.raises(BitstreamError, match=said):
            decode_recording(reader, Pair(path, tmp_path / "out.wav"))
        assert not (tmp_path / "out.wav").exists()


def test_recordings_and_streams_with_a_voice_are_verified(
    codec: HHCodec, clips: list[Path], tmp_path: Path
) -> None:
    found = verify_file(codec, clips[0])
    assert found.is_sound, found.reason
    assert found.checks["voice"]
    coded = Pair(clips[0], tmp_path / "a.hhc")
    assert CONVERSIONS["encode"](codec, [coded])[0].error is None
    assert verify_file(codec, coded.target).is_sound
    plain, state = tiny_codec(), codec.state_dict()
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    assert "without a voice code" in verify_file(plain, coded.target).reason


def test_a_long_recording_has_the_voice_of_its_first_window(codec: HHCodec) -> None:
    hop, count = codec.hop_length, WINDOW + 40
    samples = 0.05 * np.random.default_rng(0).normal(size=count * hop).astype(np.float32)

    def read(first: int, number: int) -> np.ndarray:
        return samples[first : first + number]

    voice = recording_voice(codec, read, len(samples))
    assert voice is not None
    samples[-30 * hop :] *= -1.0  # of the same level
    again = recording_voice(codec, read, len(samples))
    assert again is not None
    assert np.array_equal(again, voice)
    codes = np.concatenate(list(encode_stream(codec, read, len(samples))))
    pieces = [np.concatenate(list(decode_stream(codec, codes, len(samples), voice=v)))
              for v in (voice, 255 - voice)]  # fmt: skip
    assert len(pieces[0]) == len(samples)
    assert np.abs(pieces[0] - pieces[1])[-2000:].max() > 0
    with pytest.raises(ValueError, match="expected a voice of 8 integer tokens"):
        next(decode_stream(codec, codes, len(samples)))


def test_a_stream_decoder_takes_a_voice_before_the_first_code(codec: HHCodec) -> None:
    codes, voice = np.arange(20), np.arange(8)
    whole, _ = codec.decode(codes, voice=voice)
    stream = StreamDecoder(codec, before=40, after=40, voice=voice)
    made = np.concatenate([stream.push(codes), stream.finish()])
    torch.testing.assert_close(torch.from_numpy(made), whole[0], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="expected a voice of 8 integer tokens"):
        StreamDecoder(codec)
    with pytest.raises(ValueError, match="expected no voice"):
        StreamDecoder(tiny_codec(), voice=voice)

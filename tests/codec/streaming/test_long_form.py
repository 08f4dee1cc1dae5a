import numpy as np
import pytest
import soundfile
import torch

from codec import CodecConfig, HHCodec
from codec.bitstream.convert import recording
from codec.streaming.long_form import (
    WINDOW,
    decode_stream,
    encode_clip,
    encode_stream,
    encoding_gain,
    recording_level,
    windows,
)
from tests.support.codecs import tiny_codec


def tiny(**encoder) -> HHCodec:
    values = CodecConfig.preset("tiny").to_dict()
    values["loudness_dbfs"] = -23.0
    values["encoder"] |= encoder
    return tiny_codec(CodecConfig.from_dict(values))


@pytest.fixture(scope="module")
def codec() -> HHCodec:
    return tiny()


@pytest.fixture(scope="module")
def waveform(make_waveform):
    return make_waveform(6.0)


def reader(waveform):
    return lambda first, count: waveform[first : first + count]


def encoded(codec, waveform, **sizes):
    pieces = encode_stream(codec, reader(waveform), len(waveform), **sizes)
    return np.concatenate(list(pieces))


@pytest.mark.parametrize("num_codes", [1, 63, 64, 65, 80, 81, 97, 500])
@pytest.mark.parametrize("overlap", [0, 16, 31])
def test_windows_keep_every_code_once_with_the_overlap_on_both_sides(num_codes, overlap):
    found = windows(num_codes, 64, overlap)
    kept = [code for cut in found for code in range(cut.first, cut.last)]
    assert kept == list(range(num_codes))
    for cut in found:
        assert cut.stop - cut.start == min(64, num_codes)
        assert cut.start == 0 or cut.first - cut.start >= overlap
        assert cut.stop == num_codes or cut.stop - cut.last >= overlap


@pytest.mark.parametrize(("num_codes", "size", "overlap"), [(0, 8, 1), (9, 8, 4), (9, 8, -1)])
def test_windows_that_keep_nothing_are_refused(num_codes, size, overlap):
    with pytest.raises(ValueError, match=f"size {size}, overlap {overlap}"):
        windows(num_codes, size, overlap)


@pytest.mark.parametrize("num_samples", [1, 1025, 100_000, 144_000])
def test_a_recording_of_one_window_is_encoded_and_decoded_whole(codec, waveform, num_samples):
    clip = waveform[:num_samples]
    codes, _ = codec.encode(torch.from_numpy(clip)[None])
    assert encoded(codec, clip).tolist() == codes[0].tolist()
    pieces = list(decode_stream(codec, codes[0].numpy(), num_samples))
    whole, _ = codec.decode(codes, lengths=torch.tensor([num_samples]))
    np.testing.assert_array_equal(np.concatenate(pieces), whole[0])


@pytest.mark.parametrize("num_samples", [65 * 1024, 65 * 1024 - 1000, 140_000, 144_000])
def test_every_code_of_a_longer_one_is_there_and_is_that_of_its_window(
    codec, waveform, num_samples
):
    clip = waveform[:num_samples]
    sizes = {"size": 64, "overlap": 16}
    codes = encoded(codec, clip, **sizes)
    assert len(codes) == -(-num_samples // 1024)
    gain = encoding_gain(codec, recording_level(codec, reader(clip), num_samples))
    for cut in windows(len(codes), **sizes):
        part = clip[cut.start * 1024 : cut.stop * 1024] * np.float32(gain)
        part = np.pad(part, (0, 64 * 1024 - len(part)))
        window = codec.encode_scaled(torch.from_numpy(part)[None])[0]
        kept = window[cut.first - cut.start : cut.last - cut.start]
        assert codes[cut.first : cut.last].tolist() == kept.tolist()


def test_the_gain_is_that_of_the_whole_recording(codec, waveform):
    quiet = waveform * np.linspace(0.01, 1.0, len(waveform), dtype=np.float32)
    gain = encoding_gain(codec, recording_level(codec, reader(quiet), len(quiet)))
    whole = codec.scaled(torch.from_numpy(quiet)[None])[0]
    np.testing.assert_allclose(quiet * gain, whole, rtol=1e-5)
    assert encoding_gain(codec, recording_level(codec, reader(0 * quiet), len(quiet))) == 1.0


def test_an_encoder_that_sees_little_gives_the_codes_of_the_whole(waveform):
    """Without its attention, the tiny encoder sees 8 codes to either side: seams cannot show."""
    codec = tiny()
    blocks: list[torch.nn.Module] = [*codec.encoder.get_submodule("blocks").children()]
    codec.encoder.blocks = torch.nn.Sequential(
        *(block for block in blocks if type(block).__name__ != "AttentionBlock")
    )
    codes, _ = codec.encode(torch.from_numpy(waveform)[None])
    chunked = encoded(codec, waveform, size=64, overlap=16)
    assert np.mean(chunked == codes[0].numpy()) > 0.99


def test_codes_do_not_depend_on_how_the_file_is_stored_or_read(codec, tmp_path, waveform):
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, (32_767 * waveform).astype(np.int16), 24_000)
    found = []
    for name in ("a.wav", "a.flac"):
        num_samples, read = recording(tmp_path / name, 24_000)
        pieces = encode_stream(codec, read, num_samples, size=64, overlap=16)
        found.append(np.concatenate(list(pieces)))
        whole = read(0, num_samples)
        assert found[-1].tolist() == encoded(codec, whole, size=64, overlap=16).tolist()
    assert found[0].tolist() == found[1].tolist()


def test_no_more_than_a_window_is_asked_for_at_once(codec, waveform):
    asked = []

    def read(first, count):
        asked.append(count)
        return waveform[first : first + count]

    list(encode_stream(codec, read, len(waveform), size=64, overlap=16))
    assert max(asked[1:]) <= 64 * 1024


def test_samples_that_are_not_finite_are_refused(codec, waveform):
    bad = waveform.copy()
    bad[100_000] = np.nan
    with pytest.raises(ValueError, match="finite"):
        encoded(codec, bad, size=64, overlap=16)


@pytest.mark.parametrize("num_samples", [300 * 1024, 300 * 1024 - 700])
def test_a_long_stream_decodes_to_its_length_in_bounded_pieces(codec, num_samples):
    codes = np.random.default_rng(0).integers(0, 64, 300)
    pieces = list(decode_stream(codec, codes, num_samples, size=64, overlap=16))
    assert sum(map(len, pieces)) == num_samples
    assert max(map(len, pieces)) <= 65 * 1024
    assert np.isfinite(np.concatenate(pieces)).all()


def test_seams_do_not_click(codec):
    """The same code throughout, the steadiest sound there is: steps and level stay the same."""
    codes = np.full(300, 5)
    decoded = np.concatenate(list(decode_stream(codec, codes, 300 * 1024, size=64, overlap=16)))
    steps = np.abs(np.diff(decoded))[64 * 1024 : -64 * 1024].reshape(-1, 1)
    inner = np.abs(np.diff(decoded))[20 * 1024 : 30 * 1024].max()
    assert steps.max() <= 1.05 * inner


def test_the_vocoder_runs_on_as_if_it_saw_the_whole_mel(codec):
    from codec.streaming.long_form import _mels, _vocoded

    codes = np.random.default_rng(1).integers(0, 64, 300)
    mels = list(_mels(codec, codes, windows(300, 64, 16)))
    assert sum(mel.shape[-1] for mel in mels) == 1200
    whole = codec.vocoder(torch.cat(mels, dim=-1))[0]
    pieces = torch.cat(list(_vocoded(codec, iter(mels))))
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)


def test_away_from_seams_the_mel_is_that_of_a_window_alone(codec):
    from codec.streaming.long_form import FADE, _mels

    codes = np.random.default_rng(2).integers(0, 64, 200)
    mel = torch.cat(list(_mels(codec, codes, windows(200, 64, 16))), dim=-1)
    cut = windows(200, 64, 16)[1]
    alone = codec.decode_mel(torch.from_numpy(codes[cut.start : cut.stop])[None])
    first, last = cut.first + FADE, cut.last - FADE
    torch.testing.assert_close(
        mel[..., 4 * first : 4 * last],
        alone[..., 4 * (first - cut.start) : 4 * (last - cut.start)],
    )


def test_decoding_sizes_that_cannot_be_mixed_are_refused(codec):
    codes = np.zeros(100, dtype=np.int64)
    with pytest.raises(ValueError, match="overlap of 8"):
        list(decode_stream(codec, codes, 1000, size=64, overlap=4))
    with pytest.raises(ValueError, match=r"1\.\.102400"):
        list(decode_stream(codec, codes, 102_401, size=64, overlap=16))
    assert WINDOW == 1024


def test_a_clip_in_memory_gets_the_codes_of_its_file(codec, waveform, monkeypatch):
    whole = codec.encode(torch.from_numpy(waveform)[None])[0][0].numpy()
    np.testing.assert_array_equal(encode_clip(codec, waveform), whole)
    long = np.tile(waveform, 9)  # 54 s, beyond a window
    assert len(long) > WINDOW * codec.hop_length
    np.testing.assert_array_equal(encode_clip(codec, long), encoded(codec, long))
    with pytest.raises(ValueError, match=r"expected samples \(T,\), got shape \(0,\)"):
        encode_clip(codec, waveform[:0])


def test_the_gain_of_a_long_recording_is_that_of_its_speech(codec, waveform):
    amid = np.concatenate([np.zeros(600_000, np.float32), waveform, np.zeros(500_000, np.float32)])
    amid += np.float32(0.2)
    level = recording_level(codec, reader(amid), len(amid))
    whole = codec.scaled(torch.from_numpy(amid)[None])[0].numpy()
    gain = encoding_gain(codec, recording_level(codec, reader(amid), len(amid)))
    np.testing.assert_allclose((amid - np.float32(level.offset)) * gain, whole, atol=1e-5)
    assert codec.levels(torch.from_numpy(amid)[None]).tolist() == pytest.approx([level.dbfs])
    windowed = encoded(codec, amid, size=64, overlap=16)
    given = encode_stream(codec, reader(amid), len(amid), size=64, overlap=16, level=level)
    np.testing.assert_array_equal(windowed, np.concatenate(list(given)))


def test_a_recording_is_decoded_at_the_level_given(codec, waveform):
    codes = encoded(codec, waveform, size=64, overlap=16)
    for sizes in ({}, {"size": 64, "overlap": 16}):
        own = np.concatenate(list(decode_stream(codec, codes, len(waveform), **sizes)))
        pieces = decode_stream(codec, codes, len(waveform), **sizes, level_dbfs=-43.0)
        np.testing.assert_allclose(np.concatenate(list(pieces)), 0.1 * own, rtol=1e-5, atol=1e-8)

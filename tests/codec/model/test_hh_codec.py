from dataclasses import replace
from typing import Any

import pytest
import torch

from codec import CodecConfig, HHCodec
from tests.support.codecs import tiny_codec

LENGTHS = (1, 1023, 1024, 1025, 240_000)


@pytest.fixture(scope="module")
def codec():
    return tiny_codec()


@pytest.fixture(scope="module")
def clips(make_waveform):
    return [torch.from_numpy(make_waveform(seconds, seed=n)) for n, seconds in enumerate((1, 2, 3))]


def batch(clips, padding=0.0):
    lengths = torch.tensor([len(clip) for clip in clips])
    waveform = torch.full((len(clips), int(lengths.max()) + 500), padding)
    for row, clip in enumerate(clips):
        waveform[row, : len(clip)] = clip
    return waveform, lengths


@pytest.fixture(scope="module", params=["mel", "seanet"])
def varied(request):
    """A codec of each kind of encoder whose codes all come up in noise."""
    torch.manual_seed(0)
    values = CodecConfig.preset("tiny").to_dict()
    values["loudness_dbfs"] = -23.0
    if request.param == "seanet":
        values["encoder"] |= {"kind": "seanet", "channels": 16, "num_lstm_layers": 1}
    codec = HHCodec(CodecConfig.from_dict(values)).eval()
    with torch.no_grad():
        latents = codec.encoder(0.1 * torch.randn(4, 100 * 1024)).transpose(1, 2).flatten(0, 1)
    codec.quantizer.initialize(latents, seed=0)
    return codec.eval()


@pytest.mark.parametrize("seed", range(3))
def test_any_lengths_in_any_order_give_each_clip_its_own_codes(varied, seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 20_000, (5,), generator=generator)
    # two clips with the same number of codes
    lengths[:2] = lengths[1] // 1024 * 1024 + torch.randint(1, 1024, (2,), generator=generator)
    waveform = 0.1 * torch.randn(5, int(lengths.max()) + 700, generator=generator)
    codes, code_lengths = varied.encode(waveform, lengths)
    order = torch.randperm(5, generator=generator)
    shuffled, _ = varied.encode(waveform[order], lengths[order])
    assert codes.unique().numel() > 8
    for place, row in enumerate(order.tolist()):
        count = int(code_lengths[row])
        alone, _ = varied.encode(waveform[row : row + 1, : lengths[row]])
        assert torch.equal(codes[row, :count], alone[0])
        assert torch.equal(shuffled[place, :count], alone[0])
        assert (codes[row, count:] == 0).all()


def test_codes_are_the_same_alone_in_a_batch_and_padded(codec, clips):
    waveform, lengths = batch(clips)
    codes, code_lengths = codec.encode(waveform, lengths)
    assert codes.unique().numel() > 8
    for row, clip in enumerate(clips):
        alone, alone_lengths = codec.encode(clip[None])
        assert torch.equal(codes[row, : code_lengths[row]], alone[0])
        assert code_lengths[row] == alone_lengths[0]


def test_what_lies_beyond_a_clip_does_not_matter(codec, clips):
    silent, lengths = batch(clips)
    noisy, _ = batch(clips, padding=0.7)
    assert torch.equal(codec.encode(silent, lengths)[0], codec.encode(noisy, lengths)[0])


@pytest.mark.parametrize("length", LENGTHS)
def test_a_clip_comes_back_at_its_own_length(codec, length):
    waveform = 0.1 * torch.randn(1, length)
    codes, code_lengths = codec.encode(waveform)
    assert codes.shape == (1, -(-length // 1024))
    decoded, lengths = codec.decode(codes, code_lengths, torch.tensor([length]))
    assert decoded.shape == (1, length)
    assert lengths.tolist() == [length]
    assert torch.isfinite(decoded).all()


def test_a_batch_of_codes_decodes_as_each_row_alone(codec):
    codes = torch.randint(0, 64, (2, 9))
    together, lengths = codec.decode(codes, torch.tensor([9, 4]))
    alone, _ = codec.decode(codes[1:, :4])
    assert lengths.tolist() == [9 * 1024, 4 * 1024]
    assert torch.equal(together[1, : 4 * 1024], alone[0])
    assert together[1, 4 * 1024 :].abs().max() == 0


def test_codes_do_not_depend_on_recording_level(codec, clips):
    assert torch.equal(codec.encode(clips[0][None])[0], codec.encode(0.25 * clips[0][None])[0])


def test_the_paper_preset_encodes_and_decodes_with_a_centred_mel(make_waveform):
    values = CodecConfig.preset("tiny").to_dict()
    values["encoder"] |= {"kind": "seanet", "channels": 16, "num_lstm_layers": 1}
    values["mel"] |= {"padding": "center", "floor": 1e-7}
    codec = HHCodec(CodecConfig.from_dict(values)).eval()
    codes, _ = codec.encode(torch.from_numpy(make_waveform(0.5))[None])
    decoded, _ = codec.decode(codes, lengths=torch.tensor([12_000]))
    assert decoded.shape == (1, 12_000)


def test_rates_are_those_of_the_paper():
    codec = HHCodec(CodecConfig.preset("mini"))
    assert codec.frame_rate == 23.4375
    assert codec.bitrate == 304.6875
    assert sum(p.numel() for p in codec.parameters()) <= 15_000_000


def test_a_codec_in_training_codes_as_it_will_afterwards(clips):
    """Dropout made a decoder of the reference random until somebody remembered eval()."""
    values = CodecConfig.preset("tiny").to_dict()
    values["decoder"]["dropout"] = 0.5
    codec = HHCodec(CodecConfig.from_dict(values)).train()
    codec.encoder.eval()
    mean, clip = codec.quantizer.mean.clone(), clips[0][None]
    codes, _ = codec.encode(clip)
    decoded, _ = codec.decode(codes)
    assert (codec.training, codec.encoder.training, codec.decoder.training) == (True, False, True)
    assert torch.equal(codec.quantizer.mean, mean)
    codec.eval()
    assert torch.equal(codec.encode(clip)[0], codes)
    assert torch.equal(codec.decode(codes)[0], decoded)


@pytest.mark.parametrize(
    ("waveform", "lengths", "message"),
    [
        (torch.zeros(2, 2, 10), None, "B, T"),
        (torch.zeros(1, 10, dtype=torch.int64), None, "int16"),
        (torch.full((1, 10), float("nan")), None, "finite"),
        (torch.zeros(1, 0), None, "B, T"),
        (torch.zeros(2, 10), torch.tensor([5, 11]), "1..10"),
        (torch.zeros(2, 10), torch.tensor([5]), r"\(2,\)"),
    ],
)
def test_bad_waveforms_are_refused(codec, waveform, lengths, message):
    with pytest.raises(ValueError, match=message):
        codec.encode(waveform, lengths)


@pytest.mark.parametrize(
    ("codes", "lengths", "message"),
    [
        (torch.zeros(1, 3), None, "integer"),
        (torch.full((1, 3), 64), None, "0..63"),
        (torch.zeros(1, 3, dtype=torch.int64), torch.tensor([3073]), "3072"),
    ],
)
def test_bad_codes_are_refused(codec, codes, lengths, message):
    with pytest.raises(ValueError, match=message):
        codec.decode(codes, lengths=lengths)


def test_the_codec_that_comes_with_the_package_loads_by_name_and_speaks(make_waveform):
    codec = HHCodec.from_pretrained("hh-mini-24k")
    waveform = torch.from_numpy(make_waveform(1.0))[None]
    codes, lengths = codec.encode(waveform)
    decoded, _ = codec.decode(codes, lengths, torch.tensor([24_000]))
    assert next(codec.parameters()).dtype == torch.float32
    assert codes.unique().numel() > 10
    assert 0.02 < float(decoded.square().mean().sqrt()) < 0.2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_around_encode_changes_no_code(dtype):
    torch.manual_seed(0)
    codec = HHCodec.from_pretrained("hh-mini-24k")
    waveform = 0.1 * torch.randn(2, 24_000).cumsum(dim=1) / 30
    expected, _ = codec.encode(waveform)
    with torch.autocast("cpu", dtype=dtype):
        codes, _ = codec.encode(waveform)
        scaled = codec.encode_scaled(codec.scaled(waveform[:, : 20 * codec.hop_length]))
    assert codes.equal(expected)
    assert scaled.equal(codec.encode_scaled(codec.scaled(waveform[:, : 20 * codec.hop_length])))


def test_samples_whose_squares_overflow_are_scaled_like_others():
    torch.manual_seed(0)
    codec = HHCodec(replace(CodecConfig.preset("tiny"), loudness_dbfs=-23.0)).eval()
    waveform = torch.randn(1, 4096)
    torch.testing.assert_close(codec.scaled(waveform * 1e30), codec.scaled(waveform))


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32]
)
def test_codes_of_every_integer_type_decode_the_same(dtype):
    torch.manual_seed(0)
    codec = HHCodec(CodecConfig.preset("tiny")).eval()
    codes = torch.arange(12).view(2, 6)
    expected, _ = codec.decode(codes)
    assert codec.decode(codes.to(dtype))[0].equal(expected)


def test_input_of_another_kind_is_a_value_error():
    codec: Any = HHCodec(CodecConfig.preset("tiny")).eval()  # of any type, as callers may be wrong
    codes, waveform = torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 4096)
    for call, message in (
        (lambda: codec.decode(codes.bool()), "integer codes"),
        (lambda: codec.decode(codes.numpy().astype(str)), "integer codes .*U21"),
        (lambda: codec.encode("in.wav"), "got str; codec.read_audio"),
        (lambda: codec.encode([]), "empty list"),
        (lambda: codec.encode(None), "NoneType"),
        (lambda: codec.encode([[[0.1]], [[[0.1], [0.2]]]]), "lists within lists"),
        (lambda: codec.encode(waveform, torch.tensor([2.7])), "integer lengths"),
        (lambda: codec.encode(waveform, "3"), "integer lengths"),
        (lambda: codec.decode(codes, lengths=torch.tensor([True])), "integer lengths"),
        (lambda: codec.double().encode(waveform), "codec in float32"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_levels_are_measured_and_given_back(codec, clips):
    clip = clips[0][None]
    codes, code_lengths = codec.encode(clip)
    lengths = torch.tensor([clip.shape[1]])
    loud, soft = codec.levels(clip), codec.levels(0.1 * clip)
    assert soft.tolist() == pytest.approx((loud - 20).tolist(), abs=1e-3)
    own, _ = codec.decode(codes, code_lengths, lengths)
    given, _ = codec.decode(codes, code_lengths, lengths, levels=soft)
    gain = 10 ** ((float(soft) - codec.config.loudness_dbfs) / 20)
    torch.testing.assert_close(given, gain * own)
    assert codec.levels(0 * clip).tolist() == [-120.0]
    for wrong in (torch.zeros(2), torch.tensor([float("nan")])):
        with pytest.raises(ValueError, match="1 finite levels in dBFS"):
            codec.decode(codes, levels=wrong)


@torch.no_grad()
def test_speech_amid_silence_is_decoded_as_alone(make_waveform):
    codec = HHCodec.from_pretrained("hh-mini-24k")
    speech = torch.from_numpy(make_waveform(2.0))[None]
    codes, _ = codec.encode(speech)
    silence, _ = codec.encode(torch.zeros(1, 300 * codec.hop_length))
    amid = torch.cat([silence, codes, silence], dim=1)
    alone = codec.decode_mel(codes)
    # all but the codes next to the silence, to which it does belong
    inner, place = slice(24, 4 * codes.shape[1] - 24), slice(1224, 1176 + 4 * codes.shape[1])
    led = codec.decoder(codec.quantizer.decode(amid))[..., place]  # all codes count alike
    now = codec.decode_mel(amid)[..., place]
    led, now = led - alone[..., inner], now - alone[..., inner]
    assert float(now.abs().mean()) < 0.4 * float(led.abs().mean())
    # Where there is no more silence than in a clip, it is the decoder's own result to the bit.
    assert torch.equal(alone, codec.decoder(codec.quantizer.decode(codes)))


@pytest.mark.parametrize("pad", [36_000, 240_000])
def test_speech_amid_silence_is_scaled_as_alone(codec, make_waveform, pad):
    speech = torch.from_numpy(make_waveform(2.0))
    amid = torch.nn.functional.pad(speech, (pad, pad))
    alone, inside = codec.scaled(speech[None]), codec.scaled(amid[None])[:, pad : pad + len(speech)]
    assert float((inside.square().mean() / alone.square().mean()).log10()) * 10 == pytest.approx(
        0.0, abs=0.6
    )


@pytest.mark.parametrize("padding", ["same", "center"])
@pytest.mark.parametrize(
    ("hop_length", "ratios"), [(256, (4, 8, 8)), (512, (4, 8, 16)), (768, (3, 16, 16))], ids=str
)
def test_codes_span_any_number_of_mel_frames(hop_length, ratios, padding):
    """An odd number lost a code, and a clip of one code of 256 samples could not be mirrored."""
    tiny = CodecConfig.preset("tiny")
    sizes = replace(
        tiny,
        hop_length=hop_length,
        mel=replace(tiny.mel, padding=padding),
        encoder=replace(tiny.encoder, ratios=ratios),
    )
    codec = tiny_codec(sizes)
    for count in (1, 2, 5):
        waveform = 0.1 * torch.randn(1, count * hop_length - 7)
        codes, lengths = codec.encode(waveform)
        assert codes.shape == (1, count)
        decoded, _ = codec.decode(codes, lengths, [waveform.shape[1]])
        assert decoded.shape == waveform.shape
        assert decoded.isfinite().all()
    assert codec.reconstruct(0.1 * torch.randn(1, hop_length)).mel.isfinite().all()

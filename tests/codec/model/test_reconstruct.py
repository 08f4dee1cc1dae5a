from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from codec import CodecConfig, HHCodec

KINDS = ["simvq", "ema", "fsq"]


def make_codec(kind: str = "simvq", vocoder: str = "vocos", encoder: str = "mel") -> HHCodec:
    torch.manual_seed(0)
    values = CodecConfig.preset("tiny").to_dict()
    values["loudness_dbfs"] = -23.0
    values["quantizer"] |= {"kind": kind}
    if kind == "fsq":
        values["quantizer"] |= {"num_stages": 1, "levels": [4, 4, 4]}
    values["vocoder"]["kind"] = vocoder
    if encoder == "seanet":
        values["encoder"] |= {"kind": "seanet", "channels": 8, "num_lstm_layers": 1}
    codec = HHCodec(CodecConfig.from_dict(values)).eval()
    with torch.no_grad():
        latents = codec.encoder(0.1 * torch.randn(4, 50 * 1024)).transpose(1, 2).flatten(0, 1)
    codec.quantizer.initialize(latents, seed=0)
    codec.weights_changed()
    return codec


@pytest.fixture(scope="module")
def clip(make_waveform) -> torch.Tensor:
    return torch.from_numpy(make_waveform(0.3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("vocoder", ["vocos", "harmonic"])
def test_calling_a_codec_gives_what_encode_and_decode_give(clip, kind, vocoder):
    codec = make_codec(kind, vocoder)
    waveform = codec(clip)
    codes, _ = codec.encode(clip)
    decoded, _ = codec.decode(codes, lengths=[len(clip)], levels=codec.levels(clip))
    made = codec.reconstruct(clip)
    assert waveform.shape == clip.shape
    assert made.codes.equal(codes)
    torch.testing.assert_close(waveform[None], decoded, atol=1e-5, rtol=1e-4)


def test_shapes_come_back(clip):
    codec = make_codec()
    with torch.no_grad():
        expected = codec(clip)
        assert codec(clip[None]).equal(expected[None])
        assert codec(clip[None, None]).equal(expected[None, None])
        assert codec(clip.numpy()).equal(expected)
        assert codec([clip]).equal(expected[None])
        with pytest.raises(ValueError, match="of one length"):
            codec([clip, clip[:50]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_gradients_reach_waveform_and_weights(clip, kind, mode):
    codec = make_codec(kind).train(mode == "train")
    waveform = torch.stack([clip, 0.5 * clip.flip(0)]).requires_grad_()
    made = codec.reconstruct(waveform)
    (made.waveform.square().mean() + made.loss).backward()
    assert waveform.grad is not None
    assert torch.isfinite(waveform.grad).all()
    assert float(waveform.grad.abs().max()) > 0
    for part in ("encoder", "decoder", "vocoder"):
        grads = [value.grad for value in codec.get_submodule(part).parameters()]
        assert sum(grad is not None and bool(grad.abs().sum() > 0) for grad in grads) > 5


def test_a_step_along_the_gradient_lowers_a_loss_through_the_codec(clip):
    codec = make_codec()
    target = codec.vocoder.mel(clip[None, :6144])
    optimizer = torch.optim.Adam(codec.decoder.parameters(), 1e-3)
    losses = []
    for _ in range(8):
        loss = (codec.reconstruct(clip[:6144]).mel - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_a_codec_of_folded_weights_has_gradients(clip):
    codec = make_codec(encoder="seanet").remove_weight_norm()
    waveform = clip[:4096].clone().requires_grad_()
    codec(waveform).abs().mean().backward()
    assert float(waveform.grad.abs().max()) > 0
    assert codec.get_parameter("encoder.project.conv.weight").grad is not None


def test_the_level_of_a_clip_does_not_matter_and_comes_back(clip):
    codec = make_codec()
    with torch.no_grad():
        loud, soft = codec(clip), codec(0.01 * clip)
        torch.testing.assert_close(soft, 0.01 * loud, atol=1e-6, rtol=1e-3)
        assert torch.isfinite(codec(torch.zeros(2000))).all()


def test_encode_and_decode_stay_without_gradients(clip):
    codec = make_codec()
    waveform = clip.clone().requires_grad_()
    codes, _ = codec.encode(waveform)
    decoded, _ = codec.decode(codes)
    assert not decoded.requires_grad
    assert np.isfinite(decoded.numpy()).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("vocoder", ["vocos", "harmonic"])
def test_half_precision_keeps_every_code_and_nearly_the_sound(clip, dtype, vocoder):
    codec = make_codec(vocoder=vocoder)
    half = copy.deepcopy(codec).to(dtype)
    assert (half.dtype, half.device) == (dtype, torch.device("cpu"))
    assert half.encode(clip)[0].equal(codec.encode(clip)[0])
    assert half.code_fingerprint == codec.code_fingerprint
    assert half.fingerprint != codec.fingerprint
    codes, _ = codec.encode(clip)
    mels = codec.decode_mel(codes), half.decode_mel(codes)
    assert mels[1].dtype == torch.float32
    assert float((mels[0] - mels[1]).abs().mean()) < (0.01 if dtype == torch.float16 else 0.05)
    waveform, _ = half.decode(codes)
    assert waveform.dtype == torch.float32
    assert torch.isfinite(waveform).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_converted_codec_gives_gradients_and_is_saved(tmp_path, clip, dtype):
    codec = make_codec().to(dtype)
    waveform = clip.clone().requires_grad_()
    codec(waveform).square().mean().backward()
    assert torch.isfinite(waveform.grad).all()
    codec.save_pretrained(tmp_path)
    loaded = HHCodec.from_pretrained(tmp_path, dtype=dtype, device="cpu")
    assert loaded.fingerprint == codec.fingerprint
    # A language model may name the whole codec that it was trained with, as it was in fp32.
    assert HHCodec.from_pretrained(tmp_path).fingerprint in loaded.code_fingerprints
    codes, _ = codec.encode(clip)
    assert loaded.decode(codes)[0].equal(codec.decode(codes)[0])


def test_speech_amid_silence_goes_through_in_any_precision():
    codec = HHCodec.from_pretrained("hh-mini-24k", dtype="bfloat16")
    silence, _ = codec.encode(torch.zeros(60 * 1024))
    codes = torch.cat([silence, torch.randint(0, 8192, (1, 10))], dim=1)
    assert torch.isfinite(codec.decode(codes)[0]).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch.compile, on what it does not follow
def test_a_compiled_codec_gives_the_same_codes_samples_and_gradients(clip):
    codec = make_codec()
    quiet = torch.cat([torch.zeros(24_000), clip])
    compiled = torch.compile(codec, backend="eager")
    codes, lengths = codec.encode(quiet)
    assert torch.compile(codec.encode, backend="eager")(quiet)[0].equal(codes)
    decoded = torch.compile(codec.decode, backend="eager")(codes, lengths)[0]
    assert decoded.equal(codec.decode(codes, lengths)[0])
    gradients = []
    for model in (codec, compiled):
        given = quiet.clone().requires_grad_()
        model(given).square().sum().backward()
        assert given.grad is not None
        gradients.append(given.grad)
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("wanted", ["float64", torch.float64, "int8", "half"])
def test_another_precision_is_refused_before_anything_is_loaded(wanted):
    with pytest.raises(ValueError, match="float32, float16, bfloat16, got"):
        HHCodec.from_pretrained("nowhere", dtype=wanted)


def test_a_device_that_is_not_here_is_refused_before_anything_is_loaded():
    with pytest.raises(ValueError, match="device 'gpu' cannot be used"):
        HHCodec.from_pretrained("nowhere", device="gpu")

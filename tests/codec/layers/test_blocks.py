import pytest
import torch

from codec.layers.blocks import AttentionBlock, ConvNeXtBlock, ResidualConvBlock
from codec.model.config import CodecConfig
from codec.model.decoder import MelDecoder
from codec.model.encoder import CausalConv, build_encoder


@pytest.mark.parametrize(
    "block", [ConvNeXtBlock(64, 96, 0.5), ResidualConvBlock(64, 0.1), AttentionBlock(64)]
)
def test_a_block_keeps_the_shape_and_reaches_every_parameter(block):
    output = block(torch.randn(2, 64, 9))
    output.square().sum().backward()
    assert output.shape == (2, 64, 9)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())


def test_causal_convolution_never_looks_ahead():
    conv = CausalConv(3, 4, 8, 4)
    x = torch.randn(1, 3, 32)
    changed = x.clone()
    changed[..., 16:] += 1.0
    torch.testing.assert_close(conv(x)[..., :4], conv(changed)[..., :4])
    assert not torch.equal(conv(x)[..., 4:], conv(changed)[..., 4:])


@pytest.mark.parametrize("length", [4, 8, 32])
def test_causal_padding_is_the_reflection_of_the_input(length):
    """Codes of stored corpora rest on it: the faster way must give the very same values."""
    conv = CausalConv(3, 4, 8, 4)
    x = torch.randn(2, 3, length)
    mode = "reflect" if length > 4 else "constant"
    padded = torch.nn.functional.pad(x, (4, 0), mode=mode)
    assert torch.equal(conv(x), conv.conv(padded))


def test_hh_24khz_has_the_sizes_of_the_paper():
    """Figures of the reference implementation: 17.1 M encoder, 61.9 M backbone, 0.3 M head."""
    config = CodecConfig.preset("hh_24khz")

    def count(module):
        return sum(p.numel() for p in module.parameters())

    with torch.device("meta"):  # sizes need no 330 MB of weights
        decoder, encoder = MelDecoder(config), build_encoder(config)
    assert count(encoder) == 17_142_272
    assert count(decoder.upsample) == 307_300
    assert count(decoder) - count(decoder.upsample) == 61_901_568


@pytest.mark.parametrize("kind", ["seanet", "mel"])
def test_an_encoder_gives_one_latent_every_hop(kind):
    values = CodecConfig.preset("tiny").to_dict()
    values["encoder"] |= {"kind": kind, "channels": 32, "num_lstm_layers": 1}
    config = CodecConfig.from_dict(values)
    for frames in (1, 2, 7):
        latents = build_encoder(config)(torch.randn(2, frames * 1024))
        assert latents.shape == (2, config.quantizer.dim, frames)


def test_the_decoder_gives_four_mel_frames_a_code():
    config = CodecConfig.preset("tiny")
    mel = MelDecoder(config)(torch.randn(2, config.quantizer.dim, 5))
    assert mel.shape == (2, 100, 20)


def test_the_lstm_is_computed_in_fp32_under_autocast():
    """Its library takes fp16 under autocast whatever the type, and training scales no loss."""
    values = CodecConfig.preset("tiny").to_dict()
    values["encoder"] |= {"kind": "seanet", "channels": 2, "num_lstm_layers": 1}
    encoder = build_encoder(CodecConfig.from_dict(values))
    seen = []
    lstm = encoder.get_submodule("lstm")
    lstm.register_forward_hook(lambda _, given, made: seen.append((given[0], made[0])))
    with torch.autocast("cpu", torch.bfloat16):
        latents = encoder(torch.randn(1, 4096))
    given, made = seen[0]
    assert given.dtype == made.dtype == torch.float32
    assert latents.dtype == torch.bfloat16
    assert torch.equal(made, lstm(given)[0])

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.layers.attention import RotaryBlock, near, rotary_blocks, rotated

TINY = CodecConfig.preset("tiny")
TWO = {"attention_layers": 2, "attention_heads": 2}


def block(window: int = 0) -> RotaryBlock:
    torch.manual_seed(0)
    made = RotaryBlock(16, 2, window, 1.0)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def test_scores_depend_on_the_difference_of_two_positions() -> None:
    query, key = torch.randn(2, 1, 1, 1, 8)
    moved = torch.zeros(1, 1, 40, 8)
    scores = []
    for at in (3, 21):
        queries, keys = moved.clone(), moved.clone()
        queries[..., at, :], keys[..., at + 7, :] = query[..., 0, :], key[..., 0, :]
        scores.append((rotated(queries) @ rotated(keys).transpose(-1, -2))[..., at, at + 7])
    torch.testing.assert_close(scores[0], scores[1], atol=1e-5, rtol=1e-5)
    unturned = (query * key).sum()
    assert abs(float(scores[0]) - float(unturned)) > 1e-3


def test_the_order_of_frames_counts() -> None:
    x = torch.randn(1, 16, 12)
    with torch.no_grad():
        turned = block()(x.flip(-1)).flip(-1)
        assert not torch.allclose(block()(x), turned, atol=1e-3)


def test_a_window_hides_what_is_beyond_it() -> None:
    assert near(5, 1, torch.device("cpu")).sum().item() == 13
    x = torch.randn(1, 16, 20)
    other = x.clone()
    other[..., 15] *= -1.0  # a sum with a constant would be taken out by the layer norm
    with torch.no_grad():
        local, whole = block(window=3), block()
        assert torch.equal(local(x)[..., :12], local(other)[..., :12])
        assert not torch.allclose(local(x)[..., 12:], local(other)[..., 12:])
        assert not torch.allclose(whole(x)[..., :12], whole(other)[..., :12])


@pytest.mark.parametrize("window", [0, 3])
def test_attention_with_a_gradient_is_that_without(window: int) -> None:
    attend, x = block(window), torch.randn(2, 16, 20)
    with_gradient = attend(x)
    assert with_gradient.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(attend(x), with_gradient, atol=1e-5, rtol=1e-4)


def test_no_layers_are_the_identity_and_have_no_weights() -> None:
    blocks = rotary_blocks(15, 0, 8, 0)
    x = torch.randn(1, 15, 4)
    assert torch.equal(blocks(x), x)
    assert not blocks.state_dict()


@pytest.mark.parametrize("kind", ["mel", "seanet"])
def test_a_codec_with_attention_trains_and_is_loaded_again(kind: str, tmp_path: Path) -> None:
    encoder = replace(TINY.encoder, kind=kind, channels=4, num_lstm_layers=1, **TWO)
    config = replace(TINY, encoder=encoder, decoder=replace(TINY.decoder, **TWO))
    codec = HHCodec(config)
    waveform = 0.1 * torch.randn(1, 8192)
    codec.decoder(codec.quantizer(codec.encoder(waveform)).quantized).sum().backward()
    for part in (codec.encoder, codec.decoder):
        gradient = part.get_parameter("attention.0.query_key_value.weight").grad
        assert gradient is not None
        assert gradient.abs().sum() > 0
    codec.eval().save_pretrained(tmp_path)
    codes, _ = codec.encode(waveform)
    assert torch.equal(HHCodec.from_pretrained(tmp_path).encode(waveform)[0], codes)


def test_weights_and_fingerprint_of_a_codec_without_attention_stay() -> None:
    values = TINY.to_dict()
    for name in ("attention_layers", "attention_heads", "attention_window"):
        del values["encoder"][name], values["decoder"][name]
    for name in ("levels", "entropy"):
        del values["quantizer"][name]
    earlier = CodecConfig.from_dict(values)
    assert earlier == TINY
    assert "attention_layers" not in TINY.fingerprint_values["encoder"]
    assert not any("attention" in name for name in HHCodec(TINY).state_dict())


@pytest.mark.parametrize(
    ("part", "values", "field"),
    [
        ("encoder", {"attention_layers": -1}, "attention_layers"),
        ("encoder", {"attention_layers": 1, "attention_heads": 3}, "attention_heads"),
        ("decoder", {"attention_layers": 1, "attention_heads": 64}, "attention_heads"),
        ("decoder", {"attention_window": -1}, "attention_window"),
        ("decoder", {"num_refine_layers": -1}, "num_refine_layers"),
    ],
)
def test_attention_that_does_not_fit_is_refused(
    part: str, values: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValueError, match=f"{part}.{field}: expected"):
        replace(getattr(TINY, part), **values)


def test_more_blocks_behind_the_upsampling_keep_the_shape_of_the_mel() -> None:
    codec = HHCodec(
        replace(TINY, decoder=replace(TINY.decoder, num_refine_layers=5, refine_dim=48))
    )
    assert codec.decoder(torch.randn(1, 8, 6)).shape == (1, 100, 24)
    assert sum(1 for _ in codec.decoder.refine) == 6

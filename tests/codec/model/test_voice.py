from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.model.config import CodecConfigError, EncoderConfig
from codec.model.voice import Voice, VoiceCode
from codec.model.voice_config import VoiceConfig
from tests.support.codecs import tiny_codec, voiced_codec

TINY = CodecConfig.preset("tiny")
HOP = TINY.hop_length


def noise(seconds_of_codes: int, seed: int = 0) -> torch.Tensor:
    """(T,) noise of a level and colour that the seed decides on."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(seconds_of_codes * HOP, generator=generator)
    return 0.05 * (white + seed * torch.roll(white, 1))


def voice_of(codec: HHCodec, clips: Any) -> torch.Tensor:
    found = codec.encode_voice(clips)
    assert found is not None
    return found


def test_the_shipped_configs_have_no_voice_and_their_fingerprints_stay() -> None:
    for name in ("hh_24khz", "hh_24khz_bigvgan", "mini", "tiny"):
        config = CodecConfig.preset(name)
        assert config.voice.tokens == 0
        assert "voice" not in config.fingerprint_values
    # Sizes of a voice that is not there tell nothing.
    assert replace(TINY, voice=VoiceConfig(dim=32)).fingerprint_values == TINY.fingerprint_values
    found = replace(TINY, voice=VoiceConfig(tokens=8)).fingerprint_values["voice"]
    assert found == {"tokens": 8, "levels": [4, 4, 4, 4], "dim": 128, "entropy": 0.1}
    codec = tiny_codec()
    assert not codec.has_voice
    assert codec.voice_fingerprint is None
    assert codec.encode_voice(noise(4)) is None
    assert not [name for name in codec.state_dict() if "voice" in name or "film" in name]


def test_a_new_voice_leaves_the_decoder_as_it_was() -> None:
    plain, voiced = tiny_codec(), voiced_codec(learnt=False)
    voiced.load_state_dict(plain.state_dict(), strict=False)
    codes, lengths = plain.encode(noise(6))
    assert torch.equal(voiced.encode(noise(6))[0], codes)
    before, _ = plain.decode(codes, lengths)
    for voice in (torch.zeros(8, dtype=torch.int64), torch.full((1, 8), 255)):
        assert torch.equal(voiced.decode(codes, lengths, voice=voice)[0], before)
    # Codes are the same, and so is their name; the voice has one of its own.
    assert voiced.code_fingerprint == plain.code_fingerprint
    assert voiced.fingerprint != plain.fingerprint
    assert len(voiced.voice_fingerprint or "") == 16


def test_a_voice_is_tokens_that_do_not_depend_on_the_batch() -> None:
    codec, clips = voiced_codec(), [noise(5, 1)[:-300], noise(9, 2), noise(9, 3)]
    voices = voice_of(codec, clips)
    assert (voices.dtype, voices.shape) == (torch.int64, (3, 8))
    assert 0 <= int(voices.min()) <= int(voices.max()) < 256
    assert len(voices.unique(dim=0)) == 3
    for clip, row in zip(clips, voices, strict=True):
        assert torch.equal(voice_of(codec, clip), row[None])
        # The level is the codec's, as for codes.
        assert torch.equal(voice_of(codec, 0.25 * clip), row[None])


def test_recordings_that_share_most_of_their_states_are_told_apart() -> None:
    """All had one voice, the cell of what they share, and training could not leave it."""
    torch.manual_seed(0)
    code = VoiceCode(VoiceConfig(tokens=8, dim=32), state_dim=16)
    own = 0.02 * torch.randn(64, 1, 16)
    states = torch.randn(16) + own + 0.1 * torch.randn(64, 20, 16)
    assert len(code.eval().encode(states).unique(dim=0)) < 8
    for batch in states.split(8) * 4:
        code.train()(batch)
    tokens = code.eval().encode(states)
    assert len(tokens.unique(dim=0)) > 60
    assert all(len(each.unique()) > 16 for each in tokens.unbind(1))
    # Coding takes nothing into the statistics.
    assert torch.equal(code.encode(states), tokens)
    assert torch.equal(code(states[:1]).tokens, tokens[:1])


def test_another_voice_is_another_sound_of_the_same_codes() -> None:
    codec = voiced_codec()
    codes, _ = codec.encode([noise(5, 1), noise(5, 2)])
    voices = voice_of(codec, [noise(5, 1), noise(5, 2)])
    own, _ = codec.decode(codes, voice=voices)
    one, _ = codec.decode(codes, voice=voices[0].tolist())
    assert torch.equal(own[0], one[0])
    assert not torch.equal(own[1], one[1])
    assert torch.equal(codec.decode(codes[:1], voice=voices[0].numpy())[0][0], own[0])


@pytest.mark.parametrize(
    ("voice", "said"),
    [
        (None, "got none"),
        ([1] * 7, r"got torch.int64 \(7,\)"),
        ([[1] * 8] * 3, r"got torch.int64 \(3, 8\)"),
        ([0.5] * 8, r"got torch.float32 \(8,\)"),
        ([256] + [0] * 7, r"got 0\.\.256"),
        ([-1] + [0] * 7, r"got -1\.\.0"),
        ("a voice", "got str"),
    ],
)
def test_decoding_refuses_what_is_no_voice(voice: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"expected a voice of 8 integer tokens in 0..255.*{said}"):
        voiced_codec().decode([[1, 2], [3, 4]], voice=voice)


def test_a_codec_without_a_voice_refuses_one() -> None:
    for call in (tiny_codec().decode, tiny_codec().decode_mel):
        with pytest.raises(ValueError, match="expected no voice for a codec without a voice code"):
            call(torch.tensor([[1, 2]]), voice=[0] * 8)
    with pytest.raises(ValueError, match="expected a codec with a voice code"):
        tiny_codec().encode_voice_scaled(torch.zeros(1, HOP))


def test_a_mostly_silent_clip_keeps_its_voice() -> None:
    """It is decoded a second time, a row at a time."""
    codec = voiced_codec()
    clips = torch.zeros(2, 60 * HOP)
    clips[0, : 4 * HOP], clips[1, : 60 * HOP] = noise(4, 1), noise(60, 2)
    codes, voices = codec.encode(clips)[0], voice_of(codec, clips)
    together, _ = codec.decode(codes, voice=voices)
    for row in range(2):
        alone, _ = codec.decode(codes[row : row + 1], voice=voices[row])
        assert torch.equal(together[row], alone[0])


@pytest.mark.parametrize("kind", ["mel", "seanet"])
def test_gradients_reach_all_of_a_voice_and_the_encoder(kind: str) -> None:
    small = EncoderConfig(kind="seanet", channels=4, num_lstm_layers=1)
    config = TINY if kind == "mel" else replace(TINY, encoder=small)
    codec = voiced_codec(config).train()
    codec.quantizer.requires_grad_(False)
    found = codec.reconstruct(noise(6)[None])
    assert found.voice is not None
    assert found.voice.shape == (1, 8)
    found.mel.square().mean().backward()
    for name, parameter in codec.decoder.named_parameters():
        if name.startswith(("voice.", "film.")):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
    assert all(p.grad is not None for p in codec.encoder.parameters())


def test_reconstruction_is_encoding_and_decoding() -> None:
    codec, clip = voiced_codec(replace(TINY, loudness_dbfs=None)), noise(6, 3)
    found = codec.reconstruct(clip)
    assert found.voice is not None
    assert torch.equal(found.voice, voice_of(codec, clip))
    decoded, _ = codec.decode(codec.encode(clip)[0], voice=found.voice)
    torch.testing.assert_close(found.waveform.detach(), decoded, atol=1e-5, rtol=1e-4)


def test_the_vectors_of_training_are_those_of_the_tokens() -> None:
    torch.manual_seed(0)
    code = VoiceCode(VoiceConfig(tokens=3, dim=16), 10)
    states = torch.randn(4, 7, 10)
    found = code(states)
    assert isinstance(found, Voice)
    assert found.vectors.shape == (4, 16, 3)
    assert torch.equal(found.tokens, code.encode(states))
    assert torch.equal(found.vectors, code.vectors(found.tokens))
    assert -0.1 <= found.loss.item() <= 0.1


def test_tokens_are_the_same_in_half_precision() -> None:
    codec = voiced_codec()
    voice, name = voice_of(codec, noise(6)), codec.voice_fingerprint
    codec.to(torch.bfloat16)
    assert torch.equal(voice_of(codec, noise(6)), voice)
    assert codec.voice_fingerprint == name
    made, _ = codec.decode([[1, 2, 3]], voice=voice)
    assert made.isfinite().all()


def test_a_stored_codec_keeps_its_voice(tmp_path: Path) -> None:
    codec = voiced_codec()
    codec.save_pretrained(tmp_path)
    loaded = HHCodec.from_pretrained(tmp_path)
    assert loaded.config == codec.config
    assert loaded.config.voice.tokens == 8
    assert loaded.voice_fingerprint == codec.voice_fingerprint
    assert torch.equal(voice_of(loaded, noise(6)), voice_of(codec, noise(6)))
    # Other weights of the decoder alone leave the voice's name, those of the voice do not.
    with torch.no_grad():
        loaded.decoder.embed.weight.mul_(2)
        loaded.weights_changed()
        assert loaded.voice_fingerprint == codec.voice_fingerprint
        loaded.get_parameter("decoder.voice.head.weight").mul_(2)
        loaded.weights_changed()
    assert loaded.voice_fingerprint != codec.voice_fingerprint
    assert loaded.code_fingerprint == codec.code_fingerprint


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tokens": -1}, "voice.tokens: expected 0..255, got -1"),
        ({"tokens": 256}, "voice.tokens: expected 0..255, got 256"),
        ({"levels": ()}, "voice.levels: expected 2 or more each, product up to 65536"),
        ({"levels": (4, 1)}, "voice.levels"),
        ({"levels": (256, 257)}, "voice.levels"),
        ({"dim": 3}, "voice.dim: expected"),
        ({"entropy": -1.0}, "voice.entropy: expected 0 or more"),
        ({"entropy": float("nan")}, "voice.entropy"),
    ],
)
def test_a_voice_that_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(CodecConfigError, match=said):
        VoiceConfig(**settings)
    with pytest.raises(CodecConfigError):
        CodecConfig.from_dict({"voice": settings})


def test_a_decoder_without_blocks_has_no_room_for_a_voice() -> None:
    with pytest.raises(CodecConfigError, match=r"decoder\.num_layers"):
        replace(TINY, decoder=replace(TINY.decoder, num_layers=0), voice=VoiceConfig(tokens=1))

from dataclasses import replace

import numpy as np
import pytest
import torch

from codec import CodecConfig, HHCodec, StreamDecoder
from codec.model.config import VocoderConfig
from codec.model.harmonic_vocoder import CENTRE_OCTAVE, HarmonicGenerator
from codec.streaming.long_form import decode_stream
from codec.streaming.stream_decoder import CONTEXT, StreamingVocoder
from tests.support.codecs import tiny_codec

TINY = CodecConfig.preset("tiny")
HARMONIC = VocoderConfig(
    kind="harmonic", dim=32, intermediate_dim=64, num_layers=1, pitch_dim=16, pitch_layers=1
)


def made(vocoder: VocoderConfig) -> HHCodec:
    return tiny_codec(replace(TINY, vocoder=vocoder))


def pitch_of(codec: HHCodec) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of the last layer of the pitch network."""
    assert isinstance(codec.vocoder.generator, HarmonicGenerator)
    out = codec.vocoder.generator.pitch.out
    assert out.bias is not None
    return out.weight, out.bias


@pytest.fixture(scope="module")
def harmonic() -> HHCodec:
    """Voiced here and not there, at a pitch that moves: easy to get out of step with."""
    codec = made(HARMONIC)
    weight, bias = pitch_of(codec)
    mel = codec.decode_mel(torch.from_numpy(random_codes(60))[None])
    with torch.no_grad():
        weight.mul_(20.0)
        bias[1] -= codec.vocoder.pitch(mel)[1].quantile(0.3)
    return codec


@pytest.fixture(scope="module")
def monotone() -> HHCodec:
    """Always voiced, at a pitch of 160 Hz whatever the mel."""
    codec = made(HARMONIC)
    weight, bias = pitch_of(codec)
    with torch.no_grad():
        weight.zero_()
        bias.copy_(torch.tensor([np.log2(160.0) - CENTRE_OCTAVE, 1.0]))
    return codec


@pytest.fixture(scope="module")
def vocos() -> HHCodec:
    return made(TINY.vocoder)


def random_codes(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 64, count)


def whole_of(codec: HHCodec, codes: np.ndarray) -> np.ndarray:
    return codec.decode(torch.from_numpy(codes)[None])[0][0].numpy()


def streamed(codec: HHCodec, codes: np.ndarray, **sizes: int) -> list[np.ndarray]:
    decoder = StreamDecoder(codec, **sizes)
    pieces = [decoder.push(codes[index : index + 1]) for index in range(len(codes))]
    return [piece for piece in (*pieces, decoder.finish()) if len(piece)]


def jumps(waveform: np.ndarray, pieces: list[np.ndarray]) -> np.ndarray:
    """Steps from the last sample of a piece to the first of the next."""
    ends = np.cumsum([len(piece) for piece in pieces])[:-1]
    return np.abs(waveform[ends] - waveform[ends - 1])


def test_the_source_of_these_tests_is_voiced_here_and_not_there(harmonic: HHCodec) -> None:
    mel = harmonic.decode_mel(torch.from_numpy(random_codes(60))[None])
    octaves, voicing = harmonic.vocoder.pitch(mel)
    assert 0.6 < (voicing > 0).float().mean() < 0.8
    assert octaves.std() > 0.05


@pytest.mark.parametrize("kind", ["harmonic", "vocos"])
def test_with_context_beyond_all_codes_a_stream_is_the_whole(
    kind: str, request: pytest.FixtureRequest
) -> None:
    codec, codes = request.getfixturevalue(kind), random_codes(60)
    pieces = streamed(codec, codes, chunk=3, before=60, after=60)
    np.testing.assert_allclose(np.concatenate(pieces), whole_of(codec, codes), atol=1e-4)


@pytest.mark.parametrize("kind", ["harmonic", "vocos"])
def test_a_vocoder_in_pieces_of_any_length_is_that_of_the_whole_mel(
    kind: str, request: pytest.FixtureRequest
) -> None:
    codec: HHCodec = request.getfixturevalue(kind)
    mel = codec.decode_mel(torch.from_numpy(random_codes(150))[None])  # 600 frames
    streaming, pieces, start = StreamingVocoder(codec.vocoder), [], 0
    for count in (1, 2, 3, 70, 200, 24, 300):
        stop = start + count
        pieces.append(streaming.push(mel[..., start:stop], mel[..., stop : stop + CONTEXT]))
        start = stop
    with torch.no_grad():
        whole = codec.vocoder(mel)[0]
    difference = torch.cat(pieces) - whole
    # Convolutions of another length round otherwise, and by how much depends on the processor. A
    # pitch that is off by one step of float32, 6e-8 of its octaves, throughout, turns the phase of
    # the pulses so far that samples beside a pulse change by up to 5e-3 and all by 8e-5 in the mean
    # (of 1.5e-2). A phase or noise that begins anew with a piece is wrong by more than a tenth.
    assert difference.abs().max() < 5e-3
    assert difference.square().mean().sqrt() < 8e-5


def test_a_voice_of_one_pitch_is_that_of_the_whole_after_every_seam(monotone: HHCodec) -> None:
    """A phase or a noise that began anew with each piece would make it another waveform."""
    codes = random_codes(120)
    pieces, whole = streamed(monotone, codes), whole_of(monotone, codes)
    assert len(pieces) > 15
    difference = np.concatenate(pieces) - whole
    assert np.sqrt(np.mean(difference**2)) < 0.1 * np.sqrt(np.mean(whole**2))


def test_a_voice_that_never_pauses_keeps_its_phase_in_a_long_recording(monotone: HHCodec) -> None:
    """Its windows are shorter than it is voiced."""
    codes, sizes = random_codes(400), {"size": 128, "overlap": 32}
    pieces = list(decode_stream(monotone, codes, 400 * monotone.hop_length, **sizes))
    difference = np.concatenate(pieces) - whole_of(monotone, codes)
    assert np.sqrt(np.mean(difference**2)) < 0.1 * np.sqrt(np.mean(whole_of(monotone, codes) ** 2))


@pytest.mark.parametrize("kind", ["harmonic", "monotone", "vocos"])
@pytest.mark.parametrize("sizes", [{}, {"chunk": 2, "before": 48, "after": 4}])
def test_a_stream_with_little_context_jumps_at_no_seam(
    kind: str, sizes: dict[str, int], request: pytest.FixtureRequest
) -> None:
    codec, codes = request.getfixturevalue(kind), random_codes(120)
    whole, pieces = whole_of(codec, codes), streamed(codec, codes, **sizes)
    stream = np.concatenate(pieces)
    assert len(stream) == len(whole)
    assert jumps(stream, pieces).max() <= np.abs(np.diff(whole)).max()


def test_a_stream_with_little_context_sounds_like_the_whole(monotone: HHCodec) -> None:
    codes = random_codes(120)
    both = np.concatenate(streamed(monotone, codes)), whole_of(monotone, codes)
    mels = [monotone.vocoder.mel(torch.from_numpy(waveform)[None]) for waveform in both]
    assert (mels[0] - mels[1]).abs().mean() < 0.1  # nats


def test_what_comes_when(harmonic: HHCodec) -> None:
    codes, hop = random_codes(20), harmonic.hop_length
    decoder = StreamDecoder(harmonic, chunk=3, before=8, after=2)
    lengths = [len(decoder.push(codes[index : index + 1])) for index in range(9)]
    assert lengths == [0, 0, 0, 0, 3 * hop, 0, 0, 3 * hop, 0]
    assert len(decoder.push(codes[9:])) == 12 * hop
    assert len(decoder.finish()) == 2 * hop
    assert len(StreamDecoder(harmonic).finish()) == 0
    with pytest.raises(ValueError, match="chunk >= 1"):
        StreamDecoder(harmonic, chunk=0)
    with pytest.raises(ValueError, match="contexts >= 0"):
        StreamDecoder(harmonic, after=-1)


def test_an_unknown_code_is_refused(harmonic: HHCodec) -> None:
    with pytest.raises(ValueError, match=r"0\.\.63"):
        StreamDecoder(harmonic, chunk=1, after=0).push(np.array([64]))

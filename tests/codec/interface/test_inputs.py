from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from codec import HHCodec
from tests.support.codecs import tiny_codec


@pytest.fixture(scope="module")
def codec() -> HHCodec:
    return tiny_codec()


@pytest.fixture(scope="module")
def clip(make_waveform) -> torch.Tensor:
    return torch.from_numpy(make_waveform(0.2))


FORMS: dict[str, Any] = {
    "samples": lambda clip: clip,
    "channel": lambda clip: clip[None, None],
    "array": lambda clip: clip.numpy(),
    "array of clips": lambda clip: clip[None].numpy(),
    "read-only array": lambda clip: np.frombuffer(clip.numpy().tobytes(), np.float32),
    "reversed view": lambda clip: clip.numpy()[::-1].copy()[::-1],
    "big-endian array": lambda clip: clip.numpy().astype(">f4"),
    "numbers": lambda clip: clip.tolist(),
    "list of numbers in lists": lambda clip: [clip.tolist()],
    "list of tensors": lambda clip: [clip],
    "tuple of channels": lambda clip: (clip[None].numpy(),),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_clip_gives_the_same_codes_however_it_is_held(codec, clip, form):
    expected, lengths = codec.encode(clip[None])
    codes, code_lengths = codec.encode(FORMS[form](clip))
    assert codes.equal(expected)
    assert code_lengths.equal(lengths)


@pytest.mark.parametrize(("dtype", "scale"), [("int16", 1 << 15), ("int32", 1 << 31)])
def test_pcm_is_scaled_by_its_full_scale(codec, clip, dtype, scale):
    pcm = (clip.double().numpy() * 0.9 * (1 << 15)).astype(np.int16).astype(dtype)
    pcm *= scale >> 15
    floats = pcm.astype(np.float64) / scale
    level = codec.levels(floats.astype(np.float32)[None])
    for given in (pcm, torch.from_numpy(pcm), [pcm]):
        assert codec.levels(given).equal(level)
        assert codec.encode(given)[0].equal(codec.encode(floats.astype(np.float32))[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_samples_of_another_precision_are_taken(codec, clip, dtype):
    expected, _ = codec.encode(clip.to(dtype).float())
    assert codec.encode(clip.to(dtype))[0].equal(expected)


def test_a_ragged_list_is_padded_with_its_lengths(codec, clip):
    clips: list[Any] = [clip[:3000], clip[None, :4097].numpy(), clip[:1].tolist()]
    codes, code_lengths = codec.encode(clips)
    assert code_lengths.tolist() == [3, 5, 1]
    for row, given in enumerate(clips):
        alone, _ = codec.encode(given)
        assert codes[row, : code_lengths[row]].equal(alone[0])
        assert (codes[row, code_lengths[row] :] == 0).all()
    shorter, counts = codec.encode(clips, [3000, 1024, 1])
    assert counts.tolist() == [3, 1, 1]
    assert shorter[1, :1].equal(codec.encode(clip[:1024])[0][0])
    with pytest.raises(ValueError, match=r"1\.\.\[3000, 4097, 1\]"):
        codec.encode(clips, [3000, 4097, 2])


def test_codes_decode_the_same_however_they_are_held(codec):
    codes = torch.arange(6)
    expected, lengths = codec.decode(codes[None])
    for given in (
        codes,
        codes[None, None],
        codes.numpy(),
        codes.tolist(),
        [codes],
        [codes.tolist()],
    ):
        waveform, found = codec.decode(given)
        assert waveform.equal(expected)
        assert found.equal(lengths)


def test_ragged_codes_decode_each_alone(codec):
    rows = [np.arange(5, dtype=np.uint16), [7, 8]]
    waveform, lengths = codec.decode(rows)
    assert lengths.tolist() == [5 * 1024, 2 * 1024]
    for row, codes in enumerate(rows):
        assert waveform[row, : lengths[row]].equal(codec.decode(codes)[0][0])
    assert codec.decode(rows, lengths=[5000, 1])[1].tolist() == [5000, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2000, 2), np.float32), "samples by channels"),
        (np.zeros((2, 2, 50), np.float32), r"\(B, 1, T\).* got .*\(2, 2, 50\)"),
        (np.zeros(0, np.float32), r"got torch.float32 \(1, 0\)"),
        (np.full(9, 1e200), "finite samples"),
        (np.zeros(5, np.complex64), "int16 or int32 ones, got torch.complex64"),
        (np.array(["a"]), "array of <U1"),
        ([0, 1, 0], "int16 or int32 ones, got torch.int64"),
        ([np.zeros(4, np.float32), np.zeros((2, 4), np.float32)], r"\(2, 4\) in a list"),
        ([np.zeros(4, np.float32), []], "empty list"),
        (["a", "b"], "got str"),
        ({"a": 1}, "got dict"),
        (torch.zeros(1, 5).to_sparse(), "sparse_coo tensor"),
        (torch.zeros(1, 5, device="meta"), "a meta tensor"),
        ([torch.zeros(5, device="meta")], "a meta tensor"),
    ],
)
def test_other_waveforms_are_refused_in_a_line(codec, given, message):
    with pytest.raises(ValueError, match=message) as refused:
        codec.encode(given)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0.5, 1.0], "integer codes .* torch.float64"),
        (np.zeros((1, 2, 3), np.int64), r"\(1, 2, 3\)"),
        ([True, False], "torch.bool"),
        ("codes.npy", "got str"),
        (np.array([64]), r"codes in 0\.\.63"),
    ],
)
def test_other_codes_are_refused_in_a_line(codec, given, message):
    with pytest.raises(ValueError, match=message):
        codec.decode(given)


def test_what_encode_returns_is_not_taken_for_two_clips(codec, clip):
    pair = codec.encode(clip)
    with pytest.raises(ValueError, match=r"pair of codes and lengths .* decode\(\*pair\)"):
        codec.decode(pair)
    assert codec.decode(*pair)[0].shape[0] == 1

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recipes.adaptability.tokenizers import HHRecoder, HHTokenizer
from tests.support.codecs import tiny_codec, voiced_codec


def test_a_voice_code_counts_among_the_bits_of_a_recoded_clip(tmp_path: Path) -> None:
    plain, voiced = tiny_codec(), voiced_codec()
    waveform = 0.1 * np.random.default_rng(0).normal(size=5000).astype(np.float32)
    found = []
    for name, codec in (("plain", plain), ("voiced", voiced)):
        codec.save_pretrained(tmp_path / name)
        recoder = HHRecoder(str(tmp_path / name))
        assert recoder.name == name
        found.append(recoder.recode(waveform, 24_000))
        codes, _ = codec.encode(waveform)
        voice = codec.encode_voice(waveform)
        decoded, _ = codec.decode(codes, lengths=[5000], voice=voice)
        assert np.array_equal(found[-1].waveform, decoded[0].numpy())
    # 5 codes of 6 bits, and 8 tokens of 8.
    assert [each.bits for each in found] == [30, 94]


def test_tokens_alone_are_refused_of_a_codec_with_a_voice_code(tmp_path: Path) -> None:
    voiced_codec().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"voice\.tokens: expected 0 for a tokenizer"):
        HHTokenizer(str(tmp_path))

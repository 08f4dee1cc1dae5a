from __future__ import annotations

import numpy as np
import pytest

from eval.baselines.token_streams import (
    TokenizerRecoder,
    flatten_codes,
    unflatten_codes,
)
from eval.protocols import Recoder, Tokenizer


class Ramp:
    """Two codebooks of 4 at 100 Hz over 1 kHz audio: the sign, and the size of every tenth."""

    name, fingerprint = "ramp", "0"
    sample_rate, frame_rate, num_codebooks, codebook_size = 1000, 100.0, 2, 4
    tokens_per_second = 200.0

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        frames = waveform[: len(waveform) // 10 * 10].reshape(-1, 10)[:, 0]
        return np.stack([frames > 0, np.abs(frames) * 3]).round().astype(np.int64)

    def decode(self, codes: np.ndarray, num_samples: int) -> np.ndarray:
        values = (2 * codes[0] - 1) * codes[1] / 3
        return np.repeat(values, 10)[:num_samples].astype(np.float32)


def test_streams_are_laid_frame_by_frame_and_back() -> None:
    codes = np.array([[0, 1, 2], [3, 2, 1]])
    stream = flatten_codes(codes, 4)
    assert stream.tolist() == [0, 7, 1, 6, 2, 5]
    restored, misplaced = unflatten_codes(stream, 2, 4)
    assert restored.tolist() == codes.tolist()
    assert misplaced == 0


def test_a_made_up_stream_is_read_and_its_misplaced_tokens_counted() -> None:
    codes, misplaced = unflatten_codes(np.array([0, 1, 2, 7, 3]), 2, 4)
    assert codes.tolist() == [[0, 2], [1, 3]]
    assert misplaced == 1


@pytest.mark.parametrize("codes", [np.array([[0, 4]]), np.array([0, 1]), np.array([[0.5]])])
def test_codes_that_do_not_fit_are_refused(codes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        flatten_codes(codes, 4)


def test_tokens_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected tokens in \[0, 8\)"):
        unflatten_codes(np.array([8]), 2, 4)


def test_a_tokenizer_recodes_at_another_rate_and_counts_its_bits() -> None:
    tokenizer = Ramp()
    assert isinstance(tokenizer, Tokenizer)
    recoder = TokenizerRecoder(tokenizer)
    assert isinstance(recoder, Recoder)
    waveform = np.sin(np.arange(4000) / 100).astype(np.float32)
    recoded = recoder.recode(waveform, 2000)
    assert recoded.waveform.shape == waveform.shape
    # 2 s are 200 frames of two codes of two bits.
    assert recoded.bits == 800
    assert recoder.bitrate == 400.0
    assert np.corrcoef(recoded.waveform, waveform)[0, 1] > 0.9

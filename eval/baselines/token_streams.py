"""K parallel code streams as one stream of tokens, and a tokenizer as a recoder."""

from __future__ import annotations

import numpy as np

from eval.protocols import Recoded, Tokenizer
from eval.sound import resampled


def flatten_codes(codes: np.ndarray, codebook_size: int) -> np.ndarray:
    """Interleave codes (K, L) to one stream (K * L,) int64, frame by frame, first codebook first.

    Entry c of codebook k becomes k * codebook_size + c, so that codebooks share no token.

    Raises:
        ValueError: No (K, L) array, or a code outside [0, codebook_size).
    """
    codes = np.asarray(codes)
    if codes.ndim != 2 or codes.size == 0 or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"expected integer codes (K, L), got {codes.dtype} {codes.shape}")
    if codes.min() < 0 or codes.max() >= codebook_size:
        raise ValueError(
            f"expected codes in [0, {codebook_size}), got {codes.min()} to {codes.max()}"
        )
    offsets = codebook_size * np.arange(len(codes), dtype=np.int64)[:, None]
    return (codes.astype(np.int64) + offsets).T.reshape(-1)  # (K, L) to (L, K), then flat


def unflatten_codes(
    stream: np.ndarray, num_codebooks: int, codebook_size: int
) -> tuple[np.ndarray, int]:
    """Undo `flatten_codes`, also on a stream that a model generated.

    Args:
        stream: (S,) integers in [0, num_codebooks * codebook_size).
        num_codebooks: K.
        codebook_size: Entries in each codebook.

    Returns:
        Codes (K, L) with L = S // K, tokens of an unfinished last frame left out, and how many of
        the tokens were of another codebook than their position's (each is taken for the entry of
        the same number in that codebook; 0 for every stream of `flatten_codes`).

    Raises:
        ValueError: A token outside the range.
    """
    stream = np.asarray(stream, dtype=np.int64)
    if stream.size and (stream.min() < 0 or stream.max() >= num_codebooks * codebook_size):
        raise ValueError(
            f"expected tokens in [0, {num_codebooks * codebook_size}), "
            f"got {stream.min()} to {stream.max()}"
        )
    length = len(stream) // num_codebooks  # whole frames
    frames = stream[: length * num_codebooks].reshape(length, num_codebooks)
    misplaced = int((frames // codebook_size != np.arange(num_codebooks)).sum())
    return (frames % codebook_size).T.copy(), misplaced  # (L, K) to (K, L)


def fit_length(waveform: np.ndarray, num_samples: int) -> np.ndarray:
    """Cut a waveform (T,), or pad it with zeros at its end, to (num_samples,) float32."""
    fitted = np.zeros(num_samples, dtype=np.float32)
    kept = np.asarray(waveform, dtype=np.float32)[:num_samples]
    fitted[: len(kept)] = kept
    return fitted


class TokenizerRecoder:
    """A tokenizer as a recoder, its codes of ceil(log2(codebook_size)) bits each.

    Args:
        tokenizer: Waveforms at other rates are resampled to its own and back.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.name = tokenizer.name
        self._code_bits = (tokenizer.codebook_size - 1).bit_length()
        self.bitrate: float | None = tokenizer.tokens_per_second * self._code_bits

    def recode(self, waveform: np.ndarray, sample_rate: int) -> Recoded:
        """Encode and decode a waveform (T,); bits = K * L * bits a code."""
        rate = self.tokenizer.sample_rate
        own = np.asarray(resampled(waveform, sample_rate, rate), dtype=np.float32)
        codes = self.tokenizer.encode(own)
        decoded = self.tokenizer.decode(codes, len(own))
        # Resampling there and back may lose or add a sample.
        back = resampled(decoded, rate, sample_rate)
        return Recoded(fit_length(back, len(waveform)), int(codes.size) * self._code_bits, codes)

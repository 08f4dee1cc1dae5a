from __future__ import annotations

import numpy as np
import pytest

from slm.compression.arithmetic_coding import ArithmeticDecoder, ArithmeticEncoder
from slm.compression.frequencies import frequencies_of


def coded(symbols: list[int], frequencies: list[np.ndarray]) -> bytes:
    encoder = ArithmeticEncoder()
    for symbol, each in zip(symbols, frequencies, strict=True):
        ends = np.cumsum(each)
        encoder.encode(int(ends[symbol] - each[symbol]), int(each[symbol]), int(ends[-1]))
    return encoder.finish()


def decoded(data: bytes, frequencies: list[np.ndarray]) -> list[int]:
    decoder, symbols = ArithmeticDecoder(data), []
    for each in frequencies:
        ends = np.cumsum(each)
        symbol = int(np.searchsorted(ends, decoder.target(int(ends[-1])), side="right"))
        decoder.advance(int(ends[symbol] - each[symbol]), int(each[symbol]), int(ends[-1]))
        symbols.append(symbol)
    return symbols


@pytest.mark.parametrize("size", [2, 3, 64, 8192])
@pytest.mark.parametrize("sharpness", [0.0, 1.0, 20.0])
def test_symbols_come_back_in_about_as_many_bits_as_their_probabilities_say(
    size: int, sharpness: float
) -> None:
    generator = np.random.default_rng(size)
    frequencies, symbols, bits = [], [], 0.0
    for _ in range(300):
        each = frequencies_of(sharpness * generator.standard_normal(size).astype(np.float32))
        shares = each / each.sum()
        symbols.append(int(generator.choice(size, p=shares)))
        frequencies.append(each)
        bits -= float(np.log2(shares[symbols[-1]]))
    data = coded(symbols, frequencies)
    assert decoded(data, frequencies) == symbols
    assert 8 * len(data) <= bits + 16


def test_the_least_likely_symbols_come_back_too() -> None:
    logits = np.full(8192, -100.0, np.float32)
    logits[0] = 100.0
    frequencies = [frequencies_of(logits)] * 50
    symbols = [8191, 0, 1] * 16 + [0, 8191]
    assert decoded(coded(symbols, frequencies), frequencies) == symbols


def test_frequencies_are_those_of_softmax_and_never_0() -> None:
    logits = np.random.default_rng(0).standard_normal(500).astype(np.float32) * 3
    frequencies = frequencies_of(logits)
    shares = np.exp(logits - logits.max())
    np.testing.assert_allclose(
        frequencies / frequencies.sum(), shares / shares.sum(), rtol=0.02, atol=1e-6
    )
    assert frequencies.min() >= 1
    assert frequencies.sum() < 1 << 25
    # Errors far below a step change nothing.
    rounded = (np.round(logits * 64) / 64).astype(np.float32)
    noise = np.random.default_rng(1).uniform(-1e-4, 1e-4, 500).astype(np.float32)
    assert np.array_equal(frequencies_of(rounded + noise), frequencies_of(rounded))
    with pytest.raises(ValueError, match="finite logits"):
        frequencies_of(np.array([0.0, np.nan], np.float32))

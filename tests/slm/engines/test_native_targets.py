"""The native engine compiled for every instruction set that the processor has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from slm.engines import native_build
from slm.engines.merged_weights import speech_outputs
from slm.engines.native import NativeDecoder, NativeEngine
from slm.model.speech_lm import SpeechLM

TARGETS = native_build.runnable_targets()
needs_compiler = pytest.mark.skipif(native_build.compiler() is None, reason="no C++ compiler")


def forget() -> None:
    native_build.library.cache_clear()
    native_build.build_digest.cache_clear()


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each instruction set in turn; its library stays among those of the user."""
    monkeypatch.setenv(native_build.TARGET_VARIABLE, request.param)
    forget()
    yield request.param
    forget()


@torch.no_grad()
def read(lm: SpeechLM, decoder: NativeDecoder, tokens: torch.Tensor) -> torch.Tensor:
    """Logits (B, 2, N) after all but the last token of the rows, and after the last."""
    engine = NativeEngine(decoder, len(tokens), tokens.shape[1])
    first = engine.logits(engine.prefill(list(tokens[:, :-1])), speech_outputs(lm))
    last = engine.logits(engine.decode(tokens[:, -1]), speech_outputs(lm))
    return torch.stack([first, last], dim=1)


# Widths below, at and beyond what is summed at a time; one to four queries a key.
BLOCKS: list[dict[str, Any]] = [
    {"dim": 160, "num_kv_heads": 1, "qk_norm": True},
    {"dim": 96, "num_heads": 6, "num_kv_heads": 2, "dim_head": 80},
    {"num_heads": 2, "dim_head": 16},
]


@needs_compiler
@pytest.mark.parametrize("blocks", BLOCKS)
def test_logits_of_every_instruction_set_are_the_models(
    make_lm: Callable[..., SpeechLM], target: str, blocks: dict[str, Any]
) -> None:
    lm = make_lm(gain=2.0, max_seq_len=160, **blocks)
    tokens = torch.randint(
        6, lm.vocabulary.vocab_size, (3, 150), generator=torch.Generator().manual_seed(1)
    )
    columns = [token for stretch in speech_outputs(lm) for token in stretch]
    with torch.no_grad():
        wanted = lm(tokens)[:, -2:][..., columns]
    for weights, tolerance in (("exact", 2e-5), ("bf16", 0.06), ("int8", 0.06)):
        error = (read(lm, NativeDecoder(lm, weights), tokens) - wanted).abs().max()
        assert error / wanted.abs().max() < tolerance, weights


@needs_compiler
def test_rows_are_the_same_to_the_bit_in_batches_of_every_size(
    make_lm: Callable[..., SpeechLM], target: str
) -> None:
    """Batches of one to seventeen rows are cut into groups of all sizes."""
    lm = make_lm(dim=160, num_kv_heads=1)
    tokens = torch.randint(
        6, lm.vocabulary.vocab_size, (17, 20), generator=torch.Generator().manual_seed(2)
    )
    for weights in ("exact", "int8"):
        decoder = NativeDecoder(lm, weights)
        alone = torch.cat([read(lm, decoder, tokens[row : row + 1]) for row in range(17)])
        for rows in range(2, 18):
            assert torch.equal(read(lm, decoder, tokens[:rows]), alone[:rows]), rows


def test_an_instruction_set_that_the_processor_lacks_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(native_build.TARGET_VARIABLE, "avx3")
    with pytest.raises(ValueError, match=r"HH_NATIVE_TARGET: expected one of native, .*'avx3'"):
        native_build.chosen_target()
    monkeypatch.setenv(native_build.TARGET_VARIABLE, "avx512")
    monkeypatch.setattr(native_build, "_cpuinfo", lambda: ["flags : sse2 fma avx2"])
    assert native_build.runnable_targets() == ["native", "generic", "avx2"]
    if native_build.compiler() is None:
        return
    forget()
    with caplog.at_level(logging.WARNING):
        assert not native_build.is_available()
    forget()
    assert "expected one of native, generic, avx2 on this processor" in caplog.text

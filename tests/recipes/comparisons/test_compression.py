"""Bits a second of compressed codes, beside as many for each and a unigram."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec import HHCodec
from codec.bitstream.compressed import CompressedRecording
from codec.bitstream.format import CodedRecording
from recipes.comparisons import compression
from recipes.comparisons.compression import main, unigram_bits
from slm import SpeechLM, SpeechLMConfig, Vocabulary
from slm.compression.code_model import CodeModel
from slm.compression.codes import code_entropy, decompress

CONFIG = Path(__file__).resolve().parents[3] / "recipes/configs/compression.yaml"


@pytest.fixture
def models(tiny_codec: Path, tmp_path: Path) -> list[str]:
    """Words that name a tiny codec and a tiny language model of its codes."""
    codec = HHCodec.from_pretrained(tiny_codec)
    vocabulary = Vocabulary(text_size=1, codebook_size=codec.codebook_size)
    config = SpeechLMConfig.preset(
        "tiny",
        vocabulary=vocabulary.to_dict(),
        codec_fingerprint=codec.code_fingerprint,
        frame_rate=codec.frame_rate,
        max_seq_len=64,
    )
    SpeechLM(config).eval().save_pretrained(tmp_path / "lm")
    return [f"codec={tiny_codec}", f"lm={tmp_path / 'lm'}"]


def test_a_split_is_compressed_without_loss_and_tabulated(
    make_corpus: Callable[..., tuple[Path, Any]],
    models: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus, _ = make_corpus(counts=(1, 1, 3))
    run = tmp_path / "compression"
    call = [str(CONFIG), f"corpus={corpus}", f"run={run}", *models]
    assert main([*call, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["clips"], figures["speakers"], figures["codes"]) == (3, 2, 36)
    ways = figures["bits_per_second"]
    assert ways["fixed"]["value"] > ways["unigram"]["value"]
    assert ways["file"]["value"] > ways["lm"]["value"] > 0
    saved = figures["lm_minus"]["fixed"]
    assert saved["value"] == pytest.approx(ways["lm"]["value"] - ways["fixed"]["value"])
    # What lies there comes back.
    model = CodeModel.from_pretrained(models[1].partition("=")[2])
    for path in (run / "compressed").iterdir():
        back = decompress(model, CompressedRecording.load(path))
        assert back.to_bytes() == CodedRecording.load(run / "codes" / path.name).to_bytes()
    page = (run / "compression.md").read_text()
    assert "95 % intervals over 2 speakers, then their clips" in page
    # Called again, no clip is compressed again, and the figures are the same.
    monkeypatch.setattr(compression, "compress", lambda *_: pytest.fail("compressed again"))
    assert main([*call, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["bits_per_second"] == ways


def test_a_language_model_of_another_codec_is_refused(
    make_corpus: Callable[..., tuple[Path, Any]],
    models: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus, _ = make_corpus(counts=(1, 1, 1))
    call = [str(CONFIG), f"corpus={corpus}", f"run={tmp_path / 'run'}", models[0]]
    assert main([*call, "lm=hh-mini-slm"]) == 2
    assert "the language model is of codec" in capsys.readouterr().err
    assert main([*call, models[1], f"run={tmp_path / 'other'}", "split=train2"]) == 2
    assert "expected clips of split 'train2'" in capsys.readouterr().err


def test_a_unigram_takes_the_entropy_of_all_codes_together() -> None:
    recordings = [np.array([3, 3, 5], dtype=np.uint16), np.array([3, 9], dtype=np.uint16)]
    bits = unigram_bits(recordings)
    assert bits[0] == pytest.approx(2 * np.log2(5 / 3) + np.log2(5))
    assert sum(bits) == pytest.approx(5 * code_entropy(recordings))

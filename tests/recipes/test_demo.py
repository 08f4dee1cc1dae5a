"""What the demo shows, with models that are made here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.audio import read_audio, write_audio
from recipes.demo import main
from recipes.release.demo_recordings import find_recordings
from slm import SpeechLM, SpeechLMConfig, TextTokenizer, Vocabulary
from slm.synthesis.voices import save_voices
from tests.support.codecs import tiny_codec

ROOT = Path(__file__).resolve().parent.parent.parent
Corpus = Callable[..., tuple[Path, list[dict[str, Any]]]]


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    codec = tiny_codec()
    codec.save_pretrained(tmp_path / "codec")
    texts = ["a small dog", "two small dogs"]
    tokenizer = TextTokenizer.train(texts, tmp_path / "text", vocab_size=16)
    config = SpeechLMConfig.preset(
        "tiny",
        vocabulary=Vocabulary(
            tokenizer.vocab_size, codec.codebook_size, tokenizer.fingerprint
        ).to_dict(),
        codec_fingerprint=codec.code_fingerprint,
        frame_rate=codec.frame_rate,
        codes_per_character=1.0,
    )
    SpeechLM(config).save_pretrained(tmp_path / "lm", tokenizer)
    save_voices(tmp_path / "lm", {"ann": np.arange(10)}, codec.code_fingerprint)
    return ["--codec", str(tmp_path / "codec"), "--lm", str(tmp_path / "lm")]


@pytest.fixture
def recording(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> Path:
    write_audio(tmp_path / "mine.wav", make_waveform(2.0))
    return tmp_path / "mine.wav"


@pytest.mark.slow
def test_the_demo_speaks_reconstructs_continues_measures_and_reports(
    models: list[str], recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    text = 'Two "small" dogs. A dog & two $5 dogs.'
    command = ["--text", text, "--recording", str(recording), *models, "--out", str(out)]
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures == json.loads((out / "figures.json").read_text(encoding="utf-8"))
    assert figures["recordings"] == "Recordings: mine.wav, as given."
    assert {"reconstructed stoi", "words spoken wer"} <= set(figures["figures"])
    assert set(figures["seconds"]) >= {"speak", "reconstruct", "continue", "measure"}
    names = {"continued", "mine_original", "mine_reconstructed", "spoken_1", "spoken_2"}
    assert {path.stem for path in out.glob("*.flac")} == names
    assert len(read_audio(out / "mine_reconstructed.flac", 24_000)) == 48_000
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 2 + 2 + 2
    assert "A dog &amp; two $5 dogs." in page
    # A named voice and the recording's in turn.
    assert ">ann<" in page
    assert ">the speaker of mine<" in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_a_recording_that_cannot_be_read_stops_it_before_any_work(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    assert main(["--recording", "missing.wav", *models, "--out", str(out)]) == 2
    assert "missing.wav" in capsys.readouterr().err
    assert not out.exists()


def test_a_corpus_gives_a_known_voice_and_a_stranger(
    make_corpus: Corpus, save_records: Callable[..., None], tmp_path: Path
) -> None:
    folder, records = make_corpus(counts=(1, 1, 1))
    for record, speaker in zip(records, ("ann", "ann", "bob"), strict=True):
        record.update(speaker=speaker, lang="en", duration=5.0)
    save_records(folder, records)
    found, origin = find_recordings([], folder, 24_000)
    assert [(each.id, each.is_stranger) for each in found] == [("valid_0", False), ("test_0", True)]
    assert str(folder) in origin


def test_without_any_recording_espeak_speaks_and_it_is_said(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    found, origin = find_recordings([], tmp_path / "nothing", 24_000)
    assert origin.startswith("SYNTHETIC speech")
    assert [each.origin for each in found] == ["SYNTHETIC, eSpeak NG"]
    assert found[0].text
    assert len(found[0].waveform) > 2 * 24_000


def test_of_a_long_recording_the_demo_takes_the_beginning(
    make_waveform: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    write_audio(tmp_path / "long.flac", make_waveform(16.0))
    found, _ = find_recordings([tmp_path / "long.flac"], tmp_path, 24_000)
    assert len(found[0].waveform) == 15 * 24_000
    assert found[0].origin == "given, its first 15 s"

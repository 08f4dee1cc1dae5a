from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from codec import CodecConfig, HHCodec
from codec.model import code_search
from eval.baselines.token_streams import TokenizerRecoder
from eval.protocols import Recoded
from recipes.adaptability.tokenizers import HHTokenizer
from recipes.comparisons import anchors
from recipes.comparisons.anchors import main, run_anchors
from recipes.comparisons.anchors_config import AnchorsConfig
from recipes.corpora.manifest import CorpusRow
from tests.recipes.conftest import write_records
from tests.support.builders import write_whisper
from tests.support.codecs import tiny_codec

CONFIG = Path(__file__).resolve().parents[3] / "recipes" / "configs" / "anchors.yaml"


def new_folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.fixture
def codec_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    HHCodec(CodecConfig.preset("tiny")).eval().save_pretrained(tmp_path / "ours")
    return tmp_path / "ours"


def test_our_codec_and_the_ladder_stand_in_one_table(
    make_corpus: Callable[..., tuple[Path, Any]],
    codec_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus, _ = make_corpus(counts=(2, 1, 3))
    run = tmp_path / "anchors"
    call = [str(CONFIG), f"corpus={corpus}", f"run={run}", f"codec={codec_folder}"]
    call += ["classical=original,band_limit_8k", "metrics=mel_l1", "threads=1"]
    assert main([*call, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert list(figures["systems"]) == ["ours", "original", "band_limit_8k"]
    assert figures["subject"]["clips"] == 3
    row = figures["systems"]["ours"]
    # 0.5 s are 12 codes of the tiny codec's width; the measured rate is that of whole frames.
    assert row["measured_bitrate"] == pytest.approx(row["nominal_bitrate"] * 12 / 11.71875)
    assert figures["systems"]["original"]["measured_bitrate"] is None
    assert figures["systems"]["original"]["figures"]["mel_l1.v1/mel_l1"]["value"] == 0.0
    assert set(figures["differences"]["ours"]["scored"]) == {"original", "band_limit_8k"}
    page = (run / "anchors.md").read_text()
    assert "| **ours** | 0." in page
    # Differences name their unit as means do.
    assert "95 % interval over 2 speakers, then their clips, wins/losses/ties" in page
    # Called again, nothing is recoded, and word scores that were cut off are no obstacle.
    (run / "ours" / "words").mkdir()
    monkeypatch.setattr(
        TokenizerRecoder, "recode", lambda *_: pytest.fail("a clip was recoded again")
    )
    assert main(call) == 0


def test_whisper_stands_beside_the_offline_recogniser_where_its_folder_is_named(
    make_corpus: Callable[..., tuple[Path, Any]],
    codec_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("HH_WEIGHT_WHISPER", str(write_whisper(new_folder(tmp_path / "whisper"))))
    corpus, records = make_corpus(counts=(1, 1, 1))
    write_records(corpus, [record | {"source": "kathleen"} for record in records])
    run = tmp_path / "run"
    call = [str(CONFIG), f"corpus={corpus}", f"run={run}", f"codec={codec_folder}", "threads=1"]
    assert main([*call, "classical=[]", "metrics=[mel_l1]", "word_metrics=[wer]"]) == 0
    figures = json.loads((run / "anchors.json").read_text())["systems"]["ours"]["figures"]
    assert {name.split(".")[0] for name in figures} == {"mel_l1", "wer", "wer_whisper"}


def test_clips_of_another_codec_are_not_taken_for_ours(
    make_corpus: Callable[..., tuple[Path, Any]], codec_folder: Path, tmp_path: Path
) -> None:
    corpus, _ = make_corpus(counts=(1, 1, 1))
    call = [str(CONFIG), f"corpus={corpus}", f"run={tmp_path / 'run'}", f"codec={codec_folder}"]
    call += ["classical=original", "metrics=mel_l1", "threads=1"]
    assert main(call) == 0
    torch.manual_seed(1)
    shutil.rmtree(codec_folder)
    HHCodec(CodecConfig.preset("tiny")).eval().save_pretrained(codec_folder)
    assert main(call) == 2


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("metrics=loudness", "expected metrics"),
        ("classical=mp3", "coder: expected one of"),
        ("split=other", "expected clips of split 'other'"),
        ("sources=nobody", "expected clips of split 'test' by nobody"),
        ("codec=[a/model,b/Model]", "ids that name a file each, got 'model' and 'Model'"),
        ("codec=[a/recordings]", "ids that name a file each"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_clip_is_read(
    override: str,
    reason: str,
    make_corpus: Callable[..., tuple[Path, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corpus, _ = make_corpus(counts=(1, 1, 1))
    run = tmp_path / "run"
    call = [str(CONFIG), f"corpus={corpus}", f"run={run}", "classical=original", override]
    assert main(call) == 2
    assert reason in capsys.readouterr().err
    assert not run.exists()


def test_our_codec_as_a_tokenizer_decodes_to_any_length(
    codec_folder: Path, make_waveform: Callable[..., Any]
) -> None:
    tokenizer = HHTokenizer(str(codec_folder))
    codes = tokenizer.encode(make_waveform(0.2))
    assert codes.shape[0] == 1
    for samples in (100, 4800, 9000):
        assert tokenizer.decode(codes, samples).shape == (samples,)


def test_a_clip_that_has_changed_is_recoded_and_the_others_kept(
    make_corpus: Callable[..., tuple[Path, Any]],
    make_waveform: Callable[..., Any],
    codec_folder: Path,
    tmp_path: Path,
) -> None:
    corpus, _ = make_corpus(counts=(1, 1, 2))
    run = tmp_path / "run"
    call = [str(CONFIG), f"corpus={corpus}", f"run={run}", f"codec={codec_folder}"]
    call += ["classical=original", "metrics=mel_l1", "threads=1"]
    assert main(call) == 0
    files = [run / folder / "test_0.flac" for folder in ("recordings", "ours/audio")]
    before = [path.read_bytes() for path in files]
    kept = (run / "ours/audio/test_1.flac").stat().st_mtime_ns
    # Another recording of the same length.
    waveform = make_waveform(0.5, 24_000, pitch=200, seed=9)
    soundfile.write(corpus / "audio/test_0.wav", waveform, 24_000)
    assert main(call) == 0
    assert all(path.read_bytes() != old for path, old in zip(files, before, strict=True))
    assert (run / "ours/audio/test_1.flac").stat().st_mtime_ns == kept
    lines = (run / "ours/recoded.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == ["test_0", "test_1"]


def test_rates_are_of_the_clips_that_the_table_is_of(
    make_corpus: Callable[..., tuple[Path, Any]], codec_folder: Path, tmp_path: Path
) -> None:
    """Lines of a clip that the corpus no longer has counted in bit rate and use of the codebook."""
    corpus, records = make_corpus(counts=(1, 1, 2))
    run = tmp_path / "run"
    call = [str(CONFIG), f"corpus={corpus}", f"run={run}", f"codec={codec_folder}"]
    call += ["classical=", "metrics=mel_l1", "threads=1"]
    assert main(call) == 0
    path = run / "ours" / "recoded.jsonl"
    lines = path.read_text().splitlines()
    gone = json.loads(lines[0]) | {"id": "gone", "bits": 10**6}
    path.write_text("".join(line + "\n" for line in [json.dumps(gone), *lines]))
    before = json.loads((run / "anchors.json").read_text())["systems"]["ours"]
    assert main(call) == 0
    after = json.loads((run / "anchors.json").read_text())["systems"]["ours"]
    for key in ("measured_bitrate", "codebooks"):
        assert after[key] == before[key]
    write_records(corpus, [record for record in records if record["id"] != "test_1"])
    assert main(call) == 0
    (book,) = json.loads((run / "anchors.json").read_text())["systems"]["ours"]["codebooks"]
    assert book["num_tokens"] == before["codebooks"][0]["num_tokens"] / 2


def test_each_of_our_codecs_is_compared_with_every_other_system(
    make_corpus: Callable[..., tuple[Path, Any]], codec_folder: Path, tmp_path: Path
) -> None:
    corpus, _ = make_corpus(counts=(2, 1, 3))
    torch.manual_seed(1)
    HHCodec(CodecConfig.preset("tiny")).eval().save_pretrained(tmp_path / "second")
    run = tmp_path / "anchors"
    codecs = f"codec={tmp_path / 'second'},{codec_folder}"
    call = [str(CONFIG), f"corpus={corpus}", f"run={run}", codecs, "classical=original"]
    assert main([*call, "metrics=mel_l1", "threads=1"]) == 0
    differences = json.loads((run / "anchors.json").read_text())["differences"]
    assert set(differences) == {"second", "ours"}
    assert set(differences["second"]["scored"]) == {"ours", "original"}
    assert set(differences["ours"]["scored"]) == {"second", "original"}
    own, other = (
        differences[a]["scored"][b]["figures"][0]["difference"]
        for a, b in (("second", "ours"), ("ours", "second"))
    )
    assert own == pytest.approx(-other)


def test_a_codec_that_searches_stands_beside_itself(
    make_corpus: Callable[..., tuple[Path, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_search, "WEIGHT", 1e-3)  # of weights that have learnt nothing
    corpus, _ = make_corpus(counts=(2, 1, 3))
    tiny_codec().save_pretrained(tmp_path / "ours")
    run = tmp_path / "anchors"
    call = [str(CONFIG), f"corpus={corpus}", f"run={run}", f"codec={tmp_path / 'ours'}"]
    assert main([*call, "search=2", "classical=original", "metrics=mel_l1", "threads=1"]) == 0
    found = json.loads((run / "anchors.json").read_text())
    assert list(found["systems"]) == ["ours", "ours_search_2", "original"]
    assert set(found["differences"]) == {"ours", "ours_search_2"}
    lines = [(run / name / "recoded.jsonl").read_text() for name in ("ours", "ours_search_2")]
    assert lines[0] != lines[1]
    with pytest.raises(ValueError, match="search: expected a number >= 1, got 0"):
        AnchorsConfig(corpus="", run="", search=[0])


def test_a_clip_that_several_metrics_cannot_score_has_failed_once(
    codec_folder: Path, tmp_path: Path
) -> None:
    """Every metric counted it again, and the speakers of a list that names none were one."""
    rows = []
    for name, waveform in (("loud", np.sin(np.arange(24000) / 20)), ("silent", np.zeros(24000))):
        soundfile.write(tmp_path / f"{name}.wav", 0.3 * waveform, 24000)
        rows.append(CorpusRow(name, tmp_path / f"{name}.wav", 1.0, "", "", "", "test"))
    config = AnchorsConfig(
        corpus="list",
        run=str(tmp_path / "run"),
        codec=[str(codec_folder)],
        classical=["original"],
        metrics=["mel_l1", "mcd_mel", "si_sdr"],
        loudness_dbfs=None,
        threads=1,
    )
    found = run_anchors(config, rows=rows)
    assert found.figures["systems"]["original"]["failed"] == 1
    assert found.figures["subject"]["speakers"] == 0
    assert "speakers not named. Mean and 95 % interval over clips, whose" in found.markdown
    assert "| clips failed |" in found.markdown


class ShortOnly:
    """Recoder that takes no clip of a second or more."""

    name, bitrate = "original", None

    def recode(self, waveform: np.ndarray, sample_rate: int) -> Recoded:
        if len(waveform) >= sample_rate:
            raise RuntimeError("too long")
        return Recoded(waveform, None)


def test_a_clip_that_one_system_cannot_recode_is_its_own_failure(
    codec_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ended the comparison of every system, and again each time that it was resumed."""
    rows = []
    for name, seconds in (("short", 0.6), ("long", 1.2)):
        waveform = 0.3 * np.sin(np.arange(round(24000 * seconds)) / 20)
        soundfile.write(tmp_path / f"{name}.wav", waveform, 24000)
        rows.append(CorpusRow(name, tmp_path / f"{name}.wav", seconds, "", "ann", "", "test"))
    config = AnchorsConfig(
        corpus="list",
        run=str(tmp_path / "run"),
        codec=[str(codec_folder)],
        classical=["original"],
        metrics=["mel_l1"],
        loudness_dbfs=None,
        threads=1,
    )
    with monkeypatch.context() as patch:
        made = anchors.make_system
        patch.setattr(
            anchors, "make_system", lambda c, n: ShortOnly() if n == "original" else made(c, n)
        )
        found = run_anchors(config, rows=rows).figures
    assert {name: row["failed"] for name, row in found["systems"].items()} == {
        "ours": 0,
        "original": 1,
    }
    assert found["failed"] == 1
    assert "original cannot recode long: too long" in capsys.readouterr().err
    # What failed is tried again.
    assert run_anchors(config, rows=rows).figures["failed"] == 0

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from codec import CodecConfig, HHCodec
from eval.baselines.token_streams import TokenizerRecoder
from recipes.adaptability.tokenizers import HHTokenizer
from recipes.comparisons.anchors import main
from tests.recipes.conftest import write_records
from tests.support.builders import write_whisper

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


def test_a_codec_is_cut_short_to_tell_what_its_parts_cost(
    make_corpus: Callable[..., tuple[Path, Any]],
    codec_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    codec = HHCodec.from_pretrained(codec_folder)
    codec.quantizer.initialize(torch.randn(400, codec.config.quantizer.dim), seed=0)
    codec.save_pretrained(codec_folder)
    corpus, _ = make_corpus(counts=(2, 1, 2))
    run = tmp_path / "anchors"
    call = [str(CONFIG), f"corpus={corpus}", f"run={run}", f"codec={codec_folder}"]
    call += ["classical=original", "metrics=mel_l1", "threads=1", "loudness_dbfs=null"]
    assert main([*call, "--json"]) == 0
    assert main([*call, "stages=[mel,latents]", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(figures["systems"]) == ["ours", "ours_mel", "ours_latents", "original"]
    assert figures["systems"]["ours_mel"]["measured_bitrate"] is None
    clip = sorted((run / "recordings").glob("*.flac"))[0].name
    whole, mel, latents = (
        soundfile.read(run / name / "audio" / clip, dtype="float32")[0]
        for name in ("ours", "ours_mel", "ours_latents")
    )
    assert len(whole) == len(mel) == len(latents)
    assert not (whole == latents).all()
    # The latents that the codebook would choose of are those that come through.
    recording = torch.from_numpy(soundfile.read(run / "recordings" / clip, dtype="float32")[0])
    codec.quantizer.initialized.fill_(False)
    codec.quantizer.clear_cache()
    with torch.inference_mode():
        expected = codec.eval().reconstruct(recording).waveform[0]
    assert torch.from_numpy(latents) == pytest.approx(expected.clamp(-1, 1), abs=2e-4)
    assert main([*call, "stages=[vocoder]"]) == 2
    assert "stages: expected mel or latents" in capsys.readouterr().err

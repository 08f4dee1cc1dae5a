"""Variants are trained on one prepared corpus and compared clip by clip with `full`."""

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.audio.store import AudioStore, AudioStoreWriter
from codec.files import read_json, write_json
from codec.training.checkpoint import source_digest
from eval.metrics.registry import make_metrics
from eval.recognition.whisper import WHISPER
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from eval.scoring.summary import item_rows
from eval.sound import Sound
from recipes.comparisons.ablate import main, read_variants
from recipes.comparisons.ablate_measure import clip_sets, measure, measured_from, measurements
from recipes.comparisons.ablate_table import _cell, _heading, _row, write_table
from recipes.comparisons.clip_sets import ClipGroup, ClipGroups
from recipes.runner.config import load_settings
from tests.support.builders import write_whisper

BASE = """
# Everything on.
run: runs/ablations
threads: 1
codec: {preset: tiny}
train_codec:
  phases:
    codec:
      train: [encoder, quantizer, decoder]
      steps: 2
      batch_size: 2
      crop_codes: 8
      warmup_steps: 1
      quantize_from: 1
      weights: {mel: 1.0, vq: 1.0}
"""
ONE_STAGE = """
# Only the coded stage.
base: base.yaml
codec: {overrides: {quantizer: {num_stages: 1}}}
"""


@pytest.fixture
def folder(tmp_path):
    configs = tmp_path / "ablations"
    configs.mkdir()
    (configs / "base.yaml").write_text(BASE, encoding="utf-8")
    (configs / "no_second_stage.yaml").write_text(ONE_STAGE, encoding="utf-8")
    return configs


def test_variants_are_a_few_lines_over_the_base(folder, tmp_path):
    variants = read_variants(folder, [f"corpus={tmp_path}", f"run={tmp_path / 'runs'}"])
    assert list(variants) == ["full", "no_second_stage"]
    changed = variants["no_second_stage"]
    assert changed.note == "Only the coded stage."
    assert changed.config.codec.overrides == {"quantizer": {"num_stages": 1}}
    assert changed.config.train_codec == variants["full"].config.train_codec
    assert changed.config.run == str(tmp_path / "runs" / "no_second_stage")


def test_a_folder_without_a_base_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a folder with base\.yaml"):
        read_variants(tmp_path, [])


@pytest.mark.slow
def test_variants_are_trained_measured_and_compared_on_the_same_clips(
    folder, make_corpus, tmp_path, capsys
):
    corpus, _ = make_corpus((4, 3, 2))
    run = tmp_path / "runs"
    call = [str(folder), f"corpus={corpus}", f"run={run}", "--metrics", "stoi,mel_l1", "--json"]
    assert main(call) == 0
    table = json.loads(capsys.readouterr().out)["splits"]["valid"]
    assert list(table) == ["full", "no_second_stage"]
    assert all(row["clips"] == 3 for row in table.values())
    assert all(row["codebook"]["num_tokens"] == 3 * 12 for row in table.values())
    assert "difference" not in table["full"]["mel_l1"]
    full, changed = (row["mel_l1"] for row in table.values())
    assert changed["difference"]["value"] == pytest.approx(changed["value"] - full["value"])
    assert changed["difference"]["n"] == 3
    markdown = (run / "ablation.md").read_text(encoding="utf-8")
    assert "| no_second_stage | " in markdown
    assert "`no_second_stage`: Only the coded stage." in markdown

    # Measured again where asked for other figures, and else not.
    measured = run / "full/measure/valid/origin.json"
    before = measured.read_text()
    stamp = measured.stat().st_mtime_ns
    assert main([*call, "--only", "full"]) == 0
    assert measured.stat().st_mtime_ns == stamp
    assert main([*call, "--only", "full", "--clips", "2"]) == 0
    assert measured.read_text() != before

    finished = (run / "full/train_codec/done.json").stat().st_mtime_ns
    assert main([*call, "--only", "full"]) == 0
    assert (run / "full/train_codec/done.json").stat().st_mtime_ns == finished


def test_an_unknown_variant_is_refused_before_any_work(folder, tmp_path, capsys):
    call = [str(folder), f"corpus={tmp_path}", f"run={tmp_path / 'runs'}", "--only", "no_such"]
    assert main(call) == 2
    assert (
        "expected some of ['full', 'no_second_stage'], got ['no_such']" in capsys.readouterr().err
    )
    assert not (tmp_path / "runs").exists()


def test_differences_are_of_the_clips_and_sounds_that_were_measured_last(tmp_path):
    """Rows of earlier sounds and of more clips stay in the files of scores."""
    clip = np.random.default_rng(0).standard_normal(24000) / 9
    for name, levels in (("full", (0.5, 0.5)), ("variant", (1.0, 0.5)), ("variant", (0.5,))):
        pairs = [
            Pair(str(n), Sound(clip, 24000), Sound(level * clip, 24000))
            for n, level in enumerate(levels)
        ]
        score_pairs(pairs, make_metrics(["mel_l1"]), tmp_path / name, show_progress=False)
        write_json(tmp_path / name / "codebook.json", {})
    row = _row(tmp_path / "variant", tmp_path / "full")
    assert row["mel_l1"]["difference"] == {**row["mel_l1"]["difference"], "value": 0.0, "n": 1}


def test_figures_of_a_codec_that_was_trained_anew_are_left_out(folder, tmp_path, capsys):
    """Of the split, too, that the call which trained it did not measure."""
    variant = read_variants(folder, [f"corpus={tmp_path}", f"run={tmp_path / 'runs'}"])["full"]
    run = tmp_path / "runs" / "full"

    def trained(seed):
        torch.manual_seed(seed)
        codec = HHCodec(CodecConfig.preset("tiny"))
        codec.quantizer.initialize(torch.randn(400, 8), seed=0)
        codec.eval().save_pretrained(run / "train_codec" / "model")
        return HHCodec.from_pretrained(run / "train_codec" / "model")

    codec = trained(0)
    for split in ("test", "valid"):
        with AudioStoreWriter(run / "prepare" / split, 24000) as writer:
            writer.add(np.full(2400, 0.1, np.float32), {"id": split, "speaker": "s"})
        origin = measured_from(codec, source_digest(AudioStore(run / "prepare" / split))) | {
            "settings": ""
        }
        write_json(run / "measure" / split / "origin.json", origin)
    assert [key for key, _ in measurements(variant)] == [("full", "test"), ("full", "valid")]
    assert not capsys.readouterr().err

    codec = trained(1)
    origin = measured_from(codec, source_digest(AudioStore(run / "prepare" / "valid"))) | {
        "settings": ""
    }
    write_json(run / "measure" / "valid" / "origin.json", origin)
    assert [key for key, _ in measurements(variant)] == [("full", "valid")]
    assert "full: figures of test are left out" in capsys.readouterr().err

    # Measuring that was cut off left figures without a note of what they are of.
    (run / "measure" / "valid" / "origin.json").unlink()
    write_json(run / "measure" / "valid" / "summary.json", {})
    assert not list(measurements(variant))
    assert "full: figures of valid are left out" in capsys.readouterr().err


def test_groups_of_voices_have_a_table_each_and_words_of_mels_a_column(
    folder, make_corpus, tmp_path, monkeypatch
):
    """Two metrics of words shared the name of a figure, and the last one alone was shown."""
    if find_spec("ctranslate2") is None or find_spec("transformers") is None:
        pytest.skip("ctranslate2 or transformers is not installed")
    from ctranslate2 import converters

    published = tmp_path / "whisper"
    published.mkdir()
    write_whisper(published, bands=80)
    converter = converters.TransformersConverter(str(published), copy_files=["tokenizer.json"])
    monkeypatch.setenv(WHISPER.variable, converter.convert(str(tmp_path / "converted")))
    corpus, records = make_corpus((0, 3, 0))
    words = [f"corpus={corpus}", f"run={tmp_path / 'runs'}"]
    variants = read_variants(folder, words)
    for seed, variant in enumerate(variants.values()):
        torch.manual_seed(seed)
        codec = HHCodec(CodecConfig.preset("tiny"))
        codec.quantizer.initialize(torch.randn(400, 8), seed=0)
        where = Path(variant.config.run) / "train_codec"
        codec.eval().save_pretrained(where / "model")
        write_json(where / "done.json", {"commit": "abc", "seconds": 1.0})
    groups = {
        "all": ClipGroup(str(corpus)),
        "one": ClipGroup(str(corpus), speakers=["speaker1"]),
    }
    call = argparse.Namespace(clips=None, metrics="mel_l1,wer_whisper", mel_words=True)
    sets = clip_sets(variants["full"], groups, "valid", None)
    assert [(each.name, len(each.clips)) for each in sets] == [("valid-all", 3), ("valid-one", 1)]
    for variant in variants.values():
        for each in sets:
            measure(variant, each, call)
    measured = dict(row for v in variants.values() for row in measurements(v, sets))
    table = write_table(list(variants.values()), measured, tmp_path / "runs", [])
    assert list(table.figures["splits"]) == ["valid-all", "valid-one"]
    row = table.figures["splits"]["valid-all"]["no_second_stage"]
    assert row["clips"] == 3
    assert row["codebook"]["num_tokens"] == 3 * 12
    assert {"mel_l1", "wer_whisper/wer", "wer_mel/wer"} < row.keys()
    assert "wer" not in row
    assert row["wer_mel/wer"]["difference"]["n"] == 3
    # Of a codec's own mel: what is read in it is no figure of the recordings'.
    heard = item_rows(
        tmp_path / "runs" / "full" / "measure" / "valid-all",
        next(m for m in table_metrics(tmp_path / "runs") if m.startswith("wer_mel.")),
    )
    assert set(heard) == {record["id"] for record in records}

    # Recordings that have changed since are not those that were measured.
    changed = make_corpus((0, 2, 0), name="changed")[0]
    others = clip_sets(variants["full"], {"all": ClipGroup(str(changed))}, "valid", None)
    left = dict(measurements(variants["full"], others))
    assert list(left) == [("full", "valid-one")]


def table_metrics(run):
    """Ids of the metrics that `full` was measured by."""
    return read_json(run / "full" / "measure" / "valid-all" / "summary.json")["metrics"]


@pytest.mark.parametrize("option", [["--mel-words"], ["--metrics", "wer_whisper"]])
def test_a_recogniser_that_is_not_there_is_refused_before_training(
    option, folder, make_corpus, tmp_path, capsys, monkeypatch
):
    """It was after the first variant had trained."""
    monkeypatch.setenv(WHISPER.variable, "")
    corpus, _ = make_corpus()
    call = [str(folder), f"corpus={corpus}", f"run={tmp_path / 'runs'}", *option]
    assert main(call) == 2
    told = capsys.readouterr().err
    assert f"{option[0]}: wer_whisper" in told
    assert "cannot run" in told
    assert not (tmp_path / "runs").exists()


def test_the_groups_of_voices_that_come_along_load():
    path = Path(__file__).resolve().parents[3] / "recipes" / "configs" / "voice_groups.yaml"
    groups = load_settings(ClipGroups, path).groups
    assert list(groups) == ["known", "synthetic", "strangers"]
    with pytest.raises(ValueError, match="at least one"):
        ClipGroups({})


def test_a_group_without_clips_is_refused_before_any_training(
    folder, make_corpus, tmp_path, capsys
):
    corpus, _ = make_corpus()
    groups = tmp_path / "groups.yaml"
    lines = "groups: {{some: {{corpus: {}, speakers: [speaker0, nobody]}}}}"
    groups.write_text(lines.format(corpus), encoding="utf-8")
    call = [str(folder), f"corpus={corpus}", f"run={tmp_path / 'runs'}", "--groups", str(groups)]
    assert main(call) == 2
    assert "expected clips of split 'valid' by nobody, got none" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_headings_name_units_and_better_directions() -> None:
    """A share of 0.02 stood under a name alone, in fractions where other tables have per cents."""
    figure = {"value": 0.024, "ci95": None, "failed": 0, "unit": "%", "higher_is_better": False}
    change = {"value": 0.01, "low": -0.001, "high": 0.02}
    assert _heading("gross_error_rate", figure) == "gross_error_rate, % ↓"
    assert _cell({**figure, "difference": change}) == "2.4<br>+1 (-0.1 to +2)"
    assert _heading("stoi", {**figure, "unit": "", "higher_is_better": True}) == "stoi ↑"

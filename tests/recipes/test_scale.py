"""Every file of recipes/configs/scale starts on a miniature, with the command that it prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.audio.store import AudioStore, AudioStoreError
from codec.files.json_lines import read_json_lines
from recipes.run_all import main
from recipes.runner.config import load_config
from recipes.runner.inputs import missing_inputs

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "recipes/configs/scale").glob("*.yaml"))
LM_FILES = [path for path in FILES if not path.stem.startswith("hh_")]
BEFORE = ("prepare", "train_codec", "encode_corpus", "train_text")
SMALL_LM = (
    "further_corpora=[]",
    "threads=1",
    "train_text.vocab_size=32",
    "train_slm.preset=tiny",
    "train_slm.seq_len=256",
    "train_slm.batch_size=2",
    "train_slm.steps=2",
    "train_slm.warmup_steps=1",
    "train_slm.devices=1",
    "train_slm.num_nodes=1",
    "train_slm.strategy=auto",
    "train_slm.bf16=false",
    "train_slm.training.compile=false",
    "train_slm.samples=0",
    "train_slm.tensorboard=false",
)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A tiny codec that quantises."""
    torch.manual_seed(0)
    codec = HHCodec(CodecConfig.preset("tiny"))
    codec.quantizer.enable()
    codec.eval().save_pretrained(tmp_path / "codec")
    return tmp_path / "codec"


@pytest.mark.parametrize("path", LM_FILES, ids=lambda path: path.stem)
def test_what_a_file_asks_for_beside_its_corpus_is_a_codec(path: Path, tmp_path: Path) -> None:
    config = load_config(path, [f"run={tmp_path / 'run'}", "corpus=espeak", "further_corpora=[]"])
    missing = list(missing_inputs(config, [*BEFORE, "train_slm"]))
    assert [each.split(":")[0] for each in missing] == ["codec.start"]
    config.codec.start = "hh-mini-24k"
    assert list(missing_inputs(config, [*BEFORE, "train_slm"])) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", LM_FILES, ids=lambda path: path.stem)
def test_a_language_model_at_scale_starts_without_waveforms_of_train(
    path: Path, start: Path, make_corpus: Callable[..., Any], tmp_path: Path
) -> None:
    corpus, _ = make_corpus((6, 2, 2))
    run = tmp_path / "run"
    stages = f"stages={','.join(BEFORE)},train_slm"
    given = [f"corpus={corpus}", f"run={run}", f"codec.start={start}", stages, *SMALL_LM]
    assert main([str(path), *given]) == 0
    train = AudioStore(run / "prepare" / "train")
    assert (train.is_listed, len(train), (train.folder / "audio.i16").stat().st_size) == (
        True,
        6,
        0,
    )
    with pytest.raises(AudioStoreError, match=r"prepare\.stored_splits"):
        train.waveform(0)
    assert len(read_json_lines(run / "train_slm" / "metrics.jsonl")) == 2


@pytest.mark.slow
def test_the_codec_at_scale_starts(make_corpus: Callable[..., Any], tmp_path: Path) -> None:
    corpus, _ = make_corpus((4, 2, 2))
    small: list[str] = []
    for phase in ("frozen", "joint"):
        key = f"train_codec.phases.{phase}"
        small += [f"{key}.steps=2", f"{key}.batch_size=2", f"{key}.crop_codes=8"]
        small += [f"{key}.warmup_steps=1", f"{key}.quantize_from=1", f"{key}.adversarial_from=1"]
        small += [f"{key}.semantic.teacher=mfcc", f"{key}.discriminators.channels=2"]
        small += [f"{key}.discriminators.periods=[]", f"{key}.discriminators.band_n_ffts=[]"]
        small.append(f"{key}.discriminators.n_ffts=[256]")
    small += ["codec.preset=tiny", "codec.vocoder_from=null", "train_codec.devices=1"]
    small += ["train_codec.strategy=auto", "train_codec.accelerator=cpu", "threads=1"]
    small += ["train_codec.num_workers=0", "train_codec.precision=32-true"]
    small += ["train_codec.tensorboard=false", "train_codec.balance_every=0"]
    path = ROOT / "recipes/configs/scale/hh_24khz_8gpu.yaml"
    run = tmp_path / "run"
    given = [f"corpus={corpus}", f"run={run}", "stages=prepare,train_codec", *small]
    assert main([str(path), *given]) == 0
    assert (run / "train_codec" / "model" / "config.yaml").is_file()


def test_splits_that_a_stage_reads_must_be_stored(tmp_path: Path) -> None:
    path = ROOT / "recipes/configs/scale/base.yaml"
    given = [f"run={tmp_path / 'run'}", "corpus=espeak", "further_corpora=[]"]
    given += ["codec.start=hh-mini-24k", "prepare.stored_splits=[]"]
    config = load_config(path, [*given, "encode_corpus.recordings=false"])
    missing = list(missing_inputs(config, [*BEFORE, "train_slm", "generate"]))
    assert [each.split(":")[0] for each in missing] == ["prepare.stored_splits"] * 2
    assert "encode_corpus" in missing[0]
    assert "valid, test, whose waveforms generate reads" in missing[1]

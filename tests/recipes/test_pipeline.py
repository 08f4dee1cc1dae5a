"""Every stage runs for two steps, and the next reads what it made."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.audio import write_audio
from codec.training.data import CropBatches
from eval.cli.main import main as eval_main
from recipes.corpora.preparation import spread
from recipes.run_all import main
from recipes.runner.config import load_config
from recipes.runner.schema import STAGE_NAMES
from slm import SpeechLM, TokenStore
from tests.support import forked

ROOT = Path(__file__).resolve().parents[2]
SMOKE = str(ROOT / "recipes/configs/smoke.yaml")


@pytest.fixture
def overrides(make_corpus, tmp_path):
    """Smoke settings on a folder of tones, with a short word list so that recognition is quick."""
    corpus, _ = make_corpus((6, 3, 2))
    return [
        f"corpus={corpus}",
        f"run={tmp_path / 'run'}",
        "threads=1",
        "evaluate.words=[sentence,number]",
        "generate.min_prompt_seconds=0.4",
        "generate.given_seconds=0.2",
        "generate.continue_seconds=0.2",
        "train_text.vocab_size=32",
    ]


@pytest.mark.slow
def test_every_stage_reads_what_the_one_before_it_made(overrides, tmp_path, capsys):
    assert main([SMOKE, *overrides, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    run = tmp_path / "run"
    assert list(printed["stages"]) == list(STAGE_NAMES)
    assert all(stage["status"] == "done" for stage in printed["stages"].values())

    codec = HHCodec.from_pretrained(run / "train_codec/model")
    lm = SpeechLM.from_pretrained(run / "train_slm/model")
    store = TokenStore(run / "encode_corpus/train", codec.code_fingerprint)
    assert lm.config.codec_fingerprint == codec.code_fingerprint
    assert len(store) == 6

    figures = printed["stages"]["evaluate"]["metrics"]
    assert figures["reconstruction"]["test"]["clips"] == 2
    assert set(figures["words"]) == {"original", "reconstructed", "spoken"}
    assert figures["language_model"]["valid"]["nats_per_code"] > 0
    assert figures["codebook"]["valid"]["num_tokens"] == 3 * 12
    assert figures["report"] == str(run / "evaluate/report.html")
    report = (run / "evaluate/report.html").read_text(encoding="utf-8")
    assert "unigram entropy" in report
    assert "Codebook use by rank" in report
    assert figures["language_model"]["valid"]["bigram_nats_per_code"] > 0
    for folder in ("spoken", "continued/made"):
        where = str(run / "generate" / folder)
        lines = Path(where, "items.jsonl").read_text(encoding="utf-8").splitlines()
        for item in map(json.loads, lines):
            assert item["frame_rate"] == codec.frame_rate
            assert all(Path(where, item[part]).is_file() for part in ("prompt", "reference"))
        chosen = "delivery" if folder == "spoken" else "delivery,duration"
        assert eval_main(["tts", f"{where}/items.jsonl", where, "--metrics", chosen]) in (0, 1)
    items = str(run / "generate/reconstructed/test/items.jsonl")
    scored = str(run / "generate/spoken.eval")
    size = str(store.codebook_size)
    assert eval_main(["report", scored, "--codes", items, "--codebook-size", size]) == 0
    capsys.readouterr()
    assert report.count("<audio") >= 5

    assert main([SMOKE, *overrides, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert {stage["status"] for stage in again["stages"].values()} == {"skipped"}


def main_until_killed(arguments):
    """The command, which dies where a phase asks for its ninth batch."""
    batch = CropBatches.batch

    def fatal(self, number):
        if number == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch(self, number)

    CropBatches.batch = fatal
    return main(arguments)


@pytest.mark.slow
def test_a_stage_that_was_killed_is_finished_by_the_same_command(overrides, tmp_path):
    """SIGKILL in the middle of the codec's training, then the command again."""
    run = tmp_path / "run"
    longer = [
        *overrides,
        "stages=prepare,train_codec",
        "train_codec.phases.codec.steps=12",
        "train_codec.checkpoint_every=2",
    ]
    status = forked.run(main_until_killed, [SMOKE, *longer], output=tmp_path / "printed.txt")
    assert status == -signal.SIGKILL, forked.printed(tmp_path / "printed.txt")
    assert not (run / "train_codec/done.json").exists()

    assert main([SMOKE, *longer]) == 0
    done = json.loads((run / "train_codec/done.json").read_text(encoding="utf-8"))
    assert done["resumed"]
    assert done["metrics"]["phases"]["codec"]["step"] == 12


def test_phases_side_by_side_leave_the_stage_open(overrides, tmp_path, capsys):
    only = [*overrides, "stages=prepare,train_codec", "train_codec.only=[codec]"]
    assert main([SMOKE, *only]) == 2
    assert "'vocoder', 'vocoder_gan'" in capsys.readouterr().err
    assert (tmp_path / "run/train_codec/codec/last.ckpt").is_file()


def test_a_misspelt_phase_is_refused_before_any_work(overrides, tmp_path, capsys):
    assert main([SMOKE, *overrides, "train_codec.only=[codecs]"]) == 2
    assert "train_codec.only" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_items_are_spread_evenly():
    assert spread(list(range(10)), 3) == [0, 3, 6]
    assert spread([1, 2], 5) == [1, 2]
    assert spread([1, 2], None) == [1, 2]


def test_codec_overrides_that_do_not_fit_name_the_field(overrides):
    from recipes.train_codec import build_codec

    config = load_config(SMOKE, [*overrides, "codec.overrides.decoder.num_layer=2"])
    with pytest.raises(ValueError, match="num_layer"):
        build_codec(config)


def test_a_published_vocoder_is_taken_and_must_speak_the_presets_mel(overrides, tmp_path):
    from recipes.train_codec import build_codec

    vocoder = HHCodec(CodecConfig.preset("tiny")).vocoder
    vocoder.save_pretrained(tmp_path / "vocoder")
    taken = [*overrides, "codec.preset=tiny", f"codec.vocoder_from={tmp_path / 'vocoder'}"]
    codec = build_codec(load_config(SMOKE, taken))
    assert torch.equal(codec.vocoder.head.out.weight, vocoder.head.out.weight)
    with pytest.raises(ValueError, match="expects mels of"):
        build_codec(load_config(SMOKE, [*taken, "codec.overrides.mel.floor=0.5"]))


def test_declared_sources_take_the_place_of_the_prepared_clips(overrides, tmp_path, make_waveform):
    from codec.audio.sources import FolderSource
    from codec.training.data import source_shares
    from recipes.train_codec import training_sources

    for name in ("a", "b"):
        write_audio(tmp_path / name / "clip.wav", make_waveform(0.5))
    declared = [
        f"train_codec.sources.{name}.{key}"
        for name, share in (("a", 3), ("b", 1))
        for key in (f"corpus={tmp_path / name}", f"share={share}")
    ]
    config = load_config(SMOKE, [*overrides, "prepare.max_unreadable=0.4", *declared])
    sources = source_shares(training_sources(config, tmp_path / "train_codec", 24_000))
    assert [(source.folder.name, share) for source, share in sources] == [("a", 3.0), ("b", 1.0)]
    for source, _ in sources:
        assert isinstance(source, FolderSource)
        assert source.loudness_dbfs == config.prepare.loudness_dbfs

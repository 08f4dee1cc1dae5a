"""Shards are a function of the clips: of no order, no engine, no interruption."""

import json
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

import recipes.encode_corpus as stage
from codec import HHCodec
from codec.audio.pcm import as_integers, as_waveform
from codec.audio.store import AudioStore
from codec.streaming.long_form import encode_clip
from recipes.encoding.local import encode_batch, encode_waveforms, own_device
from recipes.encoding.plan import read_batch
from recipes.runner.stages import run_stage
from slm import TokenStore
from slm.data.shards import check_store
from tests.support.builders import store_files
from tests.support.tars import pack


def test_the_store_holds_what_each_clip_alone_is_encoded_to(prepared):
    folder = run_stage(prepared(), "encode_corpus").folder
    codec = HHCodec.from_pretrained(folder.parent / "train_codec/model")
    for split, count in (("train", 9), ("valid", 2), ("test", 2)):
        clips = AudioStore(folder.parent / "prepare" / split)
        store = TokenStore(folder / split, codec.code_fingerprint)
        assert len(store) == count
        for index, row in enumerate(clips.rows):
            assert store.rows[index]["id"] == row["id"]
            assert store.rows[index]["text"] == row["text"]
            assert "start" not in store.rows[index]
            expected = encode_clip(codec, clips.waveform(index))
            np.testing.assert_array_equal(store.codes(index), expected)
        check_store(folder / split)
    assert len(list((folder / "train").glob("*.done.json"))) == 3
    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["encoding"]
    assert figures["hours"] == pytest.approx(13 * 0.5 / 3600, abs=1e-4)
    assert figures["bad_files"] == 0


def test_the_gpus_of_a_machine_are_shared_out_to_as_many_workers(prepared, monkeypatch):
    """All eight of them on the first GPU would be no faster than one."""
    seen = {}

    def encode_locally(batches, source, device, workers, note):
        seen.update(device=device, workers=workers)
        yield from ()

    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    monkeypatch.setattr(stage, "encode_locally", encode_locally)
    list(stage.computed(prepared("encode_corpus.device=auto"), []))
    assert seen == {"device": "cuda", "workers": 8}
    devices = [own_device("cuda", number, 3) for number in range(4)]
    assert devices == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert own_device("cpu", 5, 0) == "cpu"


def test_codes_of_several_clips_at_once_are_those_of_each_alone(tiny_codec, make_waveform):
    codec = HHCodec.from_pretrained(tiny_codec)
    waveforms = [make_waveform(seconds) for seconds in (0.3, 45.0, 0.31, 1.0)]
    for waveform, codes in zip(waveforms, encode_waveforms(codec, waveforms), strict=True):
        assert codes.dtype == np.uint16
        np.testing.assert_array_equal(codes, encode_clip(codec, waveform))


def test_neither_the_order_of_results_nor_the_size_of_batches_changes_a_byte(prepared, monkeypatch):
    folder = run_stage(prepared(), "encode_corpus").folder
    expected = store_files(folder)
    shutil.rmtree(folder)

    codec = HHCodec.from_pretrained(folder.parent / "train_codec/model")

    def shuffled(config, batches):
        results = [encode_batch(codec, read_batch(batch)) for batch in batches]
        random.shuffle(results)
        yield from [*results[:3], *results]  # some computed twice, as after a lost answer

    monkeypatch.setattr(stage, "computed", shuffled)
    for seconds in (1, 1000):
        folder = run_stage(
            prepared(f"encode_corpus.batch_seconds={seconds}"), "encode_corpus"
        ).folder
        assert store_files(folder) == expected
        shutil.rmtree(folder)


def test_a_rerun_makes_the_missing_and_the_damaged_shards_and_no_other(prepared):
    folder = run_stage(prepared(), "encode_corpus").folder
    expected = store_files(folder)
    times = {path: path.stat().st_mtime_ns for path in folder.glob("*/codes-*")}
    (folder / "done.json").unlink()
    (folder / "train/codes-00001.done.json").unlink()
    damaged = folder / "train/codes-00002.u16"
    damaged.write_bytes(damaged.read_bytes()[::-1])
    with pytest.raises(ValueError, match=r"codes-00002\.u16|codes-00001"):
        check_store(folder / "train")
    assert run_stage(prepared(), "encode_corpus").status == "done"
    assert store_files(folder) == expected
    made = {path.name for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert {name.split(".")[0] for name in made} == {"codes-00001", "codes-00002"}


def test_a_changed_row_makes_its_shard_again(prepared):
    folder = run_stage(prepared(), "encode_corpus").folder
    (folder / "done.json").unlink()
    items = folder.parent / "prepare/train/items.jsonl"
    text = items.read_text(encoding="utf-8")
    items.write_text(text.replace("sentence number 8", "another sentence"), encoding="utf-8")
    run_stage(prepared(), "encode_corpus")
    assert TokenStore(folder / "train").rows[8]["text"] == "another sentence"


def test_recordings_give_the_store_of_prepared_clips(prepared):
    copies = "encode_corpus.shifts=[100]", "encode_corpus.speeds=[1.1]"
    folder = run_stage(prepared(*copies), "encode_corpus").folder
    expected = store_files(folder)
    rows = TokenStore(folder / "train").rows
    assert [row["id"] for row in rows[:3]] == ["train_0", "train_0+100", "train_0@1.1"]
    assert (rows[1]["base_id"], rows[1]["shift"]) == ("train_0", 100)
    shutil.rmtree(folder)
    settings = prepared(*copies, "encode_corpus.recordings=true")
    assert store_files(run_stage(settings, "encode_corpus").folder) == expected


def test_a_clip_played_faster_is_a_recording_of_another_speaker(prepared):
    settings = prepared("encode_corpus.shifts=[100]", "encode_corpus.speeds=[0.9,1.25]")
    folder = run_stage(settings, "encode_corpus").folder
    codec = HHCodec.from_pretrained(folder.parent / "train_codec/model")
    clips = AudioStore(folder.parent / "prepare/train")
    store = TokenStore(folder / "train")
    names = ["train_0", "train_0+100", "train_0@0.9", "train_0@1.25", "train_1"]
    assert [row["id"] for row in store.rows[:5]] == names
    own, fast = store.rows[0], store.rows[3]
    assert (fast["recorded_id"], fast["speed"]) == ("train_0", 1.25)
    assert fast["speaker"] == own["speaker"] + "@1.25"
    assert fast["duration"] == pytest.approx(own["duration"] / 1.25, abs=1e-6)
    # Played 1.25 times as fast is resampled to a rate of 1 / 1.25.
    played = soxr.resample(clips.waveform(0), 1.25, 1.0, quality="VHQ")
    expected = encode_clip(codec, as_waveform(as_integers(played)))
    np.testing.assert_array_equal(store.codes(3), expected)
    assert all("speed" not in row for row in TokenStore(folder / "valid").rows)


def test_recordings_in_a_tar_give_the_store_of_files(prepared, save_records):
    settings = prepared("encode_corpus.recordings=true")
    folder = run_stage(settings, "encode_corpus").folder
    expected = store_files(folder)
    shutil.rmtree(folder)
    corpus = Path(settings.corpus)
    lines = (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    found = pack(corpus / "clips.tar", (corpus / "audio").iterdir())
    records = [json.loads(line) for line in lines]
    for record in records:
        record["audio"] = found[Path(record["audio"]).name].name
    save_records(corpus, records)
    settings = prepared("encode_corpus.recordings=true", "encode_corpus.workers=2")
    assert store_files(run_stage(settings, "encode_corpus").folder) == expected


def test_bad_recordings_are_listed_and_tried_again(prepared):
    settings = prepared("encode_corpus.recordings=true", "prepare.max_unreadable=0.4")
    broken = Path(settings.corpus) / "audio/train_4.wav"
    whole = broken.read_bytes()
    broken.write_bytes(b"RIFF")
    folder = run_stage(settings, "encode_corpus").folder
    (line,) = (folder / "bad_files.jsonl").read_text(encoding="utf-8").splitlines()
    listed = json.loads(line)
    assert (listed["split"], listed["id"]) == ("train", "train_4")
    assert "train_4.wav" in listed["reason"]
    assert "train_4" not in {row["id"] for row in TokenStore(folder / "train").rows}
    assert len(TokenStore(folder / "train")) == 8

    broken.write_bytes(whole)
    (folder / "done.json").unlink()
    run_stage(settings, "encode_corpus")
    assert len(TokenStore(folder / "train")) == 9
    assert (folder / "bad_files.jsonl").read_text(encoding="utf-8") == ""


def test_a_shard_of_bad_recordings_alone_is_empty(prepared):
    one = "encode_corpus.shard_codes=1"
    settings = prepared("encode_corpus.recordings=true", "prepare.max_unreadable=0.4", one)
    (Path(settings.corpus) / "audio/train_4.wav").unlink()
    store = TokenStore(run_stage(settings, "encode_corpus").folder / "train")
    assert [row["id"] for row in store.rows][3:5] == ["train_3", "train_5"]
    assert len(store.codes(4)) == 12


def test_too_many_bad_recordings_stop_the_stage(prepared):
    settings = prepared("encode_corpus.recordings=true")
    assert settings.prepare.max_unreadable == 0.01
    for path in Path(settings.corpus).glob("audio/*.wav"):
        soundfile.write(path, np.zeros(0), 24_000)
    with pytest.raises(ValueError, match=r"every node reads the same paths.*(\n.*)*train_0"):
        run_stage(settings, "encode_corpus")
    folder = Path(settings.run) / "encode_corpus"
    assert (folder / "bad_files.jsonl").stat().st_size > 0
    assert not (folder / "train/store.json").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        "engine=spark",
        "device=tpu",
        "workers=-1",
        "batch_seconds=0",
        "speeds=[1]",
        "speeds=[0.9,0.9]",
        "speeds=[.nan]",
        "speeds=[3]",
    ],
)
def test_a_setting_that_does_not_fit_is_named(make_config, wrong):
    with pytest.raises(ValueError, match=f"encode_corpus.{wrong.split('=')[0]}"):
        make_config("corpus", f"encode_corpus.{wrong}")


def test_without_ray_the_error_says_how_to_install_it(prepared, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"not installed; pip install .*ray\[data\]>="):
        run_stage(prepared("encode_corpus.engine=ray"), "encode_corpus")


@pytest.mark.slow
def test_several_processes_give_the_bytes_of_one(prepared):
    many = ("encode_corpus.batch_seconds=1", "encode_corpus.shifts=[100,200]")
    folder = run_stage(prepared(*many), "encode_corpus").folder
    expected = store_files(folder)
    shutil.rmtree(folder)
    settings = prepared(*many, "encode_corpus.workers=2")
    assert store_files(run_stage(settings, "encode_corpus").folder) == expected

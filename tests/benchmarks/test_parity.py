import hashlib
import json

import numpy as np
import pytest
import torch

from benchmarks import parity_parts
from benchmarks.parity import (
    PartReport,
    compare,
    main,
    notices,
    read_record,
    report,
    selected,
    table,
    write_record,
)
from benchmarks.parity_inputs import CUTS, RUNS, SAMPLE_RATE, make_workspace, synthetic_clip
from benchmarks.parity_parts import digest, figures, left
from codec.runtime.processes import THREAD_VARIABLES


@pytest.fixture
def command(tmp_path, monkeypatch):
    """`command("check", value=2)`: the command line over a single part of one value."""
    for name in (*THREAD_VARIABLES, "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")

    def run(verb, *words, value=1, parts=("toy",)):
        made = {name: lambda space: {"value": str(value)} for name in parts}
        monkeypatch.setattr(parity_parts, "PARTS", made)
        return main([verb, str(tmp_path / "record.json"), *words])

    return run


def test_equal_results_have_no_differences():
    assert compare({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == ()


def test_what_differs_is_missing_or_new_is_named():
    assert compare({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "0", "d": "4"}) == (
        "b: expected 2, got 0",
        "c: expected 3, got nothing",
        "d: expected nothing, got 4",
    )


def test_floats_are_named_with_their_digits_too():
    assert compare({"loss": (0.5).hex()}, {"loss": (-0.25).hex()}) == (
        "loss: expected 0x1.0000000000000p-1 (0.5), got -0x1.0000000000000p-2 (-0.25)",
    )


def test_results_are_parted_by_how_their_names_begin():
    results = {"model codes": "1", "loss": "2"}
    assert selected(results, "model ") == {"model codes": "1"}
    assert selected(results, "model ", False) == {"loss": "2"}


def test_the_table_has_a_line_a_part():
    reports = [PartReport("codec", 30, (), 1.25), PartReport("lm-text", 5, ("a", "b"), 10.0)]
    lines = [line.split() for line in table(reports).splitlines()]
    assert lines[0] == ["part", "values", "differ", "seconds"]
    assert lines[1:] == [["codec", "30", "0", "1.2"], ["lm-text", "5", "2", "10.0"]]


def test_a_part_that_raises_differs_as_a_whole(capsys):
    def fail():
        raise RuntimeError("no such\nstage")

    found = report("toy", {"a": "1", "b": "2"}, fail)
    assert found.differences == ("all of it: expected 2 values, got RuntimeError: no such stage",)
    assert found.compared == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_record_is_read_as_it_was_written(tmp_path):
    about, parts = {"cpu": "One", "audio": None}, {"codec": {"clip 0 codes": "abc"}}
    write_record(tmp_path / "new/record.json", about, parts)
    assert read_record(tmp_path / "new/record.json") == (about, parts)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["record.json"]


@pytest.mark.parametrize("text", [None, "no JSON", "[]", "{}", '{"format": "parity 0"}'])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "record.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match="expected a record of format 'parity 1'"):
        read_record(path)


def test_another_machine_is_noticed_and_another_commit_is_not():
    before = {"cpu": "One", "torch": "2.13.0", "commit": "a", "recorded": "then"}
    now = {"cpu": "Two", "torch": "2.13.0", "commit": "b", "recorded": "now"}
    assert notices(before, now) == ["cpu: recorded with One, here Two"]


def test_check_is_status_0_for_the_same_and_1_for_another_value(command, capsys):
    assert command("record") == 0
    assert command("check") == 0
    assert "differs" not in capsys.readouterr().out
    assert command("check", value=2) == 1
    assert "differs: toy: value: expected 1, got 2" in capsys.readouterr().out


def test_a_recorded_part_that_is_gone_differs(command, capsys):
    assert command("record", parts=("toy", "other")) == 0
    assert command("check") == 1
    assert "differs: other: all of it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check"], "expected a record"),
        (["record", "--only", "nothing"], "expected parts of toy, got nothing"),
        (["record", "--audio", "."], "expected 10 recordings or more"),
        (["record", "--keep", "."], "expected --keep of a folder that is not there"),
    ],
)
def test_a_call_that_cannot_be_is_status_2(command, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert command(*words) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_kept_runs_is_refused(command, tmp_path, capsys):
    assert command("record") == 0
    assert command("check", "--kept", str(tmp_path)) == 2
    assert "that `record --keep` left" in capsys.readouterr().err


def test_a_digest_tells_values_types_and_shapes_apart():
    values = [
        np.arange(4),
        np.arange(4, dtype=np.float32),
        np.arange(4).reshape(2, 2),
        [0, 1, 2, 3],
        [0, 1, [2, 3]],
        [[0, 1], 2, 3],
        {"a": torch.zeros(1)},
        {"a": -torch.zeros(1)},
        b"0123",
        "0123",
    ]
    assert len(set(map(digest, values))) == len(values)
    raw = np.arange(4).tobytes()
    assert digest(np.arange(4)) == f"{hashlib.sha256(raw).hexdigest()} int64 (4,)"
    assert digest(torch.arange(4)) == digest(np.arange(4))


def test_a_digest_does_not_depend_on_the_order_of_keys_or_on_strides():
    tensor = torch.arange(6.0).reshape(2, 3)
    assert digest({"a": 1, "b": tensor}) == digest({"b": tensor, "a": 1})
    assert digest(tensor.T.contiguous().T) == digest(tensor)


def test_figures_are_exact_and_without_those_of_the_clock():
    values = {"loss": 0.1, "step": 3, "seconds": 1.5, "valid": {"name": "x", "mfu": 0.5}}
    assert figures("run", values) == {
        "run loss": (0.1).hex(),
        "run step": "3",
        "run valid name": '"x"',
    }


def test_what_a_run_left_is_named_by_path_and_step(tmp_path):
    folder = tmp_path / "train_codec/codec"
    folder.mkdir(parents=True)
    line = {"step": 1, "split": "train", "mel": 0.5, "seconds_per_step": 0.1}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    state = {"global_step": 2, "state_dict": {"w": torch.ones(2)}, "loops": {"started": 5}}
    torch.save(state, folder / "last.ckpt")
    (tmp_path / "train_codec/model").mkdir()
    (tmp_path / "train_codec/model/config.yaml").write_text("mel: {floor: 0.5, bands: [1, 2]}")
    assert left(tmp_path) == {
        "train_codec/codec/metrics.jsonl step 1 train mel": (0.5).hex(),
        "train_codec/model/config.yaml mel floor": (0.5).hex(),
        "train_codec/model/config.yaml mel bands": "[1, 2]",
        "train_codec/codec/last.ckpt global_step": digest(2),
        "train_codec/codec/last.ckpt state_dict": digest({"w": torch.ones(2)}),
    }


def test_synthetic_clips_are_the_same_every_time_and_differ():
    first, second = synthetic_clip(0), synthetic_clip(1)
    assert first.dtype == np.float32
    assert len(first) == round(1.2 * SAMPLE_RATE)
    assert np.abs(first).max() == 0.5
    np.testing.assert_array_equal(first, synthetic_clip(0))
    assert len(second) > len(first)


def test_a_workspace_has_ten_clips_and_the_settings_of_every_run(tmp_path):
    space = make_workspace(tmp_path, None)
    assert len(space.clips) == 10
    manifest = (tmp_path / "corpus/manifest.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in manifest.splitlines()]
    assert [row["split"] for row in rows] == ["train"] * 6 + ["valid"] * 2 + ["test"] * 2
    assert {path.stem for path in tmp_path.glob("*.yaml")} == set(RUNS)
    assert {cut.run for cut in CUTS.values()} == set(RUNS)

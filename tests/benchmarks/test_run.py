import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

import benchmarks.harness.measure as measure_module
from benchmarks.cases import registry
from benchmarks.harness.machine import describe, file_name
from benchmarks.harness.records import read_records, write_records
from benchmarks.run import main
from codec.runtime.processes import THREAD_VARIABLES


@pytest.fixture
def command(tmp_path, monkeypatch, clock, toy, toy_curve):
    """`command("--check", ours=(...), other=(...))`: the command line over a made-up benchmark."""
    for name in (*THREAD_VARIABLES, "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(measure_module, "CLOCKS", {"processor": clock, "wall": clock})

    def run(*words, ours=(1.0,), other=(3.0,), exponent=1.0):
        benchmark, curve = toy(ours=ours, other=other), toy_curve(exponent)
        folders = ["--out", str(tmp_path / "out"), "--results", str(tmp_path / "results")]
        with (
            patch.dict(registry.BENCHMARKS, {"toy": benchmark}, clear=True),
            patch.dict(registry.CURVES, {"toy.curve": curve}, clear=True),
        ):
            return main(["--suite", "small", *words, *folders])

    return run


@pytest.fixture
def committed(tmp_path, make_record):
    """`committed({"toy/ours:other": 3.0})`: results of this or another processor."""

    def write(ratios, exponents=None, cpu=None):
        record = make_record(ratios, exponents, cpu=cpu or describe()["cpu"])
        path = tmp_path / "results" / file_name(record.cpu)
        path.parent.mkdir(exist_ok=True)
        write_records(path, {"small": record})
        return path

    return write


def test_a_run_leaves_its_record_and_prints_it(command, tmp_path, capsys):
    assert command() == 0
    stored = read_records(tmp_path / "out/small.json")["small"]
    assert stored.figures["toy/ours:other"].ratio == 3.0
    assert stored.curves["toy.curve"].exponent == 1.0
    assert (stored.threads, stored.clock, stored.suite) == (1, "processor", "small")
    assert stored.command.startswith("python -m benchmarks.run --suite small")
    assert stored.machine["packages"]["torch"]
    printed = capsys.readouterr().out
    assert "| ours | other | **3.00** | 3.00 to 3.00 | 2.00, 0.667 | what |" in printed
    assert "| toy.curve | about | 1 to 8 s |" in printed


def test_update_makes_what_check_compares_with(command, tmp_path):
    (tmp_path / "results").mkdir()
    assert command("--update") == 0
    path = tmp_path / "results" / file_name(describe()["cpu"])
    assert read_records(path)["small"].figures["toy/ours:other"].ratio == 3.0
    assert command("--check") == 0
    assert command("--check", ours=(2.0,)) == 1


def test_update_keeps_the_other_suite(command, tmp_path, make_record):
    path = tmp_path / "results" / file_name(describe()["cpu"])
    path.parent.mkdir()
    full = make_record({"toy/ours:other": 7.0}, suite="full", cpu=describe()["cpu"])
    write_records(path, {"full": full})
    assert command("--update") == 0
    assert set(read_records(path)) == {"full", "small"}
    assert read_records(path)["full"] == full


def test_a_ratio_that_fell_is_named_and_makes_the_status_1(command, committed, capsys):
    committed({"toy/ours:other": 6.0})
    assert command("--check") == 1
    assert "fell: toy/ours:other: 3 (3 to 3, 20 rounds), was 6" in capsys.readouterr().err


def test_a_moment_of_noise_does_not_fail(command, committed, tmp_path):
    """The first six calls, warm-up included, are slow: all of 5 rounds, half of 10, 5 of 20."""
    committed({"toy/ours:other": 3.0})
    assert command("--check", ours=(5.0,) * 6 + (1.0,)) == 0
    stored = read_records(tmp_path / "out/small.json")["small"].figures["toy/ours:other"]
    assert (stored.ratio, stored.rounds) == (3.0, 20)


def test_results_of_another_processor_are_not_compared_with(command, committed, capsys):
    committed({"toy/ours:other": 6.0}, cpu="Another")
    assert command("--check", ours=(2.0,)) == 0
    assert "no results are of this processor" in capsys.readouterr().err


def test_a_curve_that_became_worse_than_linear_fails(command, committed, capsys):
    committed({"toy/ours:other": 3.0}, {"toy.curve": 1.0})
    assert command("--check", exponent=1.1) == 0
    assert command("--check", exponent=2.0) == 1
    assert "fell: toy.curve: worse than linear, exponent 2.00" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--check"], "found none"),
        (["--update", "--only", "toy"], "--update alone"),
        (["--only", "nothing"], "got nothing"),
        (["--threads", "0"], "threads: expected a number >= 1, got 0"),
    ],
)
def test_a_call_that_cannot_be_is_status_2(command, tmp_path, capsys, words, message):
    assert command(*words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_list_says_what_is_measured_without_measuring(command, clock, capsys):
    assert command("--list") == 0
    listed = capsys.readouterr().out
    assert "ours / other: what" in listed
    assert "1, 2, 4, 8 s" in listed
    assert clock.log == []


def test_help_has_examples_and_loads_no_torch(tmp_path):
    code = "import sys; from benchmarks.run import main\ntry: main(['--help'])\nexcept SystemExit: "
    code += "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert "--suite small --check" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []

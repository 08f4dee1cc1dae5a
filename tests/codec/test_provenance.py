"""Origin of figures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from codec import provenance
from codec.provenance import (
    command_line,
    cpu_model,
    cpu_name,
    git_commit,
    gpu_names,
    hardware,
    instructions,
    machine,
    package_versions,
    utc_time,
)

CPUINFO = """processor : 0
cpu family\t: 6
model\t\t: 207
model name\t: Intel(R) Xeon(R)
flags\t\t: fpu avx2 avx512f amx_bf16

processor : 1
model : 1
"""


@pytest.fixture
def cpuinfo(tmp_path: Path) -> Path:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO, encoding="utf-8")
    return path


@pytest.fixture
def git(tmp_path: Path):
    def run(*words: str) -> str:
        author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        command = ["git", "-C", str(tmp_path), *author, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    return run


def test_the_commit_says_whether_files_differ_from_it(tmp_path, git):
    assert git_commit(tmp_path) is None
    git("init", "-q")
    assert git_commit(tmp_path) is None
    git("commit", "-q", "--allow-empty", "-m", "Begin")
    clean = git_commit(tmp_path)
    assert clean == git("rev-parse", "HEAD")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.json").touch()
    assert git_commit(tmp_path) == f"{clean}-dirty"
    assert git_commit(tmp_path, ignoring=["results"]) == clean
    (tmp_path / "new.py").touch()
    assert git_commit(tmp_path, ignoring=["results"]) == f"{clean}-dirty"


def test_without_git_there_is_no_commit(tmp_path, git, monkeypatch):
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "Begin")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(tmp_path) is None


def test_a_package_in_somebodys_checkout_does_not_take_its_commit(tmp_path, git, monkeypatch):
    """An environment may lie in the checkout of another project."""
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "Begin")
    installed = tmp_path / "provenance.py"
    installed.touch()
    monkeypatch.setattr(provenance, "__file__", str(installed))
    assert git_commit() is None
    git("add", "provenance.py")
    git("commit", "-q", "-m", "Add it")
    assert git_commit() == git("rev-parse", "HEAD")


def test_processors_of_one_name_are_told_apart_by_family_and_model(cpuinfo, tmp_path):
    assert cpu_model(cpuinfo) == "Intel(R) Xeon(R), cpu family 6, model 207"
    assert cpu_name(cpuinfo) == "Intel(R) Xeon(R)"
    assert instructions(cpuinfo) == ["avx2", "avx512f", "amx_bf16"]
    missing = tmp_path / "missing"
    assert cpu_model(missing, "arm64") == cpu_name(missing, "arm64") == "arm64"
    assert cpu_name(missing)
    assert instructions(missing) == []


def test_gpus_are_named_by_their_driver(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for number in range(2):
        path = tmp_path / f"0000:0{number}:00.0" / "information"
        path.parent.mkdir()
        path.write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 7\n", encoding="utf-8")
    assert gpu_names(tmp_path) == ["NVIDIA H100 80GB HBM3"] * 2
    assert gpu_names(tmp_path / "none") == []


def test_a_machine_is_described_in_a_line(monkeypatch):
    about = {"processor": "Xeon", "cores": 8, "usable_cores": 8}
    about |= {"instructions": ["avx2", "avx512f"], "gpus": ["L4", "L4", "T4"]}
    monkeypatch.setattr(provenance, "machine", lambda: about)
    assert hardware() == "Xeon, 8 cores, up to avx512f, 2 x L4, T4"
    about |= {"usable_cores": 2, "instructions": [], "gpus": []}
    assert hardware() == "Xeon, 8 cores (2 usable)"


def test_this_machine_is_described():
    about = machine()
    assert about["processor"]
    assert about["cpu"].startswith(about["processor"])
    assert about["cores"] >= about["usable_cores"] >= 1
    assert hardware()


def test_a_report_gets_a_line_of_each(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/hh-eval", "codec", "my file"])
    found = provenance.provenance("hh-eval", commit="abc")
    assert list(found) == ["command", "commit", "date", "hardware", "python"]
    assert found["command"] == command_line("hh-eval") == "hh-eval codec 'my file'"
    assert command_line("python -m recipes.demo", ["a"]) == "python -m recipes.demo a"
    assert found["commit"] == "abc"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])
    monkeypatch.setattr(provenance, "git_commit", lambda: None)
    assert provenance.provenance("x")["commit"] == "not a git checkout"


def test_times_are_in_utc_to_the_second():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", utc_time())


def test_versions_are_those_of_what_is_installed():
    versions = package_versions(["numpy", "no-such-package"])
    assert versions["numpy"]
    assert versions["no-such-package"] is None

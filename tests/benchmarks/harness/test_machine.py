import subprocess

from benchmarks.harness.machine import commit, describe, file_name
from codec.provenance import cpu_model


def test_processors_of_one_name_are_told_apart_by_family_and_model(tmp_path):
    path = tmp_path / "cpuinfo"
    lines = ["processor : 0", "cpu family\t: 6", "model\t\t: 207", "model name\t: Intel(R) Xeon(R)"]
    path.write_text("\n".join([*lines, "", "processor : 1", "model : 1"]), encoding="utf-8")
    cpu = cpu_model(path, "x86_64")
    assert cpu == "Intel(R) Xeon(R), cpu family 6, model 207"
    assert file_name(cpu) == "intel-xeon-cpu-family-6-model-207.json"


def test_the_machine_is_described_with_the_versions_that_matter():
    about = describe()
    assert about["cpu"]
    assert about["cores"] >= 1
    assert about["packages"]["torch"]


def test_new_results_leave_the_commit_clean_and_new_code_does_not(tmp_path):
    def git(*words):
        author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", "-C", str(tmp_path), *author, *words], check=True)

    assert commit(tmp_path) is None
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "Begin")
    clean = commit(tmp_path)
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "benchmarks/results").mkdir(parents=True)
    (tmp_path / "benchmarks/results/a.json").write_text("{}", encoding="utf-8")
    assert commit(tmp_path) == clean
    (tmp_path / "benchmarks/new.py").write_text("", encoding="utf-8")
    assert commit(tmp_path) == f"{clean}-dirty"

from benchmarks.machine import cpu_model, describe, file_name


def test_processors_of_one_name_are_told_apart_by_family_and_model(tmp_path):
    path = tmp_path / "cpuinfo"
    lines = ["processor : 0", "cpu family\t: 6", "model\t\t: 207", "model name\t: Intel(R) Xeon(R)"]
    path.write_text("\n".join([*lines, "", "processor : 1", "model : 1"]), encoding="utf-8")
    cpu = cpu_model(path, "x86_64")
    assert cpu == "Intel(R) Xeon(R), cpu family 6, model 207"
    assert file_name(cpu) == "intel-xeon-cpu-family-6-model-207.json"
    assert cpu_model(tmp_path / "missing", "arm64") == "arm64"


def test_the_machine_is_described_with_the_versions_that_matter():
    about = describe()
    assert about["cpu"]
    assert about["cores"] >= 1
    assert about["packages"]["torch"]

"""Weights by option, by environment and inside packages."""

import hashlib

import pytest

from eval.protocols import WeightSpec
from eval.weights import (
    find_weight,
    parse_weights,
    require_weight,
    use_weights,
    weight_digest,
    weight_obstacle,
)

SPEC = WeightSpec("some_net", "MIT", "get it from the shelf")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.setenv(SPEC.variable, "")


def test_a_missing_weight_names_licence_flag_variable_and_source():
    reason = weight_obstacle(SPEC)
    assert reason is not None
    for part in ("'some_net'", "MIT", "from the shelf", "--weight some_net=PATH"):
        assert part in reason
    assert "HH_WEIGHT_SOME_NET=PATH" in reason
    with pytest.raises(ValueError, match="some_net"):
        require_weight(SPEC)


def test_a_named_file_is_found_and_its_digest_checked(tmp_path):
    path = tmp_path / "net.pt"
    path.write_bytes(b"weights")
    use_weights(parse_weights([f"some_net={path}"]))
    assert require_weight(SPEC) == path
    digest = hashlib.sha256(b"weights").hexdigest()
    assert weight_digest(path) == digest
    assert weight_obstacle(WeightSpec("some_net", "", "", sha256=digest)) is None
    wrong = weight_obstacle(WeightSpec("some_net", "", "", sha256="0" * 64))
    assert wrong is not None
    assert digest in wrong
    assert find_weight(WeightSpec("some_net", "", "", is_folder=True)) is None


def test_a_folder_is_hashed_by_names_and_contents(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "a.bin").write_bytes(b"1")
    assert weight_digest(tmp_path / "one") == weight_digest(tmp_path / "two")
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "a.bin").write_bytes(b"1")
    assert weight_digest(tmp_path / "three") != weight_digest(tmp_path / "one")


def test_a_weight_inside_a_package_is_found_without_import():
    found = find_weight(WeightSpec("w", "", "", bundled=("eval", "py.typed")))
    assert found is None or found.name == "py.typed"
    assert find_weight(WeightSpec("w", "", "", bundled=("eval", "weights.py"))) is not None
    assert find_weight(WeightSpec("w", "", "", bundled=("eval", "nothing.pt"))) is None
    assert find_weight(WeightSpec("w", "", "", bundled=("no_such_package", "a.pt"))) is None


@pytest.mark.parametrize("option", ["some_net", "=path", "some_net=", "some_net=/no/such/file"])
def test_a_wrong_option_is_refused(option):
    with pytest.raises(ValueError, match="expected"):
        parse_weights([option])


def test_a_weight_that_a_package_brings_asks_for_that_package_alone():
    spec = WeightSpec("w", "MIT", "pip install it", bundled=("no_such_package", "a.pt"))
    assert "; pip install it; that is all, or --weight w=PATH" in (weight_obstacle(spec) or "")

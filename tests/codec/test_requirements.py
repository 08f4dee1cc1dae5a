"""Commands that install what is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from codec import requirements
from codec.requirements import WITHOUT_DEPENDENCIES, canonical_name, install_command

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("packages", "command"),
    [
        (("swift-f0",), 'pip install "swift-f0>=0.3,<0.4"'),
        (("swift_f0",), 'pip install "swift-f0>=0.3,<0.4"'),
        (("ray",), 'pip install "ray[data]>=2.60,<3"'),
        (("vocos",), "pip install --no-deps vocos==0.1.0"),
        (
            ("torchcrepe", "resampy==0.4.*"),
            'pip install --no-deps torchcrepe==0.0.24; pip install "resampy>=0.4.3,<0.5"',
        ),
        (("pesq", "pesq"), "pip install pesq==0.0.4"),
        (("absent==1.*",), 'pip install "absent==1.*"'),
        (("absent",), "pip install absent"),
    ],
)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="reads pyproject.toml by tomllib")
def test_commands_name_the_versions_of_the_extras(packages: tuple[str, ...], command: str) -> None:
    assert install_command(*packages) == command


def test_pip_takes_every_requirement_without_quotes_of_one_shell() -> None:
    assert "'" not in install_command(*WITHOUT_DEPENDENCIES, "jiwer", "visqol-python")
    assert list(WITHOUT_DEPENDENCIES) == [canonical_name(n) for n in WITHOUT_DEPENDENCIES.values()]


def test_an_installation_without_a_checkout_is_asked_for_its_metadata(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = ["torch>=2.6", 'jiwer<5,>=4; extra == "eval"']
    monkeypatch.setattr(requirements, "_of_checkout", list)
    monkeypatch.setattr(requirements, "requires", lambda name: metadata)
    requirements._declared.cache_clear()
    try:
        assert install_command("jiwer") == 'pip install "jiwer<5,>=4"'
        assert install_command("peft") == "pip install peft"
    finally:
        requirements._declared.cache_clear()


def test_what_is_not_installed_at_all_has_no_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(requirements, "requires", absent)
    assert requirements._of_installation() == []


def test_messages_are_built_without_torch() -> None:
    code = "import sys, codec.requirements as r; r.install_command('jiwer'); print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "torch" not in found.stdout.split()

"""Messages of the packages: what they tell a reader to do can be done."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator

import pytest

import codec
import eval as evaluation
import slm
from codec.requirements import WITHOUT_DEPENDENCIES, canonical_name
from codec.version import __version__
from tests.support.sources import ROOT, modules

SOURCES = list(modules("codec", "slm", "eval", "recipes"))


def strings(tree: ast.AST) -> Iterator[str]:
    """Literals of a module, docstrings included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_one_place_builds_the_commands_that_install_packages() -> None:
    by_hand = {
        name
        for name, path in SOURCES
        if any("pip install" in text for text in strings(ast.parse(path.read_text("utf-8"))))
    }
    # use codec.requirements.install_command
    assert by_hand == {"codec/requirements.py"}


def test_packages_that_messages_ask_for_are_in_an_extra() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    known = {canonical_name(line) for lines in extras for line in lines} | set(WITHOUT_DEPENDENCIES)
    asked = {
        str(argument.value)
        for _, path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "install_command"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }
    assert len(asked) > 10
    assert {name for name in asked if canonical_name(name) not in known} == set()


def test_no_message_asks_for_a_package_that_no_index_has() -> None:
    wrong = [
        path.name
        for _, path in SOURCES
        if path.name != "requirements.py" and "hh-slm[" in path.read_text("utf-8")
    ]
    assert wrong == []


def test_every_package_tells_the_version() -> None:
    assert codec.__version__ == slm.__version__ == evaluation.__version__ == __version__
    assert f"\n## [{__version__}] - " in (ROOT / "CHANGELOG.md").read_text("utf-8")


def formatted(handler: ast.ExceptHandler) -> Iterator[int]:
    """Lines where a handler makes text of its error by str, repr or an f-string."""
    for node in ast.walk(handler):
        shown = node.value if isinstance(node, ast.FormattedValue) else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            shown = node.args[0] if node.func.id in ("str", "repr") else None
        if isinstance(shown, ast.Name) and shown.id == handler.name:
            yield shown.lineno


def may_be_of_the_system(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler takes an `OSError`, by the classes that it names."""
    assert handler.type is not None
    nodes = ast.walk(handler.type)
    classes = [getattr(builtins, node.id, None) for node in nodes if isinstance(node, ast.Name)]
    known = [each for each in classes if isinstance(each, type)]
    return any(issubclass(OSError, each) or issubclass(each, OSError) for each in known)


def test_errors_of_the_system_are_made_text_of_in_one_place() -> None:
    by_hand = [
        f"{name}:{line}"
        for name, path in modules("codec", "slm", "eval", "recipes", "benchmarks")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ExceptHandler) and node.name and may_be_of_the_system(node)
        for line in formatted(node)
    ]
    # their own text is "[Errno 17] File exists: 'in.wav'"; use codec.error_text.message_of
    assert by_hand == []


def test_commands_in_docstrings_are_shown_as_they_are_typed() -> None:
    # A backslash at the end of a line joins it to the next one unless the docstring is raw.
    joined = [
        f"{name}: {line.strip()}"
        for name, path in modules("codec", "slm", "eval", "recipes", "benchmarks")
        for text in strings(ast.parse(path.read_text("utf-8")))
        for line in text.split("\n")
        if re.search(r"^    .*[\w/] {4,}--\w", line)
    ]
    assert joined == []

"""Targets of docs/reference/renames.md: modules and names that the code defines."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.sources import ROOT

PAGE = ROOT / "docs" / "reference" / "renames.md"
OURS = ("codec", "slm", "eval", "recipes", "benchmarks")
# Code spans, arrows and what ends a target or its parenthesis, in the order of the page.
TOKENS = re.compile(r"`([^`]+)`|->|;|\((?=`)|\)|\n- ")
DOTTED = re.compile(rf"(?:{'|'.join(OURS)})(?:\.\w+)*")


@cache
def module_path(name: str) -> Path | None:
    """The file of a module of ours, None where there is none."""
    path = ROOT / name.replace(".", "/")
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


@cache
def defined(path: Path) -> frozenset[str]:
    """Names of the functions, classes, parameters and variables of a module, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                names.add(name)
    return frozenset(names)


@cache
def exported(path: Path) -> frozenset[str]:
    """Names that the face of a package lists in `__all__`."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def missing_part(dotted: str) -> str | None:
    """The first part of a dotted path that does not exist, None when all do."""
    parts = dotted.split(".")
    length = max(n for n in range(1, len(parts) + 1) if module_path(".".join(parts[:n])))
    path = module_path(".".join(parts[:length]))
    assert path is not None
    known = defined(path) | exported(path)
    return next((part for part in parts[length:] if part not in known), None)


def module_of(dotted: str) -> Path:
    """The file of the module that a dotted path lies in."""
    while (path := module_path(dotted)) is None:
        dotted = dotted.rpartition(".")[0]
    return path


def spelled_out(span: str) -> list[str]:
    """`a.{b, c}` as `a.b` and `a.c`, anything else as it is."""
    stem, brace, names = span.partition("{")
    return [stem + name.strip() for name in names.rstrip("}").split(",")] if brace else [span]


def targets(text: str) -> Iterator[tuple[str, str | None]]:
    """New names of the page, each with the dotted target whose parenthesis it stands in."""
    is_new, last, within = False, None, None
    for token in TOKENS.finditer(text):
        span, mark = token[1], token[0].strip()
        if mark == "->":
            is_new = True
        elif mark == "(":
            within = last if is_new else None
        elif mark == ")":
            within = None
        elif span is None:
            is_new, last, within = False, None, None
        elif is_new:
            rest = text[token.end() : token.end() + 4]
            if rest.startswith(" ->"):
                continue
            for name in spelled_out(span):
                dotted = DOTTED.match(name)
                last = dotted[0] if dotted else last
                yield name, within


def rows(text: str) -> dict[str, list[str]]:
    """New modules of the table, by the old one."""
    found = re.findall(r"^\| `([\w.]+)` \| `([^`]+)` \|$", text, re.MULTILINE)
    return {old: new.split(", ") for old, new in found}


def test_modules_of_the_table_exist() -> None:
    modules = rows(PAGE.read_text("utf-8"))
    assert len(modules) > 200
    wrong = {old: new for old, new in modules.items() for name in new if not module_path(name)}
    assert wrong == {}


def test_dotted_targets_exist() -> None:
    names = [name for name, _ in targets(PAGE.read_text("utf-8"))]
    dotted = [found[0] for found in map(DOTTED.match, names) if found]
    assert len(dotted) > 80
    assert [name for name in dotted if missing_part(name)] == []


def test_names_in_the_parenthesis_of_a_target_are_defined_in_it() -> None:
    found = [(name, home) for name, home in targets(PAGE.read_text("utf-8")) if home]
    assert len(found) > 10
    wrong = []
    for name, home in found:
        identifier = re.match(r"[A-Za-z_]+", name)
        module = module_of(home)
        if identifier and identifier[0] not in defined(module) | exported(module):
            wrong.append((name, home))
    assert wrong == []

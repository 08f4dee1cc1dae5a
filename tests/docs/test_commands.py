"""The commands of README, guides and model cards name commands, options and settings that exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import pytest

from codec.cli.main import main as hh_codec
from eval.cli.main import main as hh_eval
from recipes.runner.config import load_config
from slm.cli.main import main as hh_slm
from tests.support.sources import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("*/pretrained/*/README.md")),
]
PROGRAMS = {"hh-codec": hh_codec, "hh-slm": hh_slm, "hh-eval": hh_eval}
# Commands that take a recipe and the settings of `recipes.runner.schema`.
STAGES = ("prepare", "train_codec", "encode_corpus", "train_text", "train_slm", "generate")
OF_RECIPES = {f"recipes.{name}" for name in ("run_all", *STAGES, "evaluate")}
CALL = re.compile(r"hh-(codec|slm|eval) |python -m (recipes|benchmarks|codec)\b")
# Pages of names that are no more.
FORMER = {"docs/reference/renames.md"}


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command in the indented blocks of a page, its continued lines joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.split("\n"):
        if not line.startswith("    ") or "..." in line:
            continue
        found = CALL.search(line)
        if found is None:
            continue
        try:
            words = shlex.split(line[found.start() :], comments=True)
        except ValueError:  # a quotation that goes on in the next line
            continue
        ends = [words.index(sign) for sign in ("|", ">", "&&", "--") if sign in words]
        yield words[: min(ends, default=len(words))]


CALLS = sorted(
    {
        (page.relative_to(ROOT).as_posix(), *words)
        for page in PAGES
        if page.relative_to(ROOT).as_posix() not in FORMER
        for words in commands(page)
    }
)


@cache
def help_of(program: str, command: str, part: str = "") -> str:
    """The help of a command; '' where there is none of that name."""
    printed = StringIO()
    with redirect_stdout(printed), redirect_stderr(StringIO()):
        try:
            PROGRAMS[program]([command, *([part] if part else []), "--help"])
        except SystemExit as ended:
            return printed.getvalue() if ended.code == 0 else ""
    return printed.getvalue()


@pytest.mark.parametrize("call", [c for c in CALLS if c[1] in PROGRAMS], ids=" ".join)
def test_a_command_and_its_options_exist(call: tuple[str, ...]) -> None:
    _, program, command, *words = call
    text = help_of(program, command)
    assert text, f"no command {command}"
    if command == "bench" and program == "hh-slm":
        text = help_of(program, command, words[0])
    options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text))
    assert options <= known, sorted(options - known)


@pytest.mark.parametrize("call", [c for c in CALLS if c[1] == "python"], ids=" ".join)
def test_a_module_and_its_settings_exist(call: tuple[str, ...]) -> None:
    _, _, _, module, *words = call
    assert importlib.util.find_spec(module) is not None, module
    files = [word for word in words if word.endswith(".yaml")]
    if module not in OF_RECIPES or not files or not files[0].startswith("recipes/"):
        return
    settings = [word for word in words if re.match(r"[a-z_]+(\.\w+)*=", word)]
    load_config(ROOT / files[0], settings)


def test_what_does_not_exist_is_found() -> None:
    with pytest.raises(AssertionError, match="no command enkode"):
        test_a_command_and_its_options_exist(("page", "hh-codec", "enkode", "in.wav"))
    with pytest.raises(AssertionError, match="--nope"):
        test_a_command_and_its_options_exist(("page", "hh-codec", "encode", "in.wav", "--nope"))
    recipe = ("page", "python", "-m", "recipes.run_all", "recipes/configs/mini.yaml")
    with pytest.raises(ValueError, match="train_slm"):
        test_a_module_and_its_settings_exist((*recipe, "train_slm.stepz=3"))
    assert sum("recipes/configs" in " ".join(call) for call in CALLS) > 20

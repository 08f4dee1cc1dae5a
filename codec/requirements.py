"""Commands that install what an optional part needs, for messages.

The project is on no index, so `pip install "hh-slm[eval]"` fails: a message names the missing
packages themselves, in the versions that the project's extras ask for.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

PROJECT = "hh-slm"
# Installed without what they ask for: a torchaudio that does not load beside every torch, a
# compiler, or packages that nothing here imports.
WITHOUT_DEPENDENCIES = {
    "bigvgan": "bigvgan==2.4.1",
    "distillmos": "distillmos==0.9.1",
    "moonshine-voice": "moonshine-voice==0.0.48",
    "resemblyzer": "Resemblyzer==0.1.4",
    "speechmos": "speechmos==0.0.1.1",
    "torchcrepe": "torchcrepe==0.0.24",
    "vocos": "vocos==0.1.0",
    "xls-r-sqa": "xls-r-sqa==0.1.0",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PLAIN = re.compile(r"[A-Za-z0-9._=-]+")


def install_command(*packages: str) -> str:
    """Build the pip command that installs packages, to be pasted into any shell.

    Args:
        packages: Distribution names. One that no extra asks for may carry a version
            (`absent==1.*`), which is taken as it is.

    Returns:
        `pip install "name>=1,<2" ...`; in front of it, with a semicolon between, the command for
        those that are installed without their dependencies.
    """
    known = _declared()
    alone, others = [], []
    for package in packages:
        name = canonical_name(package)
        if name in WITHOUT_DEPENDENCIES:
            alone.append(WITHOUT_DEPENDENCIES[name])
        else:
            others.append(known.get(name, package))
    commands = []
    if alone:
        commands.append("pip install --no-deps " + " ".join(map(_quoted, dict.fromkeys(alone))))
    if others:
        commands.append("pip install " + " ".join(map(_quoted, dict.fromkeys(others))))
    return "; ".join(commands)


def canonical_name(requirement: str) -> str:
    """Name of a requirement in the one spelling that an index compares by."""
    found = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", found[0] if found else requirement).lower()


def _quoted(requirement: str) -> str:
    # cmd.exe knows no single quotes and takes < and > as redirections
    return requirement if _PLAIN.fullmatch(requirement) else f'"{requirement}"'


@cache
def _declared() -> dict[str, str]:
    """Requirements of the project and of its extras, by canonical name."""
    lines = _of_checkout() or _of_installation()
    return {canonical_name(line): line for line in reversed(lines)}


def _of_checkout() -> list[str]:
    """Requirements in the pyproject.toml beside the package; none where there is no checkout.

    It comes before the metadata, which an editable installation wrote when it was made.
    """
    path = Path(__file__).resolve().parent.parent / "pyproject.toml"
    if sys.version_info < (3, 11) or not path.is_file():
        return []
    import tomllib

    project = tomllib.loads(path.read_text("utf-8")).get("project", {})
    if project.get("name") != PROJECT:
        return []
    extras = project.get("optional-dependencies", {})
    return [*project["dependencies"], *(line for lines in extras.values() for line in lines)]


def _of_installation() -> list[str]:
    """Requirements in the metadata of the installed project, without their markers."""
    try:
        return [line.split(";")[0].strip() for line in requires(PROJECT) or []]
    except PackageNotFoundError:
        return []

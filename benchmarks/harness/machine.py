"""Description of the machine that figures were measured on: processor, memory, versions, commit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from codec.provenance import git_commit, machine, package_versions

from .reference_work import ROOT

PACKAGES = ("torch", "numpy", "scipy", "transformers", "x-transformers", "soundfile", "pystoi")
RESULT_FILES = ("benchmarks/results", "docs/reports/benchmarks.md", "docs/images/benchmarks.png")


def describe() -> dict[str, Any]:
    """Describe the machine: `cpu`, `cores`, `memory_gb`, `system`, `python`, `packages`."""
    about = machine()
    kept = {name: about[name] for name in ("cpu", "cores", "memory_gb", "system", "python")}
    return kept | {"packages": package_versions(PACKAGES)}


def file_name(cpu: str) -> str:
    """Derive a file name from a processor's: lower case letters, digits and dashes."""
    words = re.sub(r"\((R|TM|C)\)", "", cpu, flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") + ".json"


def commit(root: Path = ROOT) -> str | None:
    """Find the commit of a checkout, with `-dirty` when files other than results differ from it.

    Results of one suite must not mark the code of the next one as changed.
    """
    return git_commit(root, ignoring=RESULT_FILES)

"""What figures were measured on: processor, memory, versions, commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from codec.bench.codecs import machine
from codec.provenance import git_commit

from .reference_work import ROOT

PACKAGES = ("torch", "numpy", "scipy", "transformers", "x-transformers", "soundfile", "pystoi")
RESULT_FILES = ("benchmarks/results", "docs/reports/benchmarks.md", "docs/images/benchmarks.png")


def describe() -> dict[str, Any]:
    """The machine as JSON: `cpu`, `cores`, `memory_gb`, `system`, `python`, `packages`."""
    about = machine()
    return {
        "cpu": cpu_model(Path("/proc/cpuinfo"), about["processor"]),
        "cores": about["cores"],
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": about["python"],
        "packages": {name: _version(name) for name in PACKAGES},
    }


def cpu_model(path: Path, name: str) -> str:
    """A processor's name with family and model: clouds give several kinds the same name.

    Args:
        path: `/proc/cpuinfo`, or one like it; may be missing.
        name: what the system calls the processor.
    """
    if not path.is_file():
        return name
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    found: dict[str, str] = {}
    for key, value in pairs:
        found.setdefault(key.strip(), value.strip())
    numbers = [f"{key} {found[key]}" for key in ("cpu family", "model") if key in found]
    return ", ".join([found.get("model name", name), *numbers])


def file_name(cpu: str) -> str:
    """A file name for a processor: lower case letters, digits and dashes."""
    words = re.sub(r"\((R|TM|C)\)", "", cpu, flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") + ".json"


def commit(root: Path = ROOT) -> str | None:
    """The commit of a checkout, with `-dirty` when other files than results differ from it.

    Results of one suite must not make those of the next look as if the code had changed.
    """
    found = git_commit(root)
    if found is None or not found.endswith("-dirty"):
        return found
    kept = [f":(exclude){path}" for path in RESULT_FILES]
    command = ["git", "-C", str(root), "status", "--porcelain", "--", ".", *kept]
    changed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return found if changed else found.removesuffix("-dirty")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

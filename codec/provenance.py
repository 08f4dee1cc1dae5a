"""Origin of a figure: commit, date, command, hardware and package versions, for tables and runs.

Nothing here loads torch; GPUs are named by the driver, or by torch where it is loaded already.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_CPUINFO = Path("/proc/cpuinfo")
_GPUS = Path("/proc/driver/nvidia/gpus")
# What the speed and the roundings of matrix products depend on, each list in the order in which
# processors got them, as Linux calls it: of x86, and of Arm.
INSTRUCTIONS = (
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "sve", "i8mm", "bf16", "sve2"),
)
NO_COMMIT = "not a git checkout"


def provenance(
    program: str, arguments: Sequence[str] | None = None, *, commit: str | None = None
) -> dict[str, str]:
    """Describe where the figures of this process come from, a line each, for a report.

    Args:
        program: As `command_line` takes it.
        arguments: As `command_line` takes them.
        commit: Of the code; None asks git.

    Returns:
        `command`, `commit`, `date` (UTC, YYYY-MM-DD), `hardware` and `python`.
    """
    return {
        "command": command_line(program, arguments),
        "commit": commit or git_commit() or NO_COMMIT,
        "date": utc_time()[:10],
        "hardware": hardware(),
        "python": platform.python_version(),
    }


def command_line(program: str, arguments: Sequence[str] | None = None) -> str:
    """Join a program with its arguments, to be pasted into a shell.

    Args:
        program: What was called, such as "hh-eval" or "python -m recipes.run_all".
        arguments: What it was called with; None for the arguments of this process.
    """
    given = sys.argv[1:] if arguments is None else arguments
    return " ".join([program, *map(shlex.quote, given)])


def utc_time() -> str:
    """Tell the time in UTC to the second, such as 2026-01-31T12:00:00+00:00."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def git_commit(
    folder: str | os.PathLike[str] | None = None, *, ignoring: Sequence[str] = ()
) -> str | None:
    """Find the commit of a checkout, with `-dirty` when files differ from it.

    Args:
        folder: In the checkout; None for the one that this package is part of, which is none where
            it is installed, even into an environment that lies in some other checkout.
        ignoring: Paths from `folder` whose changes do not count, such as results.

    Returns:
        40 hex digits, or None outside a checkout, in one without a commit, or without git.
    """
    own = Path(__file__).resolve()
    root = own.parent if folder is None else Path(folder)
    try:
        if folder is None:
            _git(root, "ls-files", "--error-unmatch", "--", own.name)
        found = _git(root, "rev-parse", "HEAD")
        kept = ["--", ".", *(f":(exclude){path}" for path in ignoring)] if ignoring else []
        return found + ("-dirty" if _git(root, "status", "--porcelain", *kept) else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def package_versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Look up the versions of packages; None for one that is not installed."""
    return {name: _version(name) for name in packages}


def hardware() -> str:
    """Describe the machine in a line: processor, cores, the latest instruction set, GPUs."""
    about = machine()
    parts = [about["processor"], f"{about['cores']} cores"]
    if about["usable_cores"] != about["cores"]:
        parts[-1] += f" ({about['usable_cores']} usable)"
    parts += [f"up to {name}" for name in about["instructions"][-1:]]
    gpus: list[str] = about["gpus"]
    parts += [
        name if gpus.count(name) == 1 else f"{gpus.count(name)} x {name}"
        for name in dict.fromkeys(gpus)
    ]
    return ", ".join(parts)


def machine() -> dict[str, Any]:
    """Describe the machine as JSON.

    Returns:
        `processor`, its name; `cpu`, that with family and model; `cores` and those that this
        process may use, `usable_cores`; `instructions`, those of INSTRUCTIONS that it has;
        `memory_gb`, None where unknown; `gpus`, their names; `system` and `python`.
    """
    return {
        "processor": cpu_name(),
        "cpu": cpu_model(),
        "cores": os.cpu_count() or 1,
        "usable_cores": usable_cores(),
        "instructions": instructions(),
        "memory_gb": _memory_gb(),
        "gpus": gpu_names(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def usable_cores() -> int:
    """Count the cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name(path: Path = _CPUINFO, default: str | None = None) -> str:
    """Name the processor.

    Args:
        path: `/proc/cpuinfo`, or one like it; may be missing.
        default: Where that does not say; None for what the system calls it.
    """
    fallback = platform.processor() or platform.machine() if default is None else default
    return _cpuinfo(path).get("model name", fallback)


def cpu_model(path: Path = _CPUINFO, default: str | None = None) -> str:
    """Name the processor with family and model: clouds give several kinds the same name.

    Args:
        path: As `cpu_name` takes it.
        default: As `cpu_name` takes it.
    """
    found = _cpuinfo(path)
    numbers = [f"{key} {found[key]}" for key in ("cpu family", "model") if key in found]
    return ", ".join([cpu_name(path, default), *numbers])


def instructions(path: Path = _CPUINFO) -> list[str]:
    """List those of INSTRUCTIONS that the processor has, as far as Linux tells.

    Args:
        path: As `cpu_name` takes it.
    """
    found = _cpuinfo(path)
    flags = (found.get("flags") or found.get("Features") or "").split()
    return [name for name in INSTRUCTIONS if name in flags]


def gpu_names(folder: Path = _GPUS) -> list[str]:
    """Name the GPUs: those that torch may use where it is loaded, else those of the driver.

    Args:
        folder: Of NVIDIA's driver; may be missing.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return [torch.cuda.get_device_name(each) for each in range(torch.cuda.device_count())]
    names = []
    for path in sorted(folder.glob("*/information")):
        lines = path.read_text("utf-8", errors="replace").splitlines()
        names += [line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:")]
    return names


def _cpuinfo(path: Path) -> dict[str, str]:
    """Properties of the first core; {} without the file."""
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, separator, value = line.partition(":")
            if separator:
                found.setdefault(key.strip(), value.strip())
            elif found:
                # An empty line ends the first core; the kernel makes the others' as they are read.
                break
    return found


def _memory_gb() -> float | None:
    """Memory of the machine, GB of 10^9 bytes."""
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str:
    """Output of git.

    Raises:
        OSError: There is no git.
        CalledProcessError: It refused.
    """
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

"""Weights of metrics: finding them, their digests, instructions when missing; their device."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from codec.devices import usable_device
from codec.files import sha256_of

from .protocols import WeightSpec

if TYPE_CHECKING:
    import torch

# Environment variable that names the device of the networks of metrics.
DEVICE = "HH_EVAL_DEVICE"


def parse_weights(options: Iterable[str]) -> dict[str, Path]:
    """Parse `name=path` options into paths by weight name.

    Raises:
        ValueError: No "=" in an option, nothing at a path, or a name twice.
    """
    found: dict[str, Path] = {}
    for option in options:
        name, sign, path = option.partition("=")
        if not sign or not name or not path:
            raise ValueError(f"expected --weight NAME=PATH, got {option!r}")
        if name in found:
            raise ValueError(f"expected the weight {name!r} once, got {found[name]} and {path}")
        if not Path(path).exists():
            raise ValueError(f"expected a file or folder for the weight {name!r}, got {path}")
        found[name] = Path(path)
    return found


def use_weights(paths: dict[str, Path]) -> None:
    """Set the paths of weights for this process and its workers, by environment variables."""
    for name, path in paths.items():
        os.environ[WeightSpec(name, "", "").variable] = str(path.resolve())


def use_device(name: str) -> None:
    """Set the device of the networks of metrics, for this process and its workers.

    Raises:
        ValueError: It cannot be used here.
    """
    os.environ[DEVICE] = str(usable_device(name))


def metric_device() -> torch.device:
    """Tell the device that `use_device` has set, the CPU where it has not been called."""
    import torch

    return torch.device(os.environ.get(DEVICE, "cpu"))


def is_named(spec: WeightSpec) -> bool:
    """Tell whether an option or the environment names the path of a weight."""
    return bool(os.environ.get(spec.variable))


def find_weight(spec: WeightSpec) -> Path | None:
    """Find a weight by its environment variable, else inside an installed package, else None.

    Packages are looked up, not imported.
    """
    named = os.environ.get(spec.variable)
    if named:
        return Path(named) if _is_whole(Path(named), spec) else None
    if spec.bundled is None:
        return None
    package, file = spec.bundled
    found = find_spec(package)
    # A namespace package has several folders.
    for folder in (found.submodule_search_locations or ()) if found else ():
        if _is_whole(Path(folder) / file, spec):
            return Path(folder) / file
    return None


def _is_whole(path: Path, spec: WeightSpec) -> bool:
    """Tell whether the file, or the folder with all that it must hold, is there."""
    if not spec.is_folder:
        return path.is_file()
    return path.is_dir() and all((path / name).is_file() for name in spec.files)


def require_weight(spec: WeightSpec) -> Path:
    """Return the path of a weight.

    Raises:
        ValueError: It is missing or has another digest than it must.
    """
    reason = weight_obstacle(spec)
    path = find_weight(spec)
    if reason or path is None:
        raise ValueError(reason or f"expected the weight {spec.name!r}, got none")
    return path


def weight_obstacle(spec: WeightSpec) -> str | None:
    """Describe why a weight cannot be used and the remedy; None when it can."""
    path = find_weight(spec)
    kind = "folder" if spec.is_folder else "file"
    if spec.files:
        kind += f" with {', '.join(spec.files)}"
    if path is None:
        named = os.environ.get(spec.variable)
        where = f" ({spec.variable} names {named}, where there is no such {kind})" if named else ""
        # One inside a package is found by itself, unless another is named.
        then = "then" if spec.bundled is None else "that is all, or"
        return (
            f"weight {kind.split()[0]} '{spec.name}' ({spec.licence}) is missing{where}: nothing "
            f"is downloaded here; {spec.how_to_get}; {then} --weight {spec.name}=PATH or "
            f"{spec.variable}=PATH"
        )
    if spec.sha256 is not None and weight_digest(path) != spec.sha256:
        return f"expected {spec.name} with sha256 {spec.sha256}, got {weight_digest(path)}: {path}"
    return None


def weight_digest(path: Path) -> str:
    """Compute the SHA-256 of a file, or of the names and digests of a folder's files in order."""
    stat = path.stat()
    return _digest(str(path.resolve()), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(name: str, size: int, modified: int) -> str:
    """Compute a digest; size and time of change only key the cache."""
    path = Path(name)
    if not path.is_dir():
        return sha256_of(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    lines = [f"{each.relative_to(path).as_posix()} {weight_digest(each)}" for each in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

"""Locks that keep two processes from working in one run folder."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from codec.files import read_json, write_json

LOCK = ".lock"
# Seconds in which workers of a holder that was killed, which share its lock, notice its death.
_ORPHANS_END = 15.0


class InUseError(ValueError):
    """A folder that another process works in."""


@contextmanager
def locked(folder: Path, name: str = LOCK, *, what: Path | None = None) -> Iterator[None]:
    """Hold the lock of a folder; it is free when its holder has ended, however that was.

    Args:
        folder: Receives the lock file, and beside it `<name>.json`, which describes the holder.
        name: Of the lock file; begins with a dot, so that walks and copies leave it out.
        what: Is in use, for the message; None for the folder.

    Raises:
        InUseError: Another process, or this one, holds it: names host, process and start.
        OSError: The disk refused.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    path, about = folder / name, folder / f"{name}.json"
    # The system frees the lock of a dead process: a file that was left behind means nothing.
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_ORPHANS_END if _is_dead(_read(about)) else 0)
    except Timeout as error:
        raise InUseError(
            f"{what or folder}: expected a folder that no other process works in, got one that is "
            f"in use by {_described(_read(about))}; wait for its end, or choose another folder"
        ) from error
    try:
        write_json(about, _holder())
        yield
    finally:
        # While it is held, so that nobody else's is removed; Windows keeps an open file.
        with suppress(OSError):
            about.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        lock.release()


def holder_of(folder: Path, name: str = LOCK) -> str | None:
    """Describe the other process that holds the lock of a folder; None where none does."""
    from filelock import FileLock, Timeout

    if not (folder / name).exists():
        return None
    try:
        with FileLock(folder / name).acquire(timeout=0):
            return None
    except Timeout:
        holder = _read(folder / f"{name}.json")
        own = {"host": socket.gethostname(), "pid": os.getpid()}
        return None if holder.items() >= own.items() else _described(holder)


def _holder() -> dict[str, Any]:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": now}


def _read(about: Path) -> dict[str, Any]:
    """The description of a holder; {} where it has not written it yet."""
    with suppress(OSError, ValueError):
        found = read_json(about)
        return found if isinstance(found, dict) else {}
    return {}


def _described(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    host, pid, started = (holder.get(key, "?") for key in ("host", "pid", "started"))
    return f"process {pid} on {host}, which began at {started}"


def _is_dead(holder: dict[str, Any]) -> bool:
    """True if the described process ran on this host and is gone."""
    own_host = holder.get("host") == socket.gethostname()
    if not own_host or not isinstance(holder.get("pid"), int) or sys.platform == "win32":
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:  # of another user
        return False
    return False

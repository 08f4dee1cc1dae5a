"""Errors as text for a reader: those of the system by file and cause, without `[Errno N]`."""

from __future__ import annotations

import os


def printable(text: str) -> str:
    """Escape what UTF-8 cannot hold: bytes of a file's name that are none."""
    return text.encode(errors="backslashreplace").decode()


def message_of(error: BaseException) -> str:
    """The message of an error, such as "in.wav: File exists" of one of the system.

    Args:
        error: Of any class. Of one that `urllib` wraps, the one within is shown; where an error has
            no message, or a key alone, its class stands for it or before it.
    """
    within = getattr(error, "reason", None)  # of a URLError
    if isinstance(error, OSError) and isinstance(within, OSError):
        return message_of(within)
    if isinstance(error, OSError) and error.strerror:
        files = [printable(os.fsdecode(each)) for each in (error.filename, error.filename2) if each]
        return ": ".join([*files, error.strerror])
    if isinstance(error, KeyError) or not str(error):
        return f"{type(error).__name__}: {error}".removesuffix(": ")
    return str(error)


def reason_of(error: BaseException, path: str | os.PathLike[str]) -> str:
    """The message of an error without the name of the file that it is listed under."""
    return message_of(error).removeprefix(f"{printable(os.fspath(path))}: ")

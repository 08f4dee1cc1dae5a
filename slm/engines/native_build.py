"""The shared library of `native_decoder.cpp`: compiled once for this processor, kept, loaded.

It lies in a folder of the user (`HH_SLM_CACHE`, else `~/.cache/hh-slm`) under the digest of what it
was made from: the code, the compiler and the processor's abilities. A home folder that machines of
several kinds share therefore holds several.

A library runs with all rights of the user, and a cut one can end the process, so it is loaded from
a folder of the user's own alone, and only while it has the SHA-256 that was noted beside it.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
from functools import lru_cache
from pathlib import Path

from codec.files import sha256_of, whole_file, write_text

_SOURCE = Path(__file__).with_name("native_decoder.cpp")
_COMPILERS = ("g++", "clang++")
_FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared", "-fno-math-errno", "-ffp-contract=fast")
# The first that a compiler accepts; the last works anywhere, with one thread.
_CHOICES = (("-march=native", "-fopenmp"), ("-mcpu=native", "-fopenmp"), ("-march=native",), ())

_LOGGER = logging.getLogger(__name__)


class UntrustedFolderError(ValueError):
    """A folder that others than the user can write to, from which no code is loaded."""


def compiler() -> str | None:
    """Path of the C++ compiler: what `CXX` names, else g++ or clang++; None without one.

    Words of `CXX` behind the first, as in `ccache g++`, are part of `compile_command` alone.
    """
    command = compile_command()
    return command[0] if command else None


def compile_command() -> list[str]:
    """The path of the compiler with the words of `CXX` behind its name; [] without one."""
    # A path may hold blanks, and is then one word.
    given = os.environ.get("CXX", "").strip()
    calls = [[given], shlex.split(given)] if given else [[name] for name in _COMPILERS]
    for name, *words in calls:
        path = shutil.which(name)
        if path:
            return [path, *words]
    return []


def is_available() -> bool:
    """Whether the library can be loaded here; the first call compiles it, which takes seconds.

    The reason why it cannot is logged: at level INFO, or as a warning where it is the folder's.
    """
    try:
        library()
    except UntrustedFolderError as error:
        _LOGGER.warning("the native engine is not available, generation is slower: %s", error)
        return False
    except (OSError, RuntimeError, ValueError) as error:
        _LOGGER.info("the native engine is not available: %s", error)
        return False
    return True


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The library, compiled unless that has been done.

    Raises:
        UntrustedFolderError: Others than the user can write to the folder.
        ValueError: There is no compiler.
        RuntimeError: It does not compile the code.
        OSError: The library cannot be written or loaded.
    """
    command = compile_command()
    if not command:
        raise ValueError(
            "expected a C++ compiler (g++, clang++ or what CXX names) for engine native, found none"
        )
    folder = cache_folder()
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    others = _others_than_the_user(folder.stat())
    if others:
        raise UntrustedFolderError(
            f"{folder}: expected a folder of the user's own that nobody else can write to, got one "
            f"{others}; chmod go-w it, or name another by HH_SLM_CACHE"
        )
    target = folder / f"native_decoder-{_digest(command)}.so"
    if not _is_whole(target):
        _compile(command, target)
        write_text(_noted(target), sha256_of(target))
    loaded = ctypes.CDLL(str(target))
    try:
        loaded.scratch_floats.restype = ctypes.c_int64
        loaded.decoder_step.restype = loaded.head_product.restype = None
    except AttributeError as error:
        raise OSError(f"{target}: expected the library of {_SOURCE.name}, got {error}") from error
    return loaded


def _noted(target: Path) -> Path:
    """The file beside a library that holds its SHA-256."""
    return target.with_suffix(".sha256")


def _is_whole(target: Path) -> bool:
    """Whether a library is there, the user's own, and as it was compiled."""
    try:
        own = not _others_than_the_user(target.lstat()) and stat.S_ISREG(target.lstat().st_mode)
        return own and _noted(target).read_text(encoding="utf-8") == sha256_of(target)
    except (OSError, UnicodeDecodeError):
        return False


def _others_than_the_user(state: os.stat_result) -> str:
    """Who else can write to a file or folder, '' for nobody."""
    if not hasattr(os, "geteuid"):  # Windows keeps a user's folders by other means
        return ""
    if state.st_uid != os.geteuid():
        return f"of user {state.st_uid}"
    mode = stat.S_IMODE(state.st_mode)
    return f"of mode {mode:o}" if mode & 0o022 else ""


def _compile(compiler: list[str], target: Path) -> None:
    """Compile with the first choice of flags that works."""
    errors = ""
    with whole_file(target) as partial:  # another process may compile it, too
        for choice in _CHOICES:
            command = [*compiler, *_FLAGS, *choice, str(_SOURCE), "-o", str(partial)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                # Whatever the umask: a library that others can write to is not loaded.
                partial.chmod(0o755)
                return
            errors = done.stderr
        raise RuntimeError(
            f"expected {shlex.join(compiler)} to compile {_SOURCE.name}, got: {errors[-2000:]}"
        )


def cache_folder() -> Path:
    """Folder of what is made once for a user and a machine: `HH_SLM_CACHE` or ~/.cache/hh-slm."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HH_SLM_CACHE") or Path(base) / "hh-slm")


@lru_cache(maxsize=1)
def build_digest() -> str:
    """Digest of the library that is compiled here, '' without a compiler."""
    command = compile_command()
    return _digest(command) if command else ""


def _digest(compiler: list[str]) -> str:
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    parts = [
        _SOURCE.read_text(),
        version.stdout,
        repr((_FLAGS, _CHOICES, *compiler[1:])),
        _processor(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """A description that differs between processors of different abilities."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    kinds = ("flags", "Features", "CPU part")
    abilities = sorted({line for line in lines if line.startswith(kinds)})
    return "\n".join([platform.machine(), platform.processor(), *abilities])

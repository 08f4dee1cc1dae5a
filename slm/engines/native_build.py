"""The shared library of `native_decoder.cpp`: compiled once for this processor, kept, loaded.

It is compiled for all that the processor can do, or for less (`HH_NATIVE_TARGET`, see `TARGETS`),
as where the code of another processor is to be tried on this one. It lies in a folder of the user
(`HH_SLM_CACHE`, else `~/.cache/hh-slm`) under the digest of what it was made from: the code, the
compiler, the target and the processor's abilities. A home folder that machines of several kinds
share therefore holds several.

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
from typing import NamedTuple

from codec.cache_folder import cache_folder
from codec.files import sha256_of, whole_file, write_text

_SOURCE = Path(__file__).with_name("native_decoder.cpp")
_HEADERS = ("native_attention.h", "native_product.h", "native_vectors.h")
_COMPILERS = ("g++", "clang++")
_FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared", "-fno-math-errno", "-ffp-contract=fast")
# Of a processor whose name the compiler finds out: the first that it accepts.
_NATIVE = (("-march=native",), ("-mcpu=native",), ())
TARGET_VARIABLE = "HH_NATIVE_TARGET"


class Target(NamedTuple):
    """An instruction set."""

    flags: tuple[str, ...]  # of the compiler
    abilities: frozenset[str]  # of the processor, as Linux names them


# Beside "native". The compiler's baseline is SSE2 on x86-64 and NEON on AArch64.
TARGETS = {
    "generic": Target((), frozenset()),
    "avx2": Target(("-mavx2", "-mfma"), frozenset({"avx2", "fma"})),
    "avx512": Target(
        ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
        frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"}),
    ),
}

_LOGGER = logging.getLogger(__name__)


class UntrustedFolderError(ValueError):
    """A folder that others than the user can write to, from which no code is loaded."""


class NoFolderError(ValueError):
    """There is no folder to keep the library in."""


class UnknownTargetError(ValueError):
    """An instruction set that is not known, or that this processor does not have."""


def runnable_targets() -> list[str]:
    """Names of instruction sets that this processor has, "native" first."""
    lines = [line for line in _cpuinfo() if line.startswith("flags")]
    has = frozenset(lines[0].split()) if lines else frozenset()
    return ["native", *(name for name, each in TARGETS.items() if each.abilities <= has)]


def chosen_target() -> str:
    """The instruction set that `HH_NATIVE_TARGET` names, "native" unless it is set.

    Raises:
        UnknownTargetError: It is none of `runnable_targets`, whose code would end the process.
    """
    name, found = os.environ.get(TARGET_VARIABLE, "") or "native", runnable_targets()
    if name not in found:
        raise UnknownTargetError(
            f"{TARGET_VARIABLE}: expected one of {', '.join(found)} on this processor, got {name!r}"
        )
    return name


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
    """True if the library can be loaded here; the first call compiles it, which takes seconds.

    The reason why it cannot is logged: at level INFO, or as a warning where it is the folder's or
    the named instruction set's.
    """
    try:
        library()
    except (OSError, UntrustedFolderError, NoFolderError, UnknownTargetError) as error:
        _LOGGER.warning("the native engine is not available, generation is slower: %s", error)
        return False
    except (RuntimeError, ValueError) as error:
        _LOGGER.info("the native engine is not available: %s", error)
        return False
    return True


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The library, compiled unless that has been done.

    Raises:
        UntrustedFolderError: Others than the user can write to the folder.
        UnknownTargetError: `HH_NATIVE_TARGET` names what this processor does not have.
        NoFolderError: There is no folder to keep it in.
        ValueError: There is no compiler.
        RuntimeError: It does not compile the code.
        OSError: The library cannot be written or loaded.
    """
    command = compile_command()
    if not command:
        raise ValueError(
            "expected a C++ compiler (g++, clang++ or what CXX names) for engine native, found none"
        )
    aim = chosen_target()
    try:
        folder = cache_folder()
    except ValueError as error:
        raise NoFolderError(str(error)) from error
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    others = _others_than_the_user(folder.stat())
    if others:
        raise UntrustedFolderError(
            f"{folder}: expected a folder of the user's own that nobody else can write to, got one "
            f"{others}; chmod go-w it, or name another by HH_SLM_CACHE"
        )
    target = folder / f"native_decoder-{_digest(command, aim)}.so"
    if not _is_whole(target):
        _compile(command, aim, target)
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
    """True if a library is there, the user's own, and as it was compiled."""
    try:
        own = not _others_than_the_user(target.lstat()) and stat.S_ISREG(target.lstat().st_mode)
        return own and _noted(target).read_text(encoding="utf-8") == sha256_of(target)
    except (OSError, UnicodeDecodeError):
        return False


def _others_than_the_user(state: os.stat_result) -> str:
    """The owner or mode by which others can write to a file or folder, '' for nobody."""
    if not hasattr(os, "geteuid"):  # Windows keeps a user's folders by other means
        return ""
    if state.st_uid != os.geteuid():
        return f"of user {state.st_uid}"
    mode = stat.S_IMODE(state.st_mode)
    return f"of mode {mode:o}" if mode & 0o022 else ""


def _choices(aim: str) -> list[tuple[str, ...]]:
    """Flags of the compiler for an instruction set; those that follow do without threads."""
    flags = _NATIVE if aim == "native" else (TARGETS[aim].flags,)
    return [(*each, "-fopenmp") for each in flags] + list(flags)


def _compile(compiler: list[str], aim: str, target: Path) -> None:
    """Compile with the first choice of flags that works."""
    errors = ""
    with whole_file(target) as partial:  # another process may compile it, too
        for choice in _choices(aim):
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


@lru_cache(maxsize=1)
def build_digest() -> str:
    """Digest of the library that is compiled here, '' without a compiler."""
    command = compile_command()
    return _digest(command, chosen_target()) if command else ""


def _digest(compiler: list[str], aim: str) -> str:
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    parts = [
        *(_SOURCE.with_name(name).read_text("utf-8") for name in (_SOURCE.name, *_HEADERS)),
        version.stdout,
        repr((_FLAGS, _choices(aim), *compiler[1:])),
        _processor(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """A description that differs between processors of different abilities."""
    kinds = ("flags", "Features", "CPU part")
    abilities = sorted({line for line in _cpuinfo() if line.startswith(kinds)})
    return "\n".join([platform.machine(), platform.processor(), *abilities])


def _cpuinfo() -> list[str]:
    """Lines of Linux's description of the processor, none elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []

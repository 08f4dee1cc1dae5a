"""The shared library of `native_decoder.cpp`: compiled once for this processor, kept, loaded.

It lies in a folder of the user (`HH_SLM_CACHE`, else `~/.cache/hh-slm`) under the digest of what it
was made from: the code, the compiler and the processor's abilities. A home folder that machines of
several kinds share therefore holds several.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from codec.files import whole_file

_SOURCE = Path(__file__).with_name("native_decoder.cpp")
_COMPILERS = ("g++", "clang++")
_FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared", "-fno-math-errno", "-ffp-contract=fast")
# The first that a compiler accepts; the last works anywhere, with one thread.
_CHOICES = (("-march=native", "-fopenmp"), ("-mcpu=native", "-fopenmp"), ("-march=native",), ())

_LOGGER = logging.getLogger(__name__)


def compiler() -> str | None:
    """Path of the C++ compiler: what `CXX` names, else g++ or clang++; None without one."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else _COMPILERS
    return next((path for path in map(shutil.which, names) if path), None)


def is_available() -> bool:
    """Whether the library can be loaded here; the first call compiles it, which takes seconds.

    The reason why it cannot is logged, at level INFO.
    """
    try:
        library()
    except (OSError, RuntimeError, ValueError) as error:
        _LOGGER.info("the native engine is not available: %s", error)
        return False
    return True


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The library, compiled unless that has been done.

    Raises:
        ValueError: There is no compiler.
        RuntimeError: It does not compile the code.
        OSError: The library cannot be written or loaded.
    """
    path = compiler()
    if path is None:
        raise ValueError(
            "expected a C++ compiler (g++, clang++ or what CXX names) for engine native, found none"
        )
    target = _folder() / f"native_decoder-{_digest(path)}.so"
    if not target.exists():
        _compile(path, target)
    loaded = ctypes.CDLL(str(target))
    loaded.scratch_floats.restype = ctypes.c_int64
    loaded.decoder_step.restype = loaded.head_product.restype = None
    return loaded


def _compile(path: str, target: Path) -> None:
    """Compile with the first choice of flags that works."""
    target.parent.mkdir(parents=True, exist_ok=True)
    errors = ""
    with whole_file(target) as partial:  # another process may compile it, too
        for choice in _CHOICES:
            command = [path, *_FLAGS, *choice, str(_SOURCE), "-o", str(partial)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                return
            errors = done.stderr
        raise RuntimeError(f"expected {path} to compile {_SOURCE.name}, got: {errors[-2000:]}")


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HH_SLM_CACHE") or Path(base) / "hh-slm")


def _digest(path: str) -> str:
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    parts = [_SOURCE.read_text(), version.stdout, repr((_FLAGS, _CHOICES)), _processor()]
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

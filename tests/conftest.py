"""What all tests share: a seed, one thread, a guard on the import names, and tiny recordings.

Memory that a file's tests have freed goes back to the system before the next file's, and that of
a test which has freed much at once.
"""

from __future__ import annotations

import os

# Before torch is imported: tiny tensors gain nothing from threads, and results stay the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nor from kernels kept for a thousand shapes, 50 MB of them: few tests share one.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")

import ctypes
import functools
import gc
import importlib.util
import mmap
import random
import re
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("codec", "slm", "eval", "recipes", "benchmarks")
# Loads of the files that one worker takes, in this order; most need the server that forks.
IN_TURN = ("largest", "cluster", "browser", "launches", "kernel", "large", "processes")

# Bytes that a test may leave before they are looked through, and what the process had after that.
MUCH = 32_000_000
MEMORY = {"kept": 0}

# Searching all that is being imported for garbage, over and over, would find none.
gc.disable()

# Tensors beyond this have pages of their own, which go back to the system with them. The C library
# raises the bound by itself, and small objects between large ones keep the heap from shrinking.
OWN_PAGES = 1 << 20
M_MMAP_THRESHOLD = -3  # of malloc.h
if hasattr(ctypes.CDLL(None), "mallopt"):
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, OWN_PAGES)


def pytest_sessionstart() -> None:
    """Refuse to test another distribution's `codec`, `slm` or any other of our names."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        found = None if spec is None else spec.origin
        if found is None or Path(found).resolve() != ROOT / name / "__init__.py":
            pytest.exit(f"{name} comes from {found}, expected it in {ROOT}", returncode=4)


@functools.cache
def load_of(path: Path) -> str:
    """What a file starts or loads, "" for neither.

    What is "largest", a "cluster", a "browser", a training that "launches" others, the "kernel" of
    notebooks, something else that is "large", other large "processes", "exports" to ONNX, or models
    of "transformers".
    """
    source = path.read_text(encoding="utf-8")
    if "pytest.mark.largest" in source:
        return "largest"
    if "pytest.mark.launches" in source:
        return "launches"
    if "ray.cluster_utils" in source:
        return "cluster"
    if "from tests.support.exported" in source or "exported: tuple[" in source:
        return "exports"
    if "from tests.support.chromium" in source:
        return "browser"
    if "nbclient" in source:
        return "kernel"
    # Forks of a server that has loaded torch.
    if "from tests.support import forked" in source:
        return "processes"
    # Graphs and trainings on a device that is none keep what a GPU would hold.
    if "pytest.mark.large" in source or "from tests.support.pretended_cuda" in source:
        return "large"
    return "transformers" if re.search(r"\btransformers\b", source) else ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give the files that take much memory to one worker, in turn.

    Side by side they would take the most; and the server that forks, once for all of them. So are
    those that read an export, or one worker would wait for it, and both load its packages, and
    those that load models of transformers, which stay in the worker that has loaded them.
    """
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            load = load_of(config.rootpath / file)
            return "large" if load in IN_TURN else load or file

    return Files(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest where several workers share all, so that it is not last.

    First of all come a plan of full size and the Ray cluster, which take most memory, then, by the
    same worker, browsers and their servers, while both workers are small; the kernel of notebooks;
    what is large in itself; and other large processes. Beside the first run short tests that load
    little, then models of transformers, so that exports do not meet a browser.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow, large = (
            {item.path for item in items if item.get_closest_marker(name)}
            for name in ("slow", "large")
        )

        def place(item: pytest.Item) -> tuple[int, bool, bool]:
            load = load_of(item.path)
            is_light = not load and item.path not in slow | large
            short = is_light and item.path.is_relative_to(ROOT / "tests/codec")
            later = 0 if short else 1 if load == "transformers" else 2
            turn = IN_TURN.index(load) if load in IN_TURN else len(IN_TURN) + later
            return turn, item.path not in large, item.path not in slow

        items.sort(key=place)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what all imports have made, half a million objects."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the server that forks behind the last file that needs it: it holds 300 MB.

    So it is while notebooks run, whose kernel holds twice that: it starts again when it is needed.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ or load_of(item.path) not in IN_TURN:
        return
    following = "" if nextitem is None else load_of(nextitem.path)
    notebooks_begin = following == "kernel" and load_of(item.path) != "kernel"
    if following not in IN_TURN or notebooks_begin:
        from tests.support import forked

        forked.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Free what nothing refers to, and have the C library keep none of it for itself.

    That is after a file's last test, and after one that leaves the process much larger than it was.
    Only here a test's own fixtures are gone.
    """
    is_last = nextitem is None or nextitem.path != item.path
    try:
        return (yield)
    finally:
        if is_last or resident() - MEMORY["kept"] > MUCH:
            gc.collect()
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim is not None:
                trim(0)
            MEMORY["kept"] = resident()
        if is_last:
            # What is left are imports and what the session shares: no file has to look through
            # them again.
            gc.freeze()
        MEMORY["kept"] = min(MEMORY["kept"], resident())


def resident() -> int:
    """Bytes of this process in memory; 0 on a system that does not tell."""
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text("ascii").split()[1]) if statm.exists() else 0
    return pages * mmap.PAGESIZE


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state, and with one thread."""
    # Here, so that a process which only hands out the tests loads no torch.
    import torch

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries under test may draw from the global state
    torch.manual_seed(0)
    # A stage that the test before has run takes every core, which two processes would share.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def few_latents() -> Iterator[None]:
    """Codecs that a test trains in its own process read few crops for their codebook."""
    if "codec.training.codebook" not in sys.modules:
        yield
        return
    from tests.support import builders

    with builders.few_latents():
        yield


@pytest.fixture(scope="session")
def make_waveform() -> Callable[..., np.ndarray]:
    """A maker of speech-like tones: a gliding voice of ten harmonics in syllables, and hiss.

    `make_waveform(duration=1.0, sample_rate=24000, pitch=120.0, seed=0)` gives (T,) float32 with
    T = round(duration * sample_rate) and a peak of 0.5.
    """

    def make(
        duration: float = 1.0, sample_rate: int = 24_000, pitch: float = 120.0, seed: int = 0
    ) -> np.ndarray:
        generator = np.random.default_rng(seed)
        times = np.arange(round(duration * sample_rate)) / sample_rate
        glide = pitch * (1 + 0.1 * np.sin(2 * np.pi * 1.5 * times + seed))
        phase = 2 * np.pi * np.cumsum(glide) / sample_rate
        voice = sum(np.sin(k * phase) / k for k in range(1, 11))
        syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * times)
        waveform = syllables * voice + 0.01 * generator.standard_normal(len(times))
        return (0.5 * waveform / np.abs(waveform).max()).astype(np.float32)

    return make

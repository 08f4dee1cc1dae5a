"""What all tests share: a seed, one thread, a guard on the import names, and tiny recordings.

Memory that a file's tests have freed goes back to the system before the next file's.
"""

from __future__ import annotations

import os

# Before torch is imported: tiny tensors gain nothing from threads, and results stay the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ctypes
import gc
import importlib.util
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("codec", "slm", "eval", "recipes", "benchmarks")


def pytest_sessionstart() -> None:
    """Refuse to test another distribution's `codec`, `slm` or any other of our names."""
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        found = None if spec is None else spec.origin
        if found is None or Path(found).resolve() != ROOT / name / "__init__.py":
            pytest.exit(f"{name} comes from {found}, expected it in {ROOT}", returncode=4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of slow tests where several workers share all, so that none is last.

    The Ray cluster, which takes most memory, comes first of all, while the workers are small, and
    what trains in further processes last of the slow, so that it does so beside no cluster.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        large = {item.path for item in items if "cluster" in getattr(item, "fixturenames", ())}
        forking = {item.path for item in items if hasattr(getattr(item, "module", None), "forked")}
        items.sort(
            key=lambda item: (item.path not in large, item.path not in slow, item.path in forking)
        )


def pytest_collection_finish() -> None:
    """Spare the garbage collector what all imports have made, half a million objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def memory_is_given_back() -> Iterator[None]:
    """Free what nothing refers to, and have the C library keep none of it for itself."""
    yield
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state."""
    # Here, so that a process which only hands out the tests loads no torch.
    import torch

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries under test may draw from the global state
    torch.manual_seed(0)


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

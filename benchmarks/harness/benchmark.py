"""Benchmarks and cost curves: calls by name, and the ratios and exponents of their times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# The smallest size is that of the tests, where benchmarks run once and nothing is compared.
SIZES = ("tiny", "small", "full")
SUITES = ("small", "full")
Call = Callable[[], object]


@dataclass(frozen=True)
class Contestant:
    """A piece of work to be timed against others."""

    # Loads models and data and returns the call; `ImportError` leaves the contestant out.
    make: Callable[[], Call]
    work: float = 1.0  # units of work in a call, above 0


@dataclass(frozen=True)
class Figure:
    """Speed of `ours` over that of `other`, each per unit of work; higher is better."""

    ours: str  # name of a contestant
    other: str  # name of the contestant beside it: a peer, or reference work where there is no peer
    meaning: str  # work of the two and meaning of the ratio, in a sentence
    sizes: tuple[str, ...] = SIZES  # of SIZES in which it is measured


@dataclass(frozen=True)
class Benchmark:
    """Contestants that take turns."""

    name: str  # `subject.what`, such as `codec.encode`
    about: str  # one line
    unit: str  # of work, such as "s of audio"
    # Given one of SIZES and an empty folder, the contestants by name; loads little.
    build: Callable[[str, Path], dict[str, Contestant]]
    figures: tuple[Figure, ...]  # ratios of their times
    rounds: int = 5  # turns of each
    warm: bool = True  # whether a first turn is not counted

    def key(self, figure: Figure) -> str:
        """Name a figure among those of all benchmarks."""
        return f"{self.name}/{figure.ours}:{figure.other}"

    def of_size(self, size: str) -> dict[str, Figure]:
        """Select the figures of a size, by key."""
        return {self.key(each): each for each in self.figures if size in each.sizes}


@dataclass(frozen=True)
class CostCurve:
    """Growth of the time of one call with one size of its work."""

    name: str  # such as `codec.encode.length`
    about: str  # one line
    axis: str  # the varied size, with its unit
    # Values of the axis by size of SIZES, at least four and rising.
    points: dict[str, Sequence[float]]
    # Given an empty folder, a function from a value of the axis to the call.
    build: Callable[[Path], Callable[[float], Call]]
    rounds: int = 3  # turns of each

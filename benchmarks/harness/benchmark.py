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
    """A piece of work to be timed against others.

    Attributes:
        make: Loads models and data and returns the call; `ImportError` leaves the contestant out.
        work: Units of work in a call, above 0.
    """

    make: Callable[[], Call]
    work: float = 1.0


@dataclass(frozen=True)
class Figure:
    """Speed of `ours` over that of `other`, each per unit of work; higher is better.

    Attributes:
        ours: Name of a contestant.
        other: Name of the contestant beside it: a peer, or reference work where there is no peer.
        meaning: Work of the two and meaning of the ratio, in a sentence.
        sizes: Of SIZES in which it is measured.
    """

    ours: str
    other: str
    meaning: str
    sizes: tuple[str, ...] = SIZES


@dataclass(frozen=True)
class Benchmark:
    """Contestants that take turns.

    Attributes:
        name: `subject.what`, such as `codec.encode`.
        about: One line.
        unit: Of work, such as "s of audio".
        build: Given one of SIZES and an empty folder, the contestants by name; loads little.
        figures: Ratios of their times.
        rounds: Turns of each.
        warm: Whether a first turn is not counted.
    """

    name: str
    about: str
    unit: str
    build: Callable[[str, Path], dict[str, Contestant]]
    figures: tuple[Figure, ...]
    rounds: int = 5
    warm: bool = True

    def key(self, figure: Figure) -> str:
        """Name a figure among those of all benchmarks."""
        return f"{self.name}/{figure.ours}:{figure.other}"

    def of_size(self, size: str) -> dict[str, Figure]:
        """Select the figures of a size, by key."""
        return {self.key(each): each for each in self.figures if size in each.sizes}


@dataclass(frozen=True)
class CostCurve:
    """Growth of the time of one call with one size of its work.

    Attributes:
        name: Such as `codec.encode.length`.
        about: One line.
        axis: The varied size, with its unit.
        points: Values of the axis by size of SIZES, at least four and rising.
        build: Given an empty folder, a function from a value of the axis to the call.
        rounds: Turns of each.
    """

    name: str
    about: str
    axis: str
    points: dict[str, Sequence[float]]
    build: Callable[[Path], Callable[[float], Call]]
    rounds: int = 3

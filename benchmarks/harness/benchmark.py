"""What a benchmark and a cost curve are: calls by name, and which is held against which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# The smallest size is that of the tests: it shows that a benchmark runs, nothing more.
SIZES = ("tiny", "small", "full")
SUITES = ("small", "full")
Call = Callable[[], object]


@dataclass(frozen=True)
class Contestant:
    """A piece of work to be timed.

    Attributes:
        make: loads what is needed and returns the call; `ImportError` leaves the contestant out.
        work: units of work in a call, above 0.
    """

    make: Callable[[], Call]
    work: float = 1.0


@dataclass(frozen=True)
class Figure:
    """How many times as fast `ours` is as `other`, each per unit of work; higher is better.

    Attributes:
        ours: name of a contestant.
        other: name of the contestant beside it: a peer, or a ruler where there is no peer.
        meaning: what the two do and what the ratio tells, in a sentence.
        sizes: of SIZES in which it is measured.
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
        about: one line.
        unit: of work, such as "s of audio".
        build: given one of SIZES and an empty folder, the contestants by name; loads little.
        figures: what is made of their times.
        rounds: turns of each.
        warm: whether a first turn is not counted.
    """

    name: str
    about: str
    unit: str
    build: Callable[[str, Path], dict[str, Contestant]]
    figures: tuple[Figure, ...]
    rounds: int = 5
    warm: bool = True

    def key(self, figure: Figure) -> str:
        """Name of a figure among those of all benchmarks."""
        return f"{self.name}/{figure.ours}:{figure.other}"

    def of_size(self, size: str) -> dict[str, Figure]:
        """Figures of a size by key."""
        return {self.key(each): each for each in self.figures if size in each.sizes}


@dataclass(frozen=True)
class CostCurve:
    """How the time of one call grows with one size of it.

    Attributes:
        name: such as `codec.encode.length`.
        about: one line.
        axis: what is varied, with its unit.
        points: by size, the values of it, at least four and rising.
        build: given an empty folder, a maker of calls: of a value of the axis, the call.
        rounds: turns of each.
    """

    name: str
    about: str
    axis: str
    points: dict[str, Sequence[float]]
    build: Callable[[Path], Callable[[float], Call]]
    rounds: int = 3

"""Clocks that tick as they are told, and records made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.harness.benchmark import Benchmark, Contestant, CostCurve, Figure
from benchmarks.harness.records import CurveResult, FigureResult, Record


class Clock:
    """Seconds that pass only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, *seconds: float) -> Callable[[], None]:
        """A call that takes so long: first, second ... time, and then always the last."""
        left = list(seconds)

        def call() -> None:
            self.log.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """`make_record({"a/x:y": 2.0}, {"c": 1.0}, cpu="One", suite="small")`."""

    def make(
        ratios: dict[str, float], exponents: dict[str, float] | None = None, **changes: Any
    ) -> Record:
        cpu = changes.pop("cpu", "One")
        figures = {
            key: FigureResult(value, 0.75 * value, 1.25 * value, 5, 2 * value, 2.0, "s")
            for key, value in ratios.items()
        }
        curves = {
            name: CurveResult(
                "s", [1.0, 2.0, 4.0], [1.0, 2.0, 4.0], value, 0.02, value, value > 1.14
            )
            for name, value in (exponents or {}).items()
        }
        machine = {"cpu": cpu, "cores": 2, "memory_gb": 8.0, "system": "Linux 6"}
        machine |= {"python": "3.11.7", "packages": {"torch": "2.13.0"}}
        record = Record(
            "small", "2026-11-26T10:00:00+00:00", "0" * 40, "command", 1, "processor", 60.0, machine
        )
        return replace(record, figures=figures, curves=curves, **changes)

    return make


@pytest.fixture
def toy(clock: Clock) -> Callable[..., Benchmark]:
    """`toy(ours=(...), other=(...))`: a benchmark of two contestants that take these seconds."""

    def make(name: str = "toy", ours: Any = (1.0,), other: Any = (3.0,), **more: Any) -> Benchmark:
        def build(size: str, folder: Any) -> dict[str, Contestant]:
            return {
                "ours": Contestant(lambda: clock.work("ours", *ours), 2.0),
                "other": Contestant(lambda: clock.work("other", *other), 2.0),
                "absent": Contestant(absent),
            }

        def absent() -> Any:
            raise ImportError("pip install absent")

        figures = (Figure("ours", "other", "what"), Figure("ours", "absent", "what", ("full",)))
        return Benchmark(name, "about", "s", build, figures, **more)

    return make


@pytest.fixture
def toy_curve(clock: Clock) -> Callable[..., CostCurve]:
    """`toy_curve(exponent)`: a curve whose calls take size ** exponent seconds."""

    def make(exponent: float, name: str = "toy.curve") -> CostCurve:
        def build(folder: Any) -> Callable[[float], Callable[[], None]]:
            return lambda size: clock.work(f"{size:g}", size**exponent)

        points = (1, 2, 4, 8)
        return CostCurve(name, "about", "s", {"small": points, "full": points}, build)

    return make

"""Every benchmark and every cost curve, by name."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness.benchmark import Benchmark, CostCurve

from . import (
    codec,
    corpus,
    exported,
    lm_generation,
    lm_training,
    loading,
    metrics,
    startup,
    synthesis,
)

SUBJECTS = (
    codec,
    exported,
    loading,
    lm_training,
    lm_generation,
    synthesis,
    metrics,
    corpus,
    startup,
)
BENCHMARKS: dict[str, Benchmark] = {
    each.name: each for subject in SUBJECTS for each in subject.BENCHMARKS
}
CURVES: dict[str, CostCurve] = {each.name: each for subject in SUBJECTS for each in subject.CURVES}


def chosen(size: str, names: Sequence[str] = ()) -> tuple[list[Benchmark], list[CostCurve]]:
    """Choose the benchmarks and curves of a size, all or those below some names.

    Args:
        size: Of `benchmark.SIZES`.
        names: Such as `codec` for all of the codec, or `codec.encode`; none for everything.

    Raises:
        ValueError: Nothing has such a name.
    """
    benchmarks = [each for each in BENCHMARKS.values() if each.of_size(size)]
    curves = [each for each in CURVES.values() if size in each.points]
    known = [each.name for each in (*benchmarks, *curves)]
    for name in names:
        if not any(_is_of(each, name) for each in known):
            raise ValueError(f"expected names of the suite {size}: {', '.join(known)}; got {name}")

    def wanted(name: str) -> bool:
        return not names or any(_is_of(name, each) for each in names)

    return (
        [each for each in benchmarks if wanted(each.name)],
        [each for each in curves if wanted(each.name)],
    )


def _is_of(name: str, part: str) -> bool:
    """True if a name is `part`, or one below it."""
    return name == part or name.startswith(part + ".")

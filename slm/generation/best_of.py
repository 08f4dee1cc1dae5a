"""Best of N: several candidates of one request, ranked by verifiers that the caller brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

# Verifiers of installed packages.
ENTRY_POINTS = "hh_slm.verifiers"


class Verifier(Protocol):
    """Scores candidates of one request; higher is better, in any unit.

    A candidate is a `Synthesis`, or anything with its `waveform`, `sample_rate`, `codes`,
    `log_likelihood` and `truncated`.

    A recogniser returns minus the word error rate against `text`, a speaker encoder the
    similarity to `prompt` (which is None without one).
    """

    def __call__(
        self,
        candidates: Sequence[Any],
        text: str,
        prompt: NDArray[np.float32] | None,
    ) -> Sequence[float]:
        """One score a candidate, in order."""
        ...


@dataclass(frozen=True)
class Ranking:
    """Scores of one request's candidates.

    Attributes:
        choice: Index of the best.
        scores: Of each verifier by name, one number a candidate.
    """

    choice: int
    scores: dict[str, tuple[float, ...]]


def likelihood(
    candidates: Sequence[Any], text: str, prompt: NDArray[np.float32] | None
) -> list[float]:
    """The built-in verifier: mean log-likelihood of a code, nats."""
    return [each.log_likelihood / max(1, len(each.codes)) for each in candidates]


def rank(
    candidates: Sequence[Any],
    verifiers: Mapping[str, Verifier],
    text: str,
    prompt: NDArray[np.float32] | None = None,
) -> Ranking:
    """Rank candidates: those that ended by themselves first, then by the verifiers in order.

    A later verifier only decides among those the earlier ones find equal, so the first should be
    the one that matters most.

    Raises:
        ValueError: No candidate or verifier, or a verifier's scores are not one finite number each.
    """
    if not candidates or not verifiers:
        raise ValueError(
            f"expected candidates and verifiers, got {len(candidates)} and {len(verifiers)}"
        )
    scores: dict[str, tuple[float, ...]] = {}
    for name, verifier in verifiers.items():
        # Tensors and numpy's numbers too: verifiers are others' code.
        given = tuple(float(score) for score in verifier(candidates, text, prompt))
        if len(given) != len(candidates) or not np.isfinite(given).all():
            raise ValueError(
                f"expected {len(candidates)} finite scores of verifier {name!r}, got {given}"
            )
        scores[name] = given
    columns = list(zip(*scores.values(), strict=True))
    # Tuples compare by their first difference, so a later verifier only breaks ties.
    keys = [(not each.truncated, *columns[index]) for index, each in enumerate(candidates)]
    return Ranking(max(range(len(keys)), key=keys.__getitem__), scores)


def load_verifier(description: str) -> tuple[str, Verifier]:
    """Load a verifier named on a command line.

    Args:
        description: "likelihood", the name of an entry point of the group "hh_slm.verifiers" of an
            installed package, or FILE.py:CALLABLE.

    Raises:
        ValueError: None of them, or the file or the package has no such callable.
    """
    if description == "likelihood":
        return description, likelihood
    for entry in entry_points(group=ENTRY_POINTS, name=description):
        try:
            return description, _checked(entry.load(), description, entry.value)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"cannot load verifier {description!r}: {error}") from error
    # FILE.py:CALLABLE; rpartition leaves the colon of a Windows drive alone
    path, _, name = description.rpartition(":")
    if not path.endswith(".py") or not Path(path).is_file():
        installed = sorted(entry_points(group=ENTRY_POINTS).names)
        raise ValueError(
            f'expected a verifier "likelihood", FILE.py:CALLABLE or one that is installed '
            f"({', '.join(installed) or 'none is'}), got {description!r}"
        )
    spec = spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # By its path, without a package or a change of sys.path.
    spec.loader.exec_module(module)
    return name, _checked(getattr(module, name, None), name, path)


def _checked(found: Any, name: str, place: str) -> Verifier:
    if not callable(found):
        raise ValueError(f"expected a callable {name!r} in {place}, got none")
    return cast(Verifier, found)

"""Accuracy in likelihood tests: the better of two recordings must be found likelier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .pairs import LikelihoodPair
from .score_file import TokenScores

# Reach of the localised variant, in seconds after the change.
LOCAL_SECONDS = 1.0
Z95 = 1.959963984540054


def wilson_interval(wins: float, count: float) -> tuple[float, float]:
    """Compute the 95 % Wilson interval of a share of wins out of `count` >= 1; ties count half.

    Unlike the normal one it does not shrink to nothing at 0 and 1
    (https://doi.org/10.1080/01621459.1927.10502953).
    """
    if count < 1 or not 0 <= wins <= count:
        raise ValueError(f"expected 0 to {count} wins of at least one pair, got {wins}")
    share, square = wins / count, Z95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = Z95 * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    half /= 1 + square / count
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Accuracy:
    """Share of pairs whose better recording is found likelier; None without a pair."""

    share: float | None  # wins and half the ties over pairs; chance is 0.5
    low: float | None  # lower end of its Wilson interval, wider where pairs share a group
    high: float | None
    pairs: int
    ties: int  # pairs of equal score
    groups: int = 0  # groups of pairs that resemble each other, each lone pair one of them


def accuracy(margins: Sequence[float], groups: Sequence[str | None] | None = None) -> Accuracy:
    """Compute the accuracy of margins, score of pos minus that of neg.

    Args:
        margins: One a pair.
        groups: Name of what a pair shares with others, None where it is by itself. The interval is
            then that of as many independent pairs as would vary as much as the groups do.
    """
    count, ties = len(margins), sum(margin == 0 for margin in margins)
    if not count:
        return Accuracy(None, None, None, 0, 0)
    won = np.array([0.5 if margin == 0 else float(margin > 0) for margin in margins])
    share = float(won.mean())
    sums: dict[Any, float] = {}
    for number, (value, group) in enumerate(zip(won, groups or [None] * count, strict=True)):
        key = number if group is None else group
        sums[key] = sums.get(key, 0.0) + float(value) - share
    independent = _independent(count, share, list(sums.values()))
    ends = wilson_interval(share * independent, independent)
    return Accuracy(share, *ends, count, ties, len(sums))


def _independent(count: int, share: float, sums: Sequence[float]) -> float:
    """Number of independent pairs that tell as much as `count` in groups, by the design effect.

    Args:
        count: Pairs.
        share: Of wins.
        sums: Of wins less the share over the pairs of each group.
    """
    # A lone group has nothing to be compared with.
    if not 1 < len(sums) < count:
        return float(count)
    plain = count * share * (1.0 - share)
    if plain <= 0:
        return float(len(sums))  # all alike: no more is known than of one pair a group
    grouped = len(sums) / (len(sums) - 1) * sum(each**2 for each in sums)
    return max(1.0, count / max(1.0, grouped / plain))


def margins_of(
    pos: TokenScores,
    neg: TokenScores,
    pair: LikelihoodPair,
    *,
    local_seconds: float = LOCAL_SECONDS,
) -> dict[str, float]:
    """Compute the margin of a pair by every rule; positive where pos wins.

    "sum" and "mean": log-likelihood over all tokens, in all and a token. "length": the shorter is
    the likelier, which needs no model. "local": mean over the tokens of `local_seconds` after the
    change alone, "after": over all tokens after it; both only where the change is known.
    """
    margins = {
        "sum": float(np.sum(pos.log_likelihoods) - np.sum(neg.log_likelihoods)),
        "mean": float(np.mean(pos.log_likelihoods) - np.mean(neg.log_likelihoods)),
        "length": float(len(neg.log_likelihoods) - len(pos.log_likelihoods)),
    }
    if pair.change_pos is not None and pair.change_neg is not None:
        for rule, reach in (("local", local_seconds), ("after", math.inf)):
            margins[rule] = _mean_from(pos, pair.change_pos, reach) - _mean_from(
                neg, pair.change_neg, reach
            )
    return margins


def _mean_from(scores: TokenScores, start: float, reach: float) -> float:
    """Mean over the tokens that begin within [start, start + reach) s, at least one of them."""
    count = len(scores.log_likelihoods)
    rate = count / scores.seconds
    # The token the change falls into already holds some of it.
    first = min(max(0, math.floor(start * rate + 1e-9)), count - 1)
    last = count if math.isinf(reach) else min(count, math.ceil((start + reach) * rate - 1e-9))
    return float(np.mean(scores.log_likelihoods[first : max(last, first + 1)]))


def pair_accuracies(
    pairs: Sequence[LikelihoodPair],
    scores: Mapping[str, TokenScores],
    reasons: Mapping[str, str] | None = None,
    *,
    local_seconds: float = LOCAL_SECONDS,
) -> dict[str, Any]:
    """Compute the accuracy by suite, part and rule; scores, and reasons for none, are by path.

    Returns:
        {"n_expected", "n_ok", "failures": [{"id", "reason"}], "suites": {suite: {"all" and every
        part: {rule: Accuracy as a dict}}}, "margins": {suite/id: {rule: margin}}}. A pair of which
        one recording has no score, or ends before its change, is a failure and in no share.
    """
    margins: dict[str, dict[str, float]] = {}
    failures = []
    # Margins by suite, then by part, every pair also under "all".
    groups: dict[str, dict[str, list[tuple[dict[str, float], str | None]]]] = {}
    for pair in pairs:
        name = f"{pair.suite}/{pair.id}"
        pos, neg = scores.get(str(pair.pos)), scores.get(str(pair.neg))
        if pos is None or neg is None:
            lost = str(pair.pos if pos is None else pair.neg)
            why = (reasons or {}).get(lost, "was not scored")
            failures.append({"id": name, "reason": f"{lost}: {why}"})
            continue
        late = _change_beyond_end(pair, pos, neg)
        if late:
            failures.append({"id": name, "reason": late})
            continue
        margins[name] = margins_of(pos, neg, pair, local_seconds=local_seconds)
        suite = groups.setdefault(pair.suite, {"all": []})
        suite["all"].append((margins[name], pair.group))
        if pair.part:
            suite.setdefault(pair.part, []).append((margins[name], pair.group))
    return {
        "n_expected": len(pairs),
        "n_ok": len(margins),
        "failures": failures,
        "suites": {
            name: {part: _accuracies(rows) for part, rows in parts.items()}
            for name, parts in groups.items()
        },
        "margins": margins,
    }


def _change_beyond_end(pair: LikelihoodPair, pos: TokenScores, neg: TokenScores) -> str:
    """Why a pair cannot be compared from its change on, "" where it can; often it is in ms."""
    for path, change, scores in (
        (pair.pos, pair.change_pos, pos),
        (pair.neg, pair.change_neg, neg),
    ):
        if change is not None and change > scores.seconds:
            length = f"{scores.seconds:.3g} s long"
            return f"{path}: expected a change within it, got one at {change:g} s, it is {length}"
    return ""


def _accuracies(rows: Sequence[tuple[dict[str, float], str | None]]) -> dict[str, dict[str, Any]]:
    """Accuracy by rule over those pairs that have its margin."""
    rules = dict.fromkeys(rule for row, _ in rows for rule in row)
    found = {}
    for rule in rules:
        having = [(row[rule], group) for row, group in rows if rule in row]
        found[rule] = asdict(accuracy([m for m, _ in having], [group for _, group in having]))
    return found

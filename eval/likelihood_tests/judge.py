"""Accuracy in likelihood tests: a language model must find the better of two recordings likelier.

A pair manifest holds one JSON object a line: {"id", "suite", "part", "pos", "neg"}, `pos` and
`neg` being paths below its folder; "change_pos" and "change_neg" (s), where they are, are the times
from which on the two differ. A score file holds {"path", "log_likelihoods": [nats of each token],
"seconds"} a recording.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from codec.files.json_lines import appending, iter_json_lines, read_json_lines, write_json_lines
from eval.sound import sound_digest

# Reach of the localised variant, in seconds after the change.
LOCAL_SECONDS = 1.0
Z95 = 1.959963984540054


@runtime_checkable
class Scorer(Protocol):
    """A language model with its codec: waveform to log-likelihoods of its tokens."""

    def log_likelihoods(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """Score a waveform (T,) at `sample_rate` Hz: nats of each token in order, (S,).

        Tokens lie evenly over the recording: token n begins at n / S of its length.
        """
        ...


@dataclass(frozen=True)
class LikelihoodPair:
    """Two recordings of which the first should be likelier."""

    id: str  # unique within its suite
    suite: str  # name of the test, such as "swuggy" or "speaker_switch"
    part: str  # group within it, such as a phenomenon or a split; "" for none
    pos: Path  # the recording that should be likelier
    neg: Path
    change_pos: float | None = None  # seconds from which on `pos` differs; None where unknown
    change_neg: float | None = None  # likewise in `neg`


@dataclass(frozen=True, eq=False)
class TokenScores:
    """Likelihood of one recording."""

    log_likelihoods: np.ndarray  # (S,) nats of each token, S > 0
    seconds: float  # length of the recording

    def __post_init__(self) -> None:
        values = np.asarray(self.log_likelihoods, dtype=np.float64)
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise ValueError(f"expected finite log-likelihoods (S,), S > 0, got {values.shape}")
        if not self.seconds > 0:
            raise ValueError(f"expected a length above 0 s, got {self.seconds}")


def write_pairs(path: Path, pairs: Iterable[LikelihoodPair]) -> Path:
    """Write a pair manifest; paths become relative to its folder where they lie below it."""
    rows = []
    for pair in pairs:
        row = {k: v for k, v in asdict(pair).items() if v is not None}
        for side in ("pos", "neg"):
            audio = Path(row[side])
            inside = audio.is_relative_to(path.parent)
            row[side] = (audio.relative_to(path.parent) if inside else audio).as_posix()
        rows.append(row)
    return write_json_lines(path, rows)


def read_pairs(path: Path) -> list[LikelihoodPair]:
    """Read a pair manifest.

    Raises:
        ValueError: No such file, no pair in it, a line without its fields, or an id twice.
    """
    if not path.is_file():
        raise ValueError(f"expected a pair manifest (JSON lines), got {path}")
    pairs = [_pair(row, f"{path}:{n}", path.parent) for n, row in iter_json_lines(path)]
    counts = Counter((pair.suite, pair.id) for pair in pairs)
    twice = sorted(key for key, count in counts.items() if count > 1)
    if not pairs or twice:
        raise ValueError(
            f"{path}: expected pairs, every id once in its suite, got {twice[:8] or 0}"
        )
    return pairs


def _pair(row: dict[str, Any], where: str, folder: Path) -> LikelihoodPair:
    """Pair of a line of the manifest."""
    missing = [k for k in ("id", "suite", "pos", "neg") if not isinstance(row.get(k), str)]
    if missing:
        raise ValueError(f"{where}: expected texts under {missing}, got {sorted(row)}")
    changes = (row.get("change_pos"), row.get("change_neg"))
    sides = (folder / row["pos"], folder / row["neg"])
    return LikelihoodPair(row["id"], row["suite"], str(row.get("part", "")), *sides, *changes)


def score_recordings(
    pairs: Sequence[LikelihoodPair],
    scorer: Scorer,
    path: Path,
    *,
    read: Callable[[Path], tuple[np.ndarray, int]],
    notify: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Score every recording of the pairs once and write the score file.

    Recordings that are in it already, as they are, are kept, so that a run that was killed goes on.
    One that cannot be read or scored is written with its reason.

    Args:
        pairs: Pairs.
        scorer: The model.
        path: Score file; appended to.
        read: Path to (waveform (T,), sample rate in Hz).
        notify: Called after each recording with the numbers of those done and of all.
    """
    known = read_json_lines(path, torn="drop", missing_ok=True)
    have = {row["path"]: row.get("audio") for row in known if "log_likelihoods" in row}
    # A recording may be in several pairs.
    wanted = list(dict.fromkeys(audio for pair in pairs for audio in (pair.pos, pair.neg)))
    with appending(path) as append:
        for number, audio in enumerate(wanted, start=1):
            digest = sound_digest(audio)
            # A score file of an earlier version, or of other programs, has no digests.
            if have.get(str(audio), "") not in (None, digest):
                append({**_scored(audio, scorer, read), "audio": digest})
            notify(number, len(wanted))
    return path


def _scored(
    audio: Path, scorer: Scorer, read: Callable[[Path], tuple[np.ndarray, int]]
) -> dict[str, Any]:
    """Row of a score file."""
    try:
        waveform, rate = read(audio)
        scores = TokenScores(scorer.log_likelihoods(waveform, rate), len(waveform) / rate)
    except (ValueError, OSError, RuntimeError) as error:
        return {"path": str(audio), "reason": str(error) or type(error).__name__}
    values = [float(f"{value:.9g}") for value in scores.log_likelihoods]
    return {"path": str(audio), "log_likelihoods": values, "seconds": scores.seconds}


def read_scores(path: Path) -> tuple[dict[str, TokenScores], dict[str, str]]:
    """Read scores and reasons of failure by path; the last row of a path counts.

    Raises:
        ValueError: No such file, or a row that is neither.
    """
    if not path.is_file():
        raise ValueError(f"expected a score file (JSON lines), got {path}")
    scores: dict[str, TokenScores] = {}
    reasons: dict[str, str] = {}
    # A recording that failed is tried again by the next run, which adds a row.
    for _, row in iter_json_lines(path):
        name = str(row["path"]) if "path" in row else None
        if name is None or not {"log_likelihoods", "reason"} & row.keys():
            raise ValueError(f"{path}: expected path with log_likelihoods or reason, got {row}")
        if "log_likelihoods" in row:
            values = np.asarray(row["log_likelihoods"], dtype=np.float64)
            scores[name] = TokenScores(values, float(row["seconds"]))
            reasons.pop(name, None)
        else:
            reasons[name] = str(row["reason"])
            scores.pop(name, None)
    return scores, reasons


def wilson_interval(wins: float, count: int) -> tuple[float, float]:
    """Compute the 95 % Wilson interval of a share of wins out of `count` > 0; ties count half.

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
    low: float | None  # lower end of its Wilson interval
    high: float | None
    pairs: int
    ties: int  # pairs of equal score


def accuracy(margins: Sequence[float]) -> Accuracy:
    """Compute the accuracy of margins, score of pos minus that of neg."""
    count, ties = len(margins), sum(margin == 0 for margin in margins)
    if not count:
        return Accuracy(None, None, None, 0, 0)
    wins = sum(margin > 0 for margin in margins) + 0.5 * ties
    return Accuracy(wins / count, *wilson_interval(wins, count), count, ties)


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
        one recording has no score is a failure and in no share.
    """
    margins: dict[str, dict[str, float]] = {}
    failures = []
    # Margins by suite, then by part, every pair also under "all".
    groups: dict[str, dict[str, list[dict[str, float]]]] = {}
    for pair in pairs:
        name = f"{pair.suite}/{pair.id}"
        pos, neg = scores.get(str(pair.pos)), scores.get(str(pair.neg))
        if pos is None or neg is None:
            lost = str(pair.pos if pos is None else pair.neg)
            why = (reasons or {}).get(lost, "was not scored")
            failures.append({"id": name, "reason": f"{lost}: {why}"})
            continue
        margins[name] = margins_of(pos, neg, pair, local_seconds=local_seconds)
        suite = groups.setdefault(pair.suite, {"all": []})
        suite["all"].append(margins[name])
        if pair.part:
            suite.setdefault(pair.part, []).append(margins[name])
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


def _accuracies(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Accuracy by rule over those pairs that have its margin."""
    rules = dict.fromkeys(rule for row in rows for rule in row)
    return {rule: asdict(accuracy([row[rule] for row in rows if rule in row])) for rule in rules}

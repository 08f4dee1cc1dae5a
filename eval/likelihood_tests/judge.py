"""Likelihood tests: a language model must find the better of two recordings likelier.

A pair manifest holds one JSON object a line: {"id", "suite", "part", "pos", "neg"}, `pos` and
`neg` being paths below its folder; "change_pos" and "change_neg" (s), where they are, say from
when on the two differ. A score file holds {"path", "log_likelihoods": [nats of each token],
"seconds"} a recording.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from eval.files import cut_torn_line, read_json_lines, write_whole

# Tokens around the change that the localised variant looks at, in seconds after it.
LOCAL_SECONDS = 1.0
Z95 = 1.959963984540054


@runtime_checkable
class Scorer(Protocol):
    """A language model with its codec: how likely it finds every token of a recording."""

    def log_likelihoods(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """Waveform (T,) at `sample_rate` Hz to nats of each token in order, (S,).

        Tokens lie evenly over the recording: token n begins at n / S of its length.
        """
        ...


@dataclass(frozen=True)
class LikelihoodPair:
    """Two recordings of which the first should be likelier.

    Args:
        id: Unique within its suite.
        suite: Name of the test, such as "swuggy" or "speaker_switch".
        part: Group within it, such as a phenomenon or a split; "" for none.
        pos: Path of the one that should be likelier.
        neg: Path of the other.
        change_pos: Seconds into `pos` from which on the two differ; None where unknown.
        change_neg: Likewise in `neg`.
    """

    id: str
    suite: str
    part: str
    pos: Path
    neg: Path
    change_pos: float | None = None
    change_neg: float | None = None


@dataclass(frozen=True, eq=False)
class TokenScores:
    """Likelihood of one recording.

    Args:
        log_likelihoods: (S,) nats of each token, S > 0.
        seconds: Length of the recording.
    """

    log_likelihoods: np.ndarray
    seconds: float

    def __post_init__(self) -> None:
        """Checks that the numbers can be compared."""
        values = np.asarray(self.log_likelihoods, dtype=np.float64)
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise ValueError(f"expected finite log-likelihoods (S,), S > 0, got {values.shape}")
        if not self.seconds > 0:
            raise ValueError(f"expected a length above 0 s, got {self.seconds}")


def write_pairs(path: Path, pairs: Iterable[LikelihoodPair]) -> Path:
    """Writes a pair manifest; paths become relative to its folder where they lie below it."""
    lines = []
    for pair in pairs:
        row = {k: v for k, v in asdict(pair).items() if v is not None}
        for side in ("pos", "neg"):
            audio = Path(row[side])
            inside = audio.is_relative_to(path.parent)
            row[side] = (audio.relative_to(path.parent) if inside else audio).as_posix()
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return write_whole(path, "".join(lines))


def read_pairs(path: Path) -> list[LikelihoodPair]:
    """Reads a pair manifest.

    Raises:
        ValueError: No such file, no pair in it, a line without its fields, or an id twice.
    """
    if not path.is_file():
        raise ValueError(f"expected a pair manifest (JSON lines), got {path}")
    pairs = [_pair(row, f"{path}, line {n}", path.parent) for n, row in enumerate(_rows(path), 1)]
    keys = [(pair.suite, pair.id) for pair in pairs]
    twice = (
        sorted({key for key in keys if keys.count(key) > 1}) if len(set(keys)) < len(keys) else []
    )
    if not pairs or twice:
        raise ValueError(f"{path}: expected pairs, every id once in its suite, got {twice or 0}")
    return pairs


def _rows(path: Path) -> list[dict[str, Any]]:
    """Lines of a file that was written by hand, so that a missing last newline is no torn line."""
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _pair(row: dict[str, Any], where: str, folder: Path) -> LikelihoodPair:
    """A line of the manifest as a pair."""
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
    """Scores every recording of the pairs once and writes the score file.

    Recordings that stand there already are kept, so that a run that was killed goes on. One that
    cannot be read or scored is written with its reason.

    Args:
        pairs: Pairs.
        scorer: The model.
        path: Score file; appended to.
        read: Path to (waveform (T,), sample rate in Hz).
        notify: Told after each recording how many of how many are done.
    """
    have = {row["path"] for row in read_json_lines(path) if "log_likelihoods" in row}
    wanted = list(dict.fromkeys(audio for pair in pairs for audio in (pair.pos, pair.neg)))
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_torn_line(path)
    with path.open("a", encoding="utf-8") as stream:
        for number, audio in enumerate(wanted, start=1):
            if str(audio) not in have:
                stream.write(json.dumps(_scored(audio, scorer, read)) + "\n")
                stream.flush()
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
    """Scores and reasons of failure by path out of a score file; the last row of a path counts.

    Raises:
        ValueError: No such file, or a row that is neither.
    """
    if not path.is_file():
        raise ValueError(f"expected a score file (JSON lines), got {path}")
    scores: dict[str, TokenScores] = {}
    reasons: dict[str, str] = {}
    for row in _rows(path):
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
    """95 % interval of a share of wins (ties count half) out of `count` > 0, within 0 to 1.

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
    """Share of pairs whose better recording is found likelier.

    Args:
        share: Wins and half the ties over pairs; chance is 0.5. None without a pair.
        low: Lower end of its Wilson interval.
        high: Upper end.
        pairs: Pairs decided.
        ties: Pairs of equal score.
    """

    share: float | None
    low: float | None
    high: float | None
    pairs: int
    ties: int


def accuracy(margins: Sequence[float]) -> Accuracy:
    """Accuracy of margins, score of pos minus that of neg."""
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
    """Margin of a pair by every rule; positive where pos wins.

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


def judge_pairs(
    pairs: Sequence[LikelihoodPair],
    scores: Mapping[str, TokenScores],
    reasons: Mapping[str, str] | None = None,
    *,
    local_seconds: float = LOCAL_SECONDS,
) -> dict[str, Any]:
    """Accuracy by suite, part and rule.

    Returns:
        {"n_expected", "n_ok", "failures": [{"id", "reason"}], "suites": {suite: {"all" and every
        part: {rule: Accuracy as a dict}}}, "margins": {suite/id: {rule: margin}}}. A pair of which
        one recording has no score is a failure and in no share.
    """
    margins: dict[tuple[str, str], dict[str, float]] = {}
    failures = []
    for pair in pairs:
        sides = [scores.get(str(audio)) for audio in (pair.pos, pair.neg)]
        if sides[0] is None or sides[1] is None:
            lost = str(pair.pos if sides[0] is None else pair.neg)
            why = (reasons or {}).get(lost, "was not scored")
            failures.append({"id": f"{pair.suite}/{pair.id}", "reason": f"{lost}: {why}"})
            continue
        margins[pair.suite, pair.id] = margins_of(
            sides[0], sides[1], pair, local_seconds=local_seconds
        )
    groups: dict[str, dict[str, list[dict[str, float]]]] = {}
    for pair in pairs:
        if (found := margins.get((pair.suite, pair.id))) is not None:
            suite = groups.setdefault(pair.suite, {"all": []})
            suite["all"].append(found)
            if pair.part:
                suite.setdefault(pair.part, []).append(found)
    return {
        "n_expected": len(pairs),
        "n_ok": len(margins),
        "failures": failures,
        "suites": {
            name: {part: _accuracies(rows) for part, rows in parts.items()}
            for name, parts in groups.items()
        },
        "margins": {f"{suite}/{name}": found for (suite, name), found in margins.items()},
    }


def _accuracies(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Accuracy by rule over those pairs that have its margin."""
    rules = dict.fromkeys(rule for row in rows for rule in row)
    return {rule: asdict(accuracy([row[rule] for row in rows if rule in row])) for rule in rules}

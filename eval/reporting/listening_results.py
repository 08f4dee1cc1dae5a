"""Answers of a blind listening test: preferences or scores by system, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codec.checks import in_range, one_of, require
from codec.files import read_json
from codec.files.names import is_hidden
from eval.scoring.bootstrap import Interval, bootstrap_mean

from .listening_test import KEY_NAME, REFERENCE
from .report import Cell, Estimate, Report, Table

# ITU-R BS.1534: an assessor who gives the hidden reference less than 90 in more than 15 % of the
# trials does not tell it apart.
_REFERENCE_SCORE, _REFERENCE_SHARE = 90, 0.15


def read_answers(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read listen.key.json and every other JSON file of a folder, the answers of one listener each.

    Raises:
        ValueError: No key, no answers, or answers to another test, from one listener twice, or of
            another form than the page gives them; names the file.
    """
    if not (folder / KEY_NAME).is_file():
        raise ValueError(f"expected {KEY_NAME} of hh-eval listen in {folder}, found none")
    key = read_json(folder / KEY_NAME, required=("test", "kind", "systems", "stimuli"))
    answers = []
    for path in sorted(folder.glob("*.json")):
        if path.name in (KEY_NAME, "listening.json") or is_hidden(path, folder):
            continue
        found = read_json(path, required=("test", "listener", "answers"))
        if found["test"] != key["test"]:
            raise ValueError(f"{path}: expected answers to test {key['test']}, got {found['test']}")
        if any(found["listener"] == other["listener"] for other in answers):
            raise ValueError(
                f"{path}: expected each listener once, got {found['listener']!r} again"
            )
        _check_answers(key, found, str(path))
        answers.append(found)
    if not answers:
        raise ValueError(
            f"expected answers (the JSON that the page offers) in {folder}, found none"
        )
    return key, answers


def _check_answers(key: dict[str, Any], found: dict[str, Any], where: str) -> None:
    """Raise `ValueError` for answers that the page of this test cannot have given."""
    rows = found["answers"]
    name = found["listener"]
    require(isinstance(name, str) and bool(name), f"{where}: listener", "a name", name)
    require(isinstance(rows, list) and bool(rows), f"{where}: answers", "a list of answers", rows)
    given_trials: set[frozenset[str]] = set()
    for number, row in enumerate(rows):
        place = f"{where}: answers[{number}]"
        given = row.get("stimuli") if isinstance(row, dict) else None
        sounds: list[Any] = given if isinstance(given, list) else []
        fits = given is sounds and all(isinstance(each, str) for each in sounds)
        require(fits, place, "an answer with the sounds of its trial under `stimuli`", row)
        unknown = sorted(set(sounds) - set(key["stimuli"]))
        require(not unknown, place, f"sounds of {KEY_NAME}", unknown)
        heard = [key["stimuli"][each] for each in sounds]
        is_trial = len({each["clip"] for each in heard}) == 1
        is_trial &= len({each["system"] for each in heard}) == len(heard)
        require(is_trial, place, "sounds of one clip by different systems", sounds)
        require(frozenset(sounds) not in given_trials, place, "each trial once", sounds)
        given_trials.add(frozenset(sounds))
        if key["kind"] == "ab":
            require(len(sounds) == len(set(sounds)) == 2, place, "two sounds", sounds)
            require("choice" in row, place, "a choice, null for no difference", row)
            one_of(f"{place}.choice", row["choice"], [*sounds, None])
            continue
        rated = row.get("scores")
        scores: dict[str, Any] = rated if isinstance(rated, dict) else {}
        fits = rated is scores and set(scores) == set(sounds)
        require(fits, place, "a score for every sound", rated)
        for sound, score in scores.items():
            in_range(f"{place}.scores.{sound}", score, 0, 100)


def listening_figures(
    key: dict[str, Any], answers: Sequence[dict[str, Any]], *, seed: int = 0
) -> dict[str, Any]:
    """Compute preferences ("ab") or scores ("mushra").

    Intervals are over listeners, then their answers, where there are two or more, else over
    answers.

    Returns:
        {"kind", "listeners", "rows", "unreliable"}: a row of "ab" is {"first", "second", "answers",
        "first_better", "second_better", "no_difference", "preference"}, the preference being the
        share of the first, no difference a half; of "mushra" {"system", "answers", "score"}.
        `unreliable` names listeners who did not find the hidden reference. An interval is {"value",
        "low", "high"}.

    Raises:
        ValueError: Answers about sounds that the key does not have.
    """
    system_of = {name: each["system"] for name, each in key["stimuli"].items()}
    unknown = {s for a in answers for row in a["answers"] for s in row["stimuli"]} - set(system_of)
    if unknown:
        raise ValueError(f"expected sounds of {KEY_NAME}, got {sorted(unknown)[:3]}")
    is_pairs = key["kind"] == "ab"
    rows = (_preferences if is_pairs else _scores)(key, answers, system_of, seed)
    return {
        "kind": key["kind"],
        "listeners": len(answers),
        "rows": rows,
        "unreliable": [] if is_pairs else _unreliable(answers, system_of),
    }


def _preferences(
    key: dict[str, Any], answers: Sequence[dict[str, Any]], system_of: dict[str, str], seed: int
) -> list[dict[str, Any]]:
    """A row for each two systems that were set against each other."""
    names = key["systems"]
    found: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for each in answers:
        for row in each["answers"]:
            first, second = sorted((system_of[s] for s in row["stimuli"]), key=names.index)
            chosen = None if row["choice"] is None else system_of[row["choice"]]
            share = 0.5 if chosen is None else float(chosen == first)
            found.setdefault((first, second), []).append((share, each["listener"]))
    return [
        {
            "first": first,
            "second": second,
            "answers": len(given),
            "first_better": sum(share == 1 for share, _ in given),
            "second_better": sum(share == 0 for share, _ in given),
            "no_difference": sum(share == 0.5 for share, _ in given),
            "preference": _interval(given, seed),
        }
        for (first, second), given in sorted(
            found.items(), key=lambda item: [names.index(name) for name in item[0]]
        )
    ]


def _scores(
    key: dict[str, Any], answers: Sequence[dict[str, Any]], system_of: dict[str, str], seed: int
) -> list[dict[str, Any]]:
    """A row for each system, the hidden reference last."""
    found: dict[str, list[tuple[float, str]]] = {}
    for each in answers:
        for row in each["answers"]:
            for stimulus, score in row["scores"].items():
                given = (float(score), each["listener"])
                found.setdefault(system_of[stimulus], []).append(given)
    return [
        {"system": name, "answers": len(found[name]), "score": _interval(found[name], seed)}
        for name in (*key["systems"], REFERENCE)
        if name in found
    ]


def _unreliable(answers: Sequence[dict[str, Any]], system_of: dict[str, str]) -> list[str]:
    """Listeners who gave the hidden reference too little too often."""
    names = []
    for each in answers:
        scores = [
            score
            for row in each["answers"]
            for stimulus, score in row["scores"].items()
            if system_of[stimulus] == REFERENCE
        ]
        low = sum(score < _REFERENCE_SCORE for score in scores)
        if scores and low > _REFERENCE_SHARE * len(scores):
            names.append(each["listener"])
    return names


def _interval(given: Sequence[tuple[float, str]], seed: int) -> dict[str, float | None]:
    values, listeners = zip(*given, strict=True)
    found: Interval = bootstrap_mean(values, groups=listeners, seed=seed)
    return {"value": found.value, "low": found.low, "high": found.high}


def listening_report(figures: dict[str, Any], provenance: dict[str, str]) -> Report:
    """Build the page of a listening test's figures."""
    is_pairs, rows = figures["kind"] == "ab", figures["rows"]
    over = (
        "listeners, then their answers" if figures["listeners"] > 1 else "answers of one listener"
    )
    note = f"Small print: 95 % bootstrap interval over {over}."
    cells: list[list[Cell]] = []
    if is_pairs:
        columns = ["systems", "first preferred", "first", "second", "no difference", "answers"]
        for row in rows:
            counts = [row["first_better"], row["second_better"], row["no_difference"]]
            pair = f"{row['first']} against {row['second']}"
            cells.append([pair, _estimate(row["preference"], "%"), *counts, row["answers"]])
        note += " No difference counts half to each; 50 % is none preferred."
    else:
        columns = ["system", "score, 0 to 100", "answers"]
        cells = [[row["system"], _estimate(row["score"], ""), row["answers"]] for row in rows]
        names = ", ".join(figures["unreliable"])
        note += f" Gave the hidden reference under 90 too often: {names or 'nobody'}."
    return Report(
        title="Preferences" if is_pairs else "Scores of listeners",
        subtitle=f"{figures['listeners']} listeners",
        failures=[],
        tables=[Table("Answers", columns, cells, note)],
        provenance=provenance,
    )


def _estimate(interval: dict[str, float | None], unit: str) -> Estimate:
    return Estimate(interval["value"], interval["low"], interval["high"], unit)

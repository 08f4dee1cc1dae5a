"""Speech of the lists of seed-tts-eval, generated and scored, in one table.

    python -m recipes.comparisons.seed_tts recipes/configs/seed_tts.yaml
        lists.en=seedtts_testset/en/meta.lst run=runs/seed_tts

Speaks every text of a list in the voice of its prompt by `hh-slm tts`, scores it by `hh-eval tts`
(run/<list>/spoken, run/<list>/scores) and writes run/seed_tts.md and run/seed_tts.json; with
`draws=3` three times, by seeds that follow one another (spoken_2, scores_2 ...), and their mean.
The same command goes on with a run that was cut off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

import eval.cli.main
import slm.cli.main
from codec.checks import at_least, require
from codec.command_line import DONE, FAILED, WRONG_CALL
from codec.files import read_json, sha256_of, write_json, write_text
from codec.files.json_lines import read_json_lines, read_lines
from codec.files.names import check_items
from codec.provenance import provenance
from recipes.runner.run_folder import own_folder
from recipes.runner.stages import say

from .comparison_table import ComparisonTable, comparison_command
from .seed_tts_table import row_of, rows_of_draws, seed_tts_table

# What a list held when its folder was begun.
LIST_NAME = "list.json"
PROGRAM = "python -m recipes.comparisons.seed_tts"
# What may differ between calls on one folder: further lists and metrics are added.
ADDED = ("lists", "metrics", "workers", "draws")
# Options of `hh-slm tts` that the recipe gives itself.
_GIVEN = ("--file", "--out", "-o", "--resume", "--codec", "--lm", "--seed", "--json")


@dataclass
class SeedTtsConfig:
    """The lists, the models that speak and how they are scored."""

    # meta.lst files, or .jsonl of `recipes.comparisons.prompt_lists`, by the name of their row.
    lists: dict[str, str] = field(default_factory=dict)
    run: str = MISSING
    # Bundled name, model folder or hub repository of each.
    codec: str = "hh-mini-24k-v2"
    lm: str = "hh-mini-slm-v2"
    seed: int = 0
    # Times each list is spoken, with this seed and those after it.
    draws: int = 1
    # Further words of `hh-slm tts`, such as [--temperature, "0.8"].
    options: list[str] = field(default_factory=list)
    # Names of hh-eval doctor's list by commas; null = all that apply and are ready.
    metrics: str | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        at_least("draws", self.draws, 1)
        require(bool(self.lists), "lists", "at least one, such as lists.en=FILE", self.lists)
        nested = [name for name in self.lists if "/" in name]
        require(not nested, "lists", "names without slashes", nested)
        # Each is a folder of the run.
        check_items(self.lists)
        words = [each.partition("=")[0] for each in self.options if each.startswith("-")]
        # argparse takes the beginning of an option for it, and `-ofile` for `-o file`.
        own = [w for w in words if w.startswith("-o") or any(g.startswith(w) for g in _GIVEN)]
        require(not own, "options", f"none of {', '.join(_GIVEN)}", own)


def main(argv: Sequence[str] | None = None) -> int:
    """Speak, score, tabulate; returns the exit status, 1 when a text failed."""
    return comparison_command(PROGRAM, __doc__ or "", SeedTtsConfig, run_seed_tts, argv)


def run_seed_tts(config: SeedTtsConfig, argv: Sequence[str] | None = None) -> ComparisonTable:
    """Speak and score every list, then write the table.

    Args:
        config: Settings.
        argv: Words of the call, for the provenance; None for the process's.

    Raises:
        ValueError: A list that breaks its format or has changed since its folder was made, models
            or metrics that cannot run, or a folder made with other settings.
    """
    run = Path(config.run)
    # Before the settings are written beside what others have made.
    for name, meta in config.lists.items():
        _check_list(run / name, Path(meta))
    with own_folder(config, run, ADDED, before_work=[LIST_NAME]):
        return _speak_and_score(config, run, argv)


def _speak_and_score(
    config: SeedTtsConfig, run: Path, argv: Sequence[str] | None
) -> ComparisonTable:
    """Do the work of `run_seed_tts` in a folder that no other process works in."""
    for name, meta in config.lists.items():
        _keep_list(run / name, Path(meta))
    rows: list[dict[str, Any]] = []
    for name, meta in config.lists.items():
        drawn = [_speak(config, name, meta, number) for number in range(config.draws)]
        recorded = None
        # Recordings of the same texts are the ceiling, where the list has them.
        if _has_references(Path(meta)):
            recorded = row_of(name, "recording", run / name / "scores" / "recording")
        rows += rows_of_draws(drawn, recorded)
    failed = sum(row["failed"] for row in rows)
    figures = {"rows": rows, "failed": failed, "provenance": provenance(PROGRAM, argv)}
    write_json(run / "seed_tts.json", figures)
    markdown = seed_tts_table(figures)
    write_text(run / "seed_tts.md", markdown)
    return ComparisonTable(markdown, figures)


def _speak(config: SeedTtsConfig, name: str, meta: str, number: int) -> dict[str, Any]:
    """Speak and score a list for the so manieth time; its row of the table."""
    seed, suffix = config.seed + number, f"_{number + 1}" if number else ""
    folder = Path(config.run) / name
    spoken, scores = folder / f"spoken{suffix}", folder / f"scores{suffix}"
    say("seed_tts", f"{name}: speak, seed {seed}")
    models = ["--codec", config.codec, "--lm", config.lm, "--seed", str(seed)]
    words = ["tts", "--file", meta, "--out", str(spoken), "--resume", *models]
    _call(slm.cli.main.main, [*words, *config.options])
    say("seed_tts", f"{name}: score")
    words = ["tts", meta, str(spoken), "--out", str(scores), "--normalizer", "seedtts"]
    words += ["--workers", str(config.workers), "--seed", str(config.seed)]
    words += [] if config.metrics is None else ["--metrics", config.metrics]
    with_recordings = ["--recordings"] if not number and _has_references(Path(meta)) else []
    _call(eval.cli.main.main, [*words, *with_recordings])
    return {**row_of(name, "spoken", scores), "seed": seed}


def _keep_list(folder: Path, meta: Path) -> None:
    """Note what a list holds beside what is made of it.

    Raises:
        ValueError: As `_check_list`.
        OSError: There is no such list.
    """
    write_json(folder / LIST_NAME, {"file": str(meta), "sha256": _check_list(folder, meta)})


def _check_list(folder: Path, meta: Path) -> str:
    """Refuse a list that has changed since something was made of it; else its SHA-256.

    Raises:
        ValueError: The folder was made with a list of other contents.
        OSError: There is no such list.
    """
    note, found = folder / LIST_NAME, sha256_of(meta)
    # A list that was refused has made nothing.
    is_begun = note.is_file() and (folder / "spoken").is_dir()
    before = read_json(note, required=("sha256",))["sha256"] if is_begun else found
    if before != found:
        raise ValueError(
            f"{meta}: expected the list of SHA-256 {before} that {folder} was made with, got "
            f"{found}; give it another name (lists.NAME=...) or delete the folder"
        )
    return found


def _call(command: Callable[[Sequence[str]], int], words: list[str]) -> None:
    """Run a command with its report on stderr; failed items are counted in the table."""
    # stdout is the table's.
    with redirect_stdout(sys.stderr):
        status = command(words)
    if status not in (DONE, FAILED):
        what = "a call that was wrong" if status == WRONG_CALL else f"exit status {status}"
        raise ValueError(f"expected `{' '.join(words)}` to run, got {what}; see above")


def _has_references(meta: Path) -> bool:
    """True if a list names recordings of its texts: a fifth column, or "reference"."""
    if meta.suffix == ".jsonl":
        return any(row.get("reference") for row in read_json_lines(meta))
    rows = (line.split("|") for _, line in read_lines(meta))
    return any(len(fields) > 4 and fields[4].strip() for fields in rows)


if __name__ == "__main__":
    raise SystemExit(main())

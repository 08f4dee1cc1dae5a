"""Speech of the lists of seed-tts-eval, generated and scored, in one table.

    python -m recipes.comparisons.seed_tts recipes/configs/seed_tts.yaml
        lists.en=seedtts_testset/en/meta.lst run=runs/seed_tts

Speaks every text of a list in the voice of its prompt by `hh-slm tts`, scores it by `hh-eval tts`
(run/<list>/spoken, run/<list>/scores) and writes run/seed_tts.md and run/seed_tts.json. The same
command goes on with a run that was cut off.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

import eval.cli.main
import slm.cli.main
from codec.checks import require
from codec.command_line import DONE, FAILED, WRONG_CALL, exit_status
from codec.file_names import check_items
from codec.files import read_json, sha256_of, write_json, write_text
from codec.json_lines import read_json_lines, read_lines
from codec.provenance import provenance
from eval.scoring.summary import find_figure, item_values, number_text, read_summary, resampled_over
from recipes.runner.cli import make_parser
from recipes.runner.config import load_settings
from recipes.runner.markdown import table_lines
from recipes.runner.run_folder import own_folder
from recipes.runner.stages import say

# What a list held when its folder was begun.
LIST_NAME = "list.json"
PROGRAM = "python -m recipes.comparisons.seed_tts"
# What may differ between calls on one folder: further lists and metrics are added.
ADDED = ("lists", "metrics", "workers")
# Options of `hh-slm tts` that the recipe gives itself.
_GIVEN = ("--file", "--out", "-o", "--resume", "--codec", "--lm", "--seed", "--json")
# Word errors by the best recogniser there is: family and its name in the table.
RECOGNISERS = {"wer_whisper": "Whisper", "wer": "pocketsphinx"}
SIMILARITIES = {
    "speaker_sim_prompt/speaker_sim_prompt": "similarity to the prompt (Resemblyzer)",
    "wavlm_sim_prompt/wavlm_sim_prompt": "similarity to the prompt (WavLM x-vectors)",
}


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
    # Further words of `hh-slm tts`, such as [--temperature, "0.8"].
    options: list[str] = field(default_factory=list)
    # Names of hh-eval doctor's list by commas; null = all that apply and are ready.
    metrics: str | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        require(bool(self.lists), "lists", "at least one, such as lists.en=FILE", self.lists)
        nested = [name for name in self.lists if "/" in name]
        require(not nested, "lists", "names without slashes", nested)
        # Each is a folder of the run.
        check_items(self.lists)
        words = [each.partition("=")[0] for each in self.options if each.startswith("-")]
        # argparse takes the beginning of an option for it, and `-ofile` for `-o file`.
        own = [w for w in words if w.startswith("-o") or any(g.startswith(w) for g in _GIVEN)]
        require(not own, "options", f"none of {', '.join(_GIVEN)}", own)


@dataclass(frozen=True)
class SeedTtsTable:
    """The table as Markdown and as plain figures."""

    markdown: str
    figures: dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Speak, score, tabulate; returns the exit status, 1 when a text failed."""
    parser = make_parser(PROGRAM, __doc__ or "", schema=SeedTtsConfig)
    arguments = parser.parse_intermixed_args(argv)

    def work() -> int:
        config = load_settings(SeedTtsConfig, arguments.config, arguments.overrides)
        table = run_seed_tts(config, argv)
        print(json.dumps(table.figures) if arguments.json else table.markdown)
        return FAILED if table.figures["failed"] else DONE

    return exit_status(work, debug=arguments.debug)


def run_seed_tts(config: SeedTtsConfig, argv: Sequence[str] | None = None) -> SeedTtsTable:
    """Speak and score every list, then write the table.

    Args:
        config: Settings.
        argv: Words of the call, for the provenance; None for the process's.

    Raises:
        ValueError: A list that breaks its format or has changed since its folder was made, models
            or metrics that cannot run, or a folder made with other settings.
    """
    run = Path(config.run)
    with own_folder(config, run, ADDED, before_work=[LIST_NAME]):
        return _speak_and_score(config, run, argv)


def _speak_and_score(config: SeedTtsConfig, run: Path, argv: Sequence[str] | None) -> SeedTtsTable:
    """Do the work of `run_seed_tts` in a folder that no other process works in."""
    for name, meta in config.lists.items():
        _keep_list(run / name, Path(meta))
    rows: list[dict[str, Any]] = []
    for name, meta in config.lists.items():
        spoken, scores = run / name / "spoken", run / name / "scores"
        say("seed_tts", f"{name}: speak")
        models = ["--codec", config.codec, "--lm", config.lm, "--seed", str(config.seed)]
        words = ["tts", "--file", meta, "--out", str(spoken), "--resume", *models]
        _call(slm.cli.main.main, [*words, *config.options])
        say("seed_tts", f"{name}: score")
        words = ["tts", meta, str(spoken), "--out", str(scores), "--normalizer", "seedtts"]
        words += ["--workers", str(config.workers), "--seed", str(config.seed)]
        words += [] if config.metrics is None else ["--metrics", config.metrics]
        # Recordings of the same texts are the ceiling, where the list has them.
        has_references = _has_references(Path(meta))
        _call(eval.cli.main.main, [*words, *(["--recordings"] if has_references else [])])
        rows.append(_row(name, "spoken", scores))
        if has_references:
            rows.append(_row(name, "recording", scores / "recording"))
    failed = sum(row["failed"] for row in rows)
    figures = {"rows": rows, "failed": failed, "provenance": provenance(PROGRAM, argv)}
    write_json(run / "seed_tts.json", figures)
    markdown = _markdown(figures)
    write_text(run / "seed_tts.md", markdown)
    return SeedTtsTable(markdown, figures)


def _keep_list(folder: Path, meta: Path) -> None:
    """Note what a list holds beside what is made of it, or refuse one that has changed since.

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
    write_json(note, {"file": str(meta), "sha256": found})


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


def _row(name: str, version: str, folder: Path) -> dict[str, Any]:
    """Figures of the speech of one list, or of its recordings."""
    summary = read_summary(folder)
    figures = {}
    for family in RECOGNISERS:
        figures[f"{family}/wer"] = find_figure(summary, f"{family}/wer")
    for key in SIMILARITIES:
        figures[key] = find_figure(summary, key)
        if margin := _margin(summary, key):
            figures[_margin_key(key)] = margin
    figures["runaway"] = find_figure(summary, "delivery/runaway")
    # Lengths are stored beside the figures of delivery.
    delivery = next((each for each in summary["metrics"] if each.startswith("delivery.")), None)
    values = item_values(folder, delivery).values() if delivery else ()
    seconds = [length for row in values if (length := row.get("num_seconds")) is not None]
    return {
        "list": name,
        "version": version,
        "texts": summary["n_expected"],
        "seconds": sum(seconds) / len(seconds) if seconds else None,
        "figures": {key: figure for key, figure in figures.items() if figure is not None},
        "intervals": resampled_over([summary]),
        "failed": max(metric["n_failed"] for metric in summary["metrics"].values()),
    }


def _margin_key(similarity: str) -> str:
    return f"{similarity}_margin"


def _margin(summary: dict[str, Any], similarity: str) -> dict[str, Any] | None:
    """Figure of the margin of a similarity over other voices' prompts, None where there is none."""
    family = similarity.partition("/")[0]
    for name, metric in summary["metrics"].items():
        found = (metric.get("corpus") or {}).get("margin") or {}
        if name.split(".")[0] == family and found.get("mean") is not None:
            return {"value": found["mean"], "unit": "", "ci95": None, **found}
    return None


def _markdown(figures: dict[str, Any]) -> str:
    """The table, what its figures are, and the provenance."""
    rows = figures["rows"]
    present = {key for row in rows for key in row["figures"]}
    columns: list[tuple[str, str, str]] = []
    for family, title in RECOGNISERS.items():
        if f"{family}/wer" in present:
            columns.append((f"{family}/wer", "mean", f"WER, mean of utterances ({title}) ↓"))
            columns.append((f"{family}/wer", "value", f"WER, pooled ({title}) ↓"))
    for key, title in SIMILARITIES.items():
        columns += [(key, "value", f"{title} ↑")] if key in present else []
        if _margin_key(key) in present:
            columns.append((_margin_key(key), "value", "margin over the others' prompts ↑"))
    if "runaway" in present:
        columns.append(("runaway", "value", "ran away ↓"))
    head = [
        "list",
        "speech",
        "texts",
        *(title for *_, title in columns),
        "seconds a text",
        "failed",
    ]
    lines = [
        [
            row["list"],
            row["version"],
            str(row["texts"]),
            *(_cell(row["figures"].get(key), which) for key, which, _ in columns),
            f"{row['seconds']:.2f}" if row["seconds"] else "-",
            str(row["failed"]),
        ]
        for row in rows
    ]
    over = " or ".join(dict.fromkeys(row["intervals"] for row in rows))
    about = (
        f"Mean and 95 % interval over {over}. Texts are normalised as seed-tts-eval does for "
        "English; its published word errors are means of utterances by Whisper-large-v3, its "
        "similarities those of a WavLM-large fine-tuned on speakers: other models give others."
    )
    origin = [f"{key}: {value}" for key, value in figures["provenance"].items()]
    return "\n".join([*table_lines(head, lines), "", about, "", *origin]) + "\n"


def _cell(figure: dict[str, Any] | None, which: str) -> str:
    """`12.3 % (10.0 to 14.9)` of the headline or of the mean over utterances."""
    if figure is None or figure[which] is None:
        return "-"
    unit = figure["unit"]
    text = number_text(figure[which], unit=unit)
    ends = figure["ci95" if which == "value" else "mean_ci95"]
    if not ends:
        return text
    low, high = (number_text(end, unit=unit).removesuffix(" %") for end in ends)
    return f"{text} ({low} to {high})"


if __name__ == "__main__":
    raise SystemExit(main())

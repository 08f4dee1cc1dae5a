"""Tables of README, docs and model cards, written from the figures of runs.

    python -m recipes.release.tables README.md docs/results.md
    python -m recipes.release.tables --commands corpus=../shared/speech runs=runs/release

Each table stands between `<!-- table NAME -->` and `<!-- end -->`; recipes/configs/tables.yaml says
which files it comes from and which command makes those. The second call prints the commands.
Without documents all of them are written; status 1 says that figures of some are not there yet.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from codec.checks import one_of, require
from codec.command_line import DONE, FAILED, exit_status
from codec.files import read_json, write_text
from eval.scoring.summary import number_text
from recipes.runner.cli import plain_parser
from recipes.runner.markdown import table_lines

from .model_cards import anchors_table, figure_text, filled

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "tables.yaml"
SETTINGS = {"runs": "runs/release", "corpus": "../shared/speech"}
# Rates of words by the keys of the evaluate stage and of anchors, as columns.
WORDS = {
    "wer_whisper": ("WER, Whisper ↓", "wer_whisper/wer"),
    "cer_whisper": ("CER, Whisper ↓", "wer_whisper/cer"),
    "wer": ("WER, pocketsphinx ↓", "wer/wer"),
    "cer": ("CER, pocketsphinx ↓", "wer/cer"),
}
USE = {
    "num_tokens": "codes seen",
    "used": "used",
    "perplexity": "perplexity",
    "effective_bitrate": "rate times entropy, bit/s",
}


@dataclass(frozen=True)
class Source:
    """A file of figures, and the command that makes it."""

    file: Path
    command: str


@dataclass(frozen=True)
class TableSpec:
    """A table: its document, name and kind, and what its kind needs."""

    document: str
    table: str
    kind: str
    options: Mapping[str, Any]

    @property
    def sources(self) -> list[str]:
        """Names of the sources it is made of."""
        rows = self.options.get("rows", {}).values()
        return list(
            dict.fromkeys(filter(None, [self.options.get("source"), *(r[0] for r in rows)]))
        )


@dataclass(frozen=True)
class Plan:
    """All sources and tables."""

    sources: dict[str, Source]
    tables: list[TableSpec]


def read_plan(path: Path, settings: Mapping[str, str]) -> Plan:
    """Read the list of tables.

    Args:
        path: YAML file.
        settings: Values for {runs} and {corpus} in files and commands.

    Raises:
        ValueError: A table of an unknown kind or source, or the same one twice.
    """
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    sources = {
        name: Source(
            Path(settings["runs"]) / each["file"],
            " ".join(each["command"].split()).format(**settings),
        )
        for name, each in found["sources"].items()
    }
    tables = []
    for each in found["tables"]:
        options = {k: v for k, v in each.items() if k not in ("document", "table", "kind")}
        spec = TableSpec(each["document"], each["table"], each["kind"], options)
        one_of(f"{spec.document}, {spec.table}: kind", spec.kind, KINDS)
        for name in spec.sources:
            one_of(f"{spec.document}, {spec.table}: source", name, sources)
        tables.append(spec)
    places = [(spec.document, spec.table) for spec in tables]
    require(len(set(places)) == len(places), "tables", "each once", places)
    return Plan(sources, tables)


def render(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """The Markdown of a table.

    Raises:
        ValueError: The figures lack a system, a column or a group that the table names.
        OSError: A file of figures is missing.
    """
    return KINDS[spec.kind](spec, sources)


def _anchors(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """Systems by figures, and in which of them the compared one is better or worse."""
    figures = read_json(sources[spec.options["source"]].file)
    systems = spec.options.get("systems")
    text = anchors_table(
        figures,
        columns=spec.options.get("columns"),
        systems=systems,
        intervals=spec.options.get("intervals", True),
    )
    if not spec.options.get("outcomes", False):
        return text
    return "\n".join([text, "", *_outcomes(figures, systems or {})])


def _outcomes(figures: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    """Sentences on the paired differences: better, worse, and not told apart."""
    lines = []
    words = {"A better": "better in", "B better": "worse in"}
    for part in figures["differences"].values():
        for name, found in part.items():
            groups: dict[str, list[str]] = {}
            for each in found["figures"]:
                if each["higher_is_better"] is not None:
                    kind = words.get(each["verdict"], "not told apart in")
                    groups.setdefault(kind, []).append(each["figure"])
            said = "; ".join(f"{kind} {', '.join(names)}" for kind, names in groups.items())
            lines.append(f"- {found['ours']} beside {titles.get(name, name)}: {said}.")
    return lines


def _words(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """Rates of words: rows by their title, [source, group of words or system]."""
    rows: dict[str, dict[str, dict[str, Any] | None]] = {}
    for title, (source, group) in spec.options["rows"].items():
        figures = read_json(sources[source].file)
        if "systems" in figures:
            one_of(f"{title}: system", group, figures["systems"])
            found = figures["systems"][group]["figures"]
            by_family = {f"{k.split('.')[0]}/{k.rpartition('/')[2]}": v for k, v in found.items()}
            rows[title] = {key: by_family.get(name) for key, (_, name) in WORDS.items()}
        else:
            one_of(f"{title}: group", group, figures["words"])
            found = figures["words"][group]
            rows[title] = {
                key: {"value": found[key], "ci95": found[f"{key}_ci95"], "unit": "%"}
                for key in WORDS
                if key in found
            }
    # Rates that no row has are left out, and those that the table does not want.
    wanted = spec.options.get("columns", WORDS)
    shown = [key for key in wanted if any(row.get(key) for row in rows.values())]
    intervals = spec.options.get("intervals", True)
    lines = [
        [title, *(figure_text(row.get(key), intervals=intervals) for key in shown)]
        for title, row in rows.items()
    ]
    head = [spec.options.get("head", "speech"), *(WORDS[key][0] for key in shown)]
    return "\n".join([*table_lines(head, lines), "", _origin(spec, sources)])


def _codebook(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """Use of the codebook by split."""
    figures = read_json(sources[spec.options["source"]].file)["codebook"]
    size = next(iter(figures.values()))["codebook_size"]
    lines = [
        [title, *(number_text(round(split[key])).replace(" ", ",") for split in figures.values())]
        for key, title in USE.items()
    ]
    table = table_lines([f"codebook ({size} codes)", *figures], lines)
    return "\n".join([*table, "", _origin(spec, sources)])


def _markdown(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """A file that a recipe wrote, as it is."""
    return sources[spec.options["source"]].file.read_text(encoding="utf-8")


def _origin(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """The commands behind a table."""
    return "; ".join(f"`{sources[name].command}`" for name in spec.sources) + "."


KINDS: dict[str, Callable[[TableSpec, Mapping[str, Source]], str]] = {
    "anchors": _anchors,
    "words": _words,
    "codebook": _codebook,
    "markdown": _markdown,
}


def write_tables(plan: Plan, documents: Sequence[str], root: Path) -> dict[str, list[str]]:
    """Write the tables of documents whose figures are there.

    Args:
        plan: All tables.
        documents: Paths from `root`; [] for all.
        root: Folder of the documents.

    Returns:
        {"written": documents and tables, "missing": the same with the commands that make them}.

    Raises:
        ValueError: A document without tables, or without the markers of one.
    """
    known = list(dict.fromkeys(spec.document for spec in plan.tables))
    for document in documents:
        one_of("document", document, known)
    report: dict[str, list[str]] = {"written": [], "missing": []}
    for spec in plan.tables:
        if documents and spec.document not in documents:
            continue
        name = f"{spec.document}: {spec.table}"
        absent = [plan.sources[s] for s in spec.sources if not plan.sources[s].file.is_file()]
        if absent:
            report["missing"] += [f"{name}: {source.command}" for source in absent]
            continue
        path = root / spec.document
        text = filled(path.read_text(encoding="utf-8"), spec.table, render(spec, plan.sources))
        write_text(path, text)
        report["written"].append(name)
    return report


def main(argv: Sequence[str] | None = None) -> int:
    """Write tables or print commands; returns the exit status."""
    parser = plain_parser("python -m recipes.release.tables", __doc__)
    parser.add_argument("words", nargs="*", metavar="DOCUMENT|key=value")
    parser.add_argument("--commands", action="store_true", help="print what makes the figures")
    parser.add_argument("--root", type=Path, default=Path(), help="folder of the documents")
    parser.add_argument("--tables", type=Path, default=CONFIG, help="list of tables, YAML")
    arguments = parser.parse_intermixed_args(argv)
    return exit_status(lambda: _work(arguments), debug=arguments.debug)


def _work(arguments: argparse.Namespace) -> int:
    settings, documents = dict(SETTINGS), []
    for word in arguments.words:
        key, sign, value = word.partition("=")
        if sign:
            one_of("setting", key, SETTINGS)
            settings[key] = value
        else:
            documents.append(word)
    plan = read_plan(arguments.tables, settings)
    if arguments.commands:
        wanted = [s for s in plan.tables if not documents or s.document in documents]
        names = dict.fromkeys(name for spec in wanted for name in spec.sources)
        print("\n".join(dict.fromkeys(plan.sources[name].command for name in names)))
        return DONE
    report = write_tables(plan, documents, arguments.root)
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        for name in report["written"]:
            print(f"written  {name}")
        for name in report["missing"]:
            print(f"missing  {name}")
    return FAILED if report["missing"] else DONE


if __name__ == "__main__":
    raise SystemExit(main())

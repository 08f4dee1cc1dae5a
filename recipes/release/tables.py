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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from codec.checks import one_of, require
from codec.command_line import DONE, FAILED, exit_status
from codec.files import write_text
from codec.files.reading import read_file
from recipes.runner.cli import plain_parser

from .model_cards import filled
from .table_kinds import KINDS, Source, TableSpec, render

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "tables.yaml"
SETTINGS = {"runs": "runs/release", "corpus": "../shared/speech"}


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
    found = yaml.safe_load(read_file(path).decode("utf-8"))
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
        text = filled(read_file(path).decode("utf-8"), spec.table, render(spec, plan.sources))
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

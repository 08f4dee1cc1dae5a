"""`hh-eval slm`: likelihood tests of a language model from a score file."""

import argparse
import json
from pathlib import Path
from typing import Any

from eval.files import json_text, write_whole
from eval.likelihood_tests.judge import (
    LOCAL_SECONDS,
    LikelihoodPair,
    pair_accuracies,
    read_pairs,
    read_scores,
    write_pairs,
)
from eval.likelihood_tests.published import SUITES
from eval.reporting.generation import likelihood_report
from eval.reporting.line_chart import number_text
from eval.reporting.report import write_report

from .options import Commands, add_command, provenance

EXAMPLES = """examples:
  hh-eval slm pairs/pairs.jsonl --scores pairs/scores.jsonl --out scores/slm
  hh-eval slm salmon/ --suite salmon --scores salmon.jsonl
  hh-eval slm sWUGGY/lexical --suite swuggy --write-pairs swuggy.jsonl
"""


def add(commands: Commands) -> None:
    """Adds the command."""
    command = add_command(
        commands,
        "slm",
        run,
        summary="likelihood tests: how often the better recording is found likelier",
        description="PAIRS is a pair manifest, or with --suite the folder of a published test. "
        'FILE holds JSON lines {"path", "log_likelihoods": [nats a token], "seconds"}, as '
        "recipes.comparisons.likelihood_tests writes it. Exits with 1 when a recording has no "
        "score.",
        examples=EXAMPLES,
    )
    command.add_argument("pairs", type=Path, metavar="PAIRS", help="pair manifest or folder")
    command.add_argument("--suite", choices=sorted(SUITES), help="layout of the folder PAIRS")
    command.add_argument("--scores", type=Path, metavar="FILE", help="log-likelihoods by path")
    command.add_argument(
        "--write-pairs", type=Path, metavar="FILE", help="write the pairs as a manifest, and end"
    )
    command.add_argument("--out", type=Path, help="results (default: FILE with .eval added)")
    command.add_argument(
        "--local-seconds",
        type=float,
        default=LOCAL_SECONDS,
        help=f"reach of the rule 'local' after the change (default: {LOCAL_SECONDS:g})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Judges the pairs and writes likelihood.json and the report."""
    pairs = _pairs(arguments)
    if arguments.write_pairs is not None:
        write_pairs(arguments.write_pairs, pairs)
        done = {"pairs": str(arguments.write_pairs), "count": len(pairs)}
        print(json.dumps(done) if arguments.json else f"{len(pairs)} {arguments.write_pairs}")
        return 0
    if arguments.scores is None:
        raise ValueError("expected --scores FILE, or --write-pairs FILE to list what to score")
    if not arguments.local_seconds > 0:
        raise ValueError(f"expected local seconds above 0, got {arguments.local_seconds}")
    scores, reasons = read_scores(arguments.scores)
    result = pair_accuracies(pairs, scores, reasons, local_seconds=arguments.local_seconds)
    out = arguments.out or arguments.scores.with_name(arguments.scores.name + ".eval")
    write_whole(out / "likelihood.json", json_text(result))
    page = write_report(likelihood_report(result, provenance=provenance()), out / "report.html")
    _print(result, page, as_json=arguments.json)
    return 1 if result["failures"] else 0


def _pairs(arguments: argparse.Namespace) -> list[LikelihoodPair]:
    """Pairs of a manifest or of a published folder."""
    if arguments.suite is not None:
        return SUITES[arguments.suite](arguments.pairs)
    return read_pairs(arguments.pairs)


def _print(result: dict[str, Any], page: Path, *, as_json: bool) -> None:
    """Accuracies and where the report is, on standard output."""
    if as_json:
        shown = {key: value for key, value in result.items() if key != "margins"}
        print(json.dumps({**shown, "report": str(page)}, allow_nan=False))
        return
    for suite, parts in result["suites"].items():
        for part, rules in parts.items():
            for rule, found in rules.items():
                ends = ", ".join(number_text(found[end], unit="%") for end in ("low", "high"))
                share = number_text(found["share"], unit="%")
                counts = f"{found['pairs']} pairs, {found['ties']} ties"
                print(f"{suite:22} {part:18} {rule:7} {share:>8} [{ends}] {counts}")
    if result["failures"]:
        print(f"{len(result['failures'])} of {result['n_expected']} pairs failed")
    print(page)

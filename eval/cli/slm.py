"""`hh-eval slm`: likelihood tests of a language model from a score file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from codec.command_line import Commands, add_command, number, print_report
from codec.files import write_json
from codec.provenance import provenance
from eval.likelihood_tests.judge import LOCAL_SECONDS, pair_accuracies
from eval.likelihood_tests.pairs import LikelihoodPair, read_pairs, write_pairs
from eval.likelihood_tests.published import SUITES
from eval.likelihood_tests.score_file import read_scores
from eval.reporting.generation import likelihood_report
from eval.reporting.report import write_report
from eval.scoring.summary import number_text

EXAMPLES = """examples:
  hh-eval slm pairs/pairs.jsonl --scores pairs/scores.jsonl --out scores/slm
  hh-eval slm salmon/ --suite salmon --scores salmon.jsonl
  hh-eval slm sWUGGY/lexical --suite swuggy --write-pairs swuggy.jsonl
"""


def add(commands: Commands) -> None:
    """Add the command."""
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
        type=number(above=0),
        default=LOCAL_SECONDS,
        help="reach of the rule 'local' after the change",
    )


def run(arguments: argparse.Namespace) -> int:
    """Compare the pairs and write likelihood.json and the report."""
    pairs = _pairs(arguments)
    if arguments.write_pairs is not None:
        write_pairs(arguments.write_pairs, pairs)
        done = {"pairs": str(arguments.write_pairs), "count": len(pairs)}
        if arguments.json:
            print_report(done, as_json=True)
        else:
            print(len(pairs), arguments.write_pairs)
        return 0
    if arguments.scores is None:
        raise ValueError("expected --scores FILE, or --write-pairs FILE to list what to score")
    scores, reasons = read_scores(arguments.scores)
    result = pair_accuracies(pairs, scores, reasons, local_seconds=arguments.local_seconds)
    out = arguments.out or arguments.scores.with_name(arguments.scores.name + ".eval")
    write_json(out / "likelihood.json", result)
    report = likelihood_report(result, provenance=provenance("hh-eval"))
    page = write_report(report, out / "report.html")
    _print(result, page, as_json=arguments.json)
    return 1 if result["failures"] else 0


def _pairs(arguments: argparse.Namespace) -> list[LikelihoodPair]:
    """Read the pairs of a manifest or of a published test."""
    if arguments.suite is not None:
        return SUITES[arguments.suite](arguments.pairs)
    return read_pairs(arguments.pairs)


def _print(result: dict[str, Any], page: Path, *, as_json: bool) -> None:
    """Print accuracies and the path of the report."""
    if as_json:
        # Margins of every pair would fill the screen; likelihood.json has them.
        shown = {key: value for key, value in result.items() if key != "margins"}
        print_report({**shown, "report": str(page)}, as_json=True)
        return
    for suite, parts in result["suites"].items():
        for part, rules in parts.items():
            for rule, found in rules.items():
                ends = ", ".join(number_text(found[end], unit="%") for end in ("low", "high"))
                share = number_text(found["share"], unit="%")
                counts = f"{found['pairs']} pairs of {found['groups']} groups, {found['ties']} ties"
                print(f"{suite:22} {part:18} {rule:7} {share:>8} [{ends}] {counts}")
    if result["failures"]:
        print(f"{len(result['failures'])} of {result['n_expected']} pairs failed")
    print(page)

"""`hh-eval doctor`: list every metric and whether it can run here."""

from __future__ import annotations

import argparse
from typing import Any

from codec.command_line import Commands, add_command, print_report
from codec.error_text import message_of
from eval.metrics.readiness import installed_packages, obstacles, status, used_weights
from eval.metrics.registry import all_metrics, use_named_weights


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "doctor",
        run,
        summary="list every metric and whether it can run here",
        examples="examples:\n  hh-eval doctor --json\n"
        "  hh-eval doctor --weight utmos22_strong=utmos22_strong_step7459_v1.pt",
    )
    command.add_argument(
        "--weight", action="append", default=[], metavar="NAME=PATH", help="path of model weights"
    )


def run(arguments: argparse.Namespace) -> int:
    """List metrics with their back ends, a broken one of another package included."""
    use_named_weights(arguments.weight)
    rows: dict[str, dict[str, Any]] = {}
    for name, factory in all_metrics().items():
        try:
            metric = factory()
        except Exception as error:
            # Whatever another package raises, the others are listed all the same.
            rows[name] = {
                "id": name,
                "status": "broken",
                "obstacles": [f"{type(error).__name__}: {message_of(error)}"],
            }
            continue
        rows[name] = {
            "id": metric.info.id,
            "status": status(metric),
            "obstacles": obstacles(metric),
            "packages": installed_packages(metric),
            "weights": used_weights(metric),
            "definition": metric.info.definition,
        }
    if arguments.json:
        print_report({"metrics": rows}, as_json=True)
        return 0
    for name, row in rows.items():
        print(f"{name:20} {row['status']:16} {row['id']}")
        for reason in row["obstacles"]:
            print(f"{'':20} {reason}")
    return 0

"""Threads of commands while they wait."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "1000 None"),
        ({"GOMP_SPINCOUNT": "5"}, "5 None"),
        ({"OMP_WAIT_POLICY": "active"}, "None active"),
    ],
)
def test_threads_of_a_command_sleep_while_they_wait_unless_the_user_chose(given, expected):
    """Spinning takes the processor from the thread that is waited for."""
    code = """
import os, sys
from codec.command_line import run_command_line

class Shown:
    def add(commands):
        commands.add_parser("show").set_defaults(run=Shown.run)

    def run(arguments):
        names = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"
        print(*map(os.environ.get, names), "torch" in sys.modules)
        return 0

run_command_line("of-the-test", [Shown], ["show"], description="", examples="")
"""
    kept = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=kept | given, check=True
    )
    assert done.stdout.strip() == f"{expected} False"

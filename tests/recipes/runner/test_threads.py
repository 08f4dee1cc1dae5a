"""Threads of the stages while they wait."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "1000 None"), ({"OMP_WAIT_POLICY": "active"}, "None active")]
)
def test_threads_of_a_stage_sleep_while_they_wait_unless_the_user_chose(given, expected):
    """Beside other work, spinning slows a step of training by two threads to a half and less."""
    code = """
import os, sys
import recipes
print(*map(os.environ.get, ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")), "torch" in sys.modules)
"""
    kept = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=kept | given, check=True
    )
    assert done.stdout.strip() == f"{expected} False"

"""Commands whose standard error is full."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_a_full_stderr_leaves_the_status_of_an_error() -> None:
    """Its message cannot be told, which is no error of its own."""
    code = (
        "import sys\nfrom codec.command_line import exit_status\n"
        "def work():\n    raise ValueError('wrong')\n"
        "sys.exit(exit_status(work))"
    )
    with open("/dev/full", "w") as full:
        assert (
            subprocess.run([sys.executable, "-c", code], stderr=full, check=False).returncode == 2
        )

import argparse
import json
import subprocess
import sys

import pytest

from codec.command_line import add_command, exit_status, print_report, run_command_line
from codec.version import __version__


class Count:
    """A command that counts, or fails as it is told."""

    @staticmethod
    def add(commands):
        command = add_command(
            commands, "count", Count.run, summary="count to N", examples="example:\n  tool count 3"
        )
        command.add_argument("number", type=int)
        command.add_argument("--step", type=int, default=2, help="between numbers")
        command.add_argument("--name", help="of the count")

    @staticmethod
    def run(arguments: argparse.Namespace) -> int:
        if arguments.number == 13:
            raise ValueError("expected a number that is not 13, got 13")
        if arguments.number == 0:
            raise OSError("no space left")
        print_report({"number": arguments.number}, as_json=arguments.json)
        return 1 if arguments.number < 0 else 0


def call(*words: str) -> int:
    return run_command_line("tool", [Count], words, description="Counts.", examples="tool count 3")


def test_statuses_tell_success_failed_work_and_wrong_calls_apart(capsys):
    assert call("count", "3") == 0
    assert call("count", "--", "-3") == 1
    assert call("count", "0") == 1
    assert call("count", "13") == 2
    shown = capsys.readouterr()
    assert shown.err == "error: no space left\nerror: expected a number that is not 13, got 13\n"
    with pytest.raises(SystemExit) as wrong:
        call("count")
    assert wrong.value.code == 2


def test_help_shows_defaults_and_examples(capsys):
    with pytest.raises(SystemExit):
        call("count", "--help")
    shown = capsys.readouterr().out
    assert "between numbers (default: 2)" in shown
    assert "of the count\n" in shown
    assert "example:\n  tool count 3" in shown


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as done:
        call("--version")
    assert done.value.code == 0
    assert capsys.readouterr().out == f"tool {__version__}\n"


def test_an_interrupt_is_no_traceback(capsys):
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert exit_status(interrupted) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_debug_lets_errors_through():
    def wrong() -> int:
        raise ValueError("expected more, got less")

    with pytest.raises(ValueError, match="expected more"):
        exit_status(wrong, debug=True)


def test_reports_are_tables_or_json(capsys):
    report = {"codes": 12345, "rates": {"bits": 304.6875}, "text": "héé", "none": None}
    print_report(report, as_json=False)
    assert capsys.readouterr().out.split("\n")[:5] == [
        "codes  12,345",
        "rates",
        "  bits  304.6875",
        "text   héé",
        "none   -",
    ]
    print_report(report, as_json=True)
    assert json.loads(capsys.readouterr().out) == report


def test_a_reader_that_closes_its_end_is_no_error(tmp_path):
    code = (
        "import sys\nfrom codec.command_line import exit_status\n"
        "def work():\n    for _ in range(100000):\n        print('line')\n    return 0\n"
        "sys.exit(exit_status(work))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1

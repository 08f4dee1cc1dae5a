import argparse
import gc
import json
import os
import subprocess
import sys

import pytest

from codec.command_line import (
    add_command,
    exit_status,
    number,
    print_report,
    run_command_line,
    whole_number,
    without_collection,
)
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


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "x", "", "-1", "0"])
def test_an_option_takes_no_number_outside_of_its_range(text: str) -> None:
    for kind in (whole_number(1), number(above=0)):
        with pytest.raises(
            argparse.ArgumentTypeError, match=f"expected .* > ?=? ?[01], got '?{text}"
        ):
            kind(text)


def test_an_option_takes_the_numbers_of_its_range() -> None:
    assert whole_number(0, 5)("4") == 4
    assert (number()("-1e3"), number(0)("0"), number(above=0)("0.5")) == (-1000.0, 0.0, 0.5)
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number >= 0 and < 5"):
        whole_number(0, 5)("5")


def test_a_name_that_is_not_utf_8_is_printed_with_escapes(
    capfd: pytest.CaptureFixture[str],
) -> None:
    name = os.fsdecode(b"\xff.wav")
    print_report({"input": name, "scores": {name: {"codes": 3}}}, as_json=False)
    out = capfd.readouterr().out
    assert out.count(r"\udcff.wav") == 2
    print_report({"input": name}, as_json=True)
    assert json.loads(capfd.readouterr().out) == {"input": name}


def test_garbage_is_looked_for_again_after_loading_and_nothing_stays_out_of_it() -> None:
    frozen = gc.get_freeze_count()
    with without_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen

import argparse
import gc
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codec.command_line import (
    HelpFormatter,
    add_command,
    exit_status,
    name_list,
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


def test_help_shows_a_default_of_0_and_none_of_a_switch():
    parser = argparse.ArgumentParser(formatter_class=HelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--share", type=float, default=0.0, help="of all")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    parser.add_argument("--name", default="", help="of the run")
    shown = parser.format_help()
    assert "of the draws (default: 0)" in shown
    assert "of all (default: 0.0)" in shown
    assert "print nothing\n" in shown
    assert shown.rstrip().endswith("of the run")


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


@pytest.mark.parametrize("as_json", [True, False])
def test_a_name_that_the_terminal_has_no_letters_for_is_escaped(
    as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))

    def work() -> int:
        print_report({"input": "ü.wav", "n": 3}, as_json=as_json)
        return 0

    assert exit_status(work) == 0
    text = written.getvalue().decode("ascii")
    if as_json:
        assert json.loads(text) == {"input": "ü.wav", "n": 3}
    else:
        assert r"\xfc.wav" in text


def test_garbage_is_looked_for_again_after_loading_and_nothing_stays_out_of_it() -> None:
    frozen = gc.get_freeze_count()
    with without_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    # Fewer where a thread of another test frees what was frozen before.
    assert gc.get_freeze_count() <= frozen


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_an_output_that_is_full_is_an_error_and_one_that_is_closed_is_none() -> None:
    code = (
        "import sys\nfrom codec.command_line import exit_status\n"
        "sys.exit(exit_status(lambda: print('line') or 0))"
    )

    def run(redirection: str) -> tuple[int, str]:
        words = ["sh", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, code]
        done = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stderr

    assert run("> /dev/full") == (1, "error: No space left on device\n")
    assert run(">&-") == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="needs a shell of POSIX")
def test_a_process_without_streams_writes_into_no_file_of_its_own(tmp_path: Path) -> None:
    """A file took the number of stderr, and what was said there; errors went to stdout."""
    code = (
        "import os, sys\nfrom codec.command_line import exit_status\n"
        "def work():\n"
        "    with open(sys.argv[1], 'w') as file:\n"
        "        os.write(2, b'of a library')\n"
        "        file.write('data')\n"
        "    raise ValueError('wrong')\n"
        "sys.exit(exit_status(work))"
    )
    path = tmp_path / "data"
    words = ["sh", "-c", 'exec "$0" -c "$1" "$2" <&- 2>&-', sys.executable, code, str(path)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout, path.read_text()) == (2, "", "data")


def test_an_empty_list_of_names_is_refused() -> None:
    assert name_list("a, b,") == ["a", "b"]
    for text in ("", " ", ","):
        with pytest.raises(argparse.ArgumentTypeError, match="expected names"):
            name_list(text)


def test_errors_of_the_system_name_the_file_and_no_number(tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "two words").mkdir()

    def refused(work):
        assert exit_status(work) == 1
        return capsys.readouterr().err

    missing = tmp_path / "gone"
    assert refused(missing.read_bytes) == f"error: {missing}: No such file or directory\n"
    assert refused((tmp_path / "file").mkdir) == f"error: {tmp_path / 'file'}: File exists\n"
    other = tmp_path / "other"
    both = f"error: {missing}: {other}: No such file or directory\n"
    assert refused(lambda: missing.rename(other)) == both

    def refuse():
        raise OSError("expected an open standard input, got a closed one")

    assert refused(refuse) == "error: expected an open standard input, got a closed one\n"


def test_an_option_that_is_misspelt_is_told_with_the_one_that_is_meant(capsys):
    class Spoken:
        def add(self, commands):
            add_command(commands, "speak", lambda _: 0, summary="speak").add_argument("--seed")

    call = {"description": "", "examples": ""}
    for words, said in (
        (["--sed", "1"], "unrecognized arguments: --sed 1 (did you mean --seed?)"),
        (["--sead=1"], "unrecognized arguments: --sead=1 (did you mean --seed?)"),
        (["--zzz"], "unrecognized arguments: --zzz\n"),
        (["more"], "unrecognized arguments: more\n"),
    ):
        with pytest.raises(SystemExit) as ended:
            run_command_line("program", [Spoken()], ["speak", *words], **call)
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert said in error
        assert "usage: program speak" in error

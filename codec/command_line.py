"""The command line that `hh-codec`, `hh-slm` and `hh-eval` share.

A command is a module with `add(commands)`, which adds its parser by `add_command`, and
`run(arguments)`, which imports what it needs when it is called: help and mistyped options must not
wait for torch. Exit statuses are the same everywhere: 0 for success, 1 when work failed or some of
it could not be done, 2 for a call that was wrong.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import math
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import Any, NoReturn, Protocol

from codec.files.json_text import json_text

from .error_text import message_of, printable
from .runtime.openmp import sleep_while_waiting
from .signals import Ended, heeded_signals
from .standard_streams import drop_output, escape_in_output, open_streams
from .version import __version__

# What `ArgumentParser.add_subparsers` returns; argparse has no public name for it.
Commands = Any

DONE, FAILED, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130
_others = {"froze": False}  # kept once it is found: what is frozen is counted one by one


class Command(Protocol):
    """A module that adds one command."""

    def add(self, commands: Commands, /) -> None:
        """Add the command's parser."""
        ...


class HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Text of descriptions as it is written, and the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        # a switch has no default worth a line, and some options describe theirs in words
        given = action.default
        # 0 equals False, and is a default like any other
        silent = given is None or given is False or given in ("", [])
        if silent or "default" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


class ShowVersion(argparse.Action):
    """An option that prints the program's name and the toolkit's version."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        text = "show the version and exit"
        super().__init__(option_strings, dest, **{**options, "nargs": 0, "help": text})

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Print it on stdout and end with status 0."""
        print(f"{parser.prog} {__version__}")
        parser.exit()


def whole_number(least: int, below: int | None = None) -> Callable[[str], int]:
    """A type for `add_argument`: a whole number of at least so much."""
    bounds = f"a whole number >= {least}" + ("" if below is None else f" and < {below}")

    def parsed(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {bounds}, got {text!r}") from None
        if value < least or (below is not None and value >= below):
            raise argparse.ArgumentTypeError(f"expected {bounds}, got {text}")
        return value

    return parsed


def number(
    least: float | None = None, *, above: float | None = None, most: float = math.inf
) -> Callable[[str], float]:
    """A type for `add_argument`: a finite number, at least or above so much, at most so much."""
    bounds = "a finite number"
    bounds += f" >= {least:g}" if least is not None else ""
    bounds += f" > {above:g}" if above is not None else ""
    bounds += f" and <= {most:g}" if most < math.inf else ""

    def parsed(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        fits = math.isfinite(value) and (least is None or value >= least)
        if not fits or value > most or (above is not None and value <= above):
            raise argparse.ArgumentTypeError(f"expected {bounds}, got {text!r}")
        return value

    return parsed


def name_list(text: str) -> list[str]:
    """A type for `add_argument`: names, parted by commas; an empty text names nothing."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError(f"expected names, parted by commas, got {text!r}")
    return names


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    description: str | None = None,
    examples: str = "",
) -> argparse.ArgumentParser:
    """Add a command with `--json`.

    Args:
        commands: what `add` was given.
        name: of the command.
        run: gets the parsed arguments and returns the exit status.
        summary: one line for the list of commands.
        description: above the options; None for the summary.
        examples: below the options.
    """
    command = commands.add_parser(
        name,
        help=summary,
        description=description or summary,
        epilog=examples,
        formatter_class=HelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=run)
    return command


def run_command_line(
    program: str,
    commands: Sequence[Command],
    argv: Sequence[str] | None = None,
    *,
    description: str,
    examples: str,
) -> int:
    """Parse a call and run its command.

    Args:
        program: name of the console script.
        commands: modules, in the order of the help.
        argv: the call's words; None for the process's.
        description: above the list of commands.
        examples: below it.

    Returns:
        Exit status.
    """
    parser = argparse.ArgumentParser(
        program, description=description, epilog=examples, formatter_class=HelpFormatter
    )
    parser.add_argument("--version", action=ShowVersion)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for command in commands:
        command.add(subparsers)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        _refuse_unknown(subparsers.choices[arguments.command], unknown)
    sleep_while_waiting()  # before a command loads torch
    return exit_status(lambda: arguments.run(arguments))


def _refuse_unknown(command: argparse.ArgumentParser, unknown: Sequence[str]) -> NoReturn:
    """End the process with the usage of the command, and the options that may have been meant."""
    known = [text for action in command._actions for text in action.option_strings]
    options = [word.split("=")[0] for word in unknown if word.startswith("--")]
    meant = [get_close_matches(option, known, 1) for option in options]
    hint = " ".join(name for names in meant for name in names)
    asked = f" (did you mean {hint}?)" if hint else ""
    command.error(f"unrecognized arguments: {' '.join(unknown)}{asked}")


@contextmanager
def without_collection() -> Iterator[None]:
    """A context in which no garbage is looked for, as while packages and models are loaded.

    What they make stays: to look through it, again and again, right after or at the end of the
    process, is a fifth of the time that torch takes to load.
    """
    was_on = gc.isenabled()
    gc.disable()
    atexit.unregister(gc.freeze)  # once, however often this is entered
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        if was_on:
            _others["froze"] = _others["froze"] or gc.get_freeze_count() > 0
            if not _others["froze"]:  # else what others froze would thaw
                # To and fro: now all counts as old, as after a collection that found nothing.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def exit_status(work: Callable[[], int], *, debug: bool = False, again: str = "") -> int:
    """Do some work and turn its errors into one line on stderr and an exit status.

    Args:
        work: returns an exit status of its own.
        debug: let errors through, with their traceback.
        again: command that goes on with the work after an interrupt, for the message.

    Returns:
        The work's status, 2 for a ValueError, 1 for an OSError, 130 for an interrupt, 143 after
        SIGTERM and 129 after SIGHUP, 1 without a word when whoever read stdout has closed it.
    """
    open_streams()
    escape_in_output()
    with heeded_signals() as came:
        try:
            status = work()
            if sys.stdout is not None:  # closed before the start, nothing is printed
                sys.stdout.flush()
            if came:  # a library has taken it for a wish to stop
                raise Ended(f"ended by {signal.Signals(came[0]).name}")
            return status
        except BrokenPipeError:
            drop_output()
            return FAILED
        except KeyboardInterrupt as error:
            # where it was, if that was said
            where = str(error) or "interrupted"
            with suppress(OSError):  # the terminal may be gone
                message = f"error: {where}" + (f"; go on with: {again}" if again else "")
                print(message, file=sys.stderr)
            return 128 + came[0] if came else INTERRUPTED
        except (ValueError, OSError) as error:
            if debug:
                raise
            with suppress(OSError):  # what stderr goes to may be full, too
                print(f"error: {message_of(error)}", file=sys.stderr)
            try:
                if sys.stdout is not None:
                    sys.stdout.flush()
            except OSError:  # its disk is full
                drop_output()
            if came:  # a command that this one called has told it
                return 128 + came[0]
            return WRONG_CALL if isinstance(error, ValueError) else FAILED


def print_report(report: Mapping[str, Any], *, as_json: bool) -> None:
    """Print figures on stdout, as one JSON object or as a table of names and values."""
    if as_json:
        text = json_text(report, indent=None)
        try:
            text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
        except UnicodeEncodeError:  # JSON has escapes of its own
            text = json.dumps(json.loads(text)) + "\n"
        print(text, end="")
    else:
        _print_table(report)


def _print_table(report: Mapping[str, Any], indent: str = "") -> None:
    """Names and values in two columns, nested ones indented."""
    width = max(map(len, report), default=0)
    for name, value in report.items():
        name = printable(name)
        if isinstance(value, Mapping):
            print(f"{indent}{name}")
            _print_table(value, indent + "  ")
        else:
            print(f"{indent}{name:<{width}}  {_text(value)}")


def _text(value: Any) -> str:
    """A figure for people: thousands separated, seven digits of a fraction, - for none."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return printable(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:.7g}"

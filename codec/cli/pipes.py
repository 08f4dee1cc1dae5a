"""One recording, or its codes, from standard input or to standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codec.bitstream.convert import Converted, Pair
    from codec.model.hh_codec import HHCodec

PIPE = Path("-")


def convert_piped(codec: HHCodec, kind: str, given: Pair, suffix: str) -> Converted:
    """Convert one file where input, output or both are a pipe.

    Args:
        codec: In eval mode.
        kind: Key of `codec.bitstream.conversions.CONVERSIONS`.
        given: Input and output, of which one or both are `PIPE`.
        suffix: Of the form in which standard output gets it.

    Returns:
        The result; of a failure nothing is written.
    """
    from codec.bitstream.conversions import CONVERSIONS

    with TemporaryDirectory() as folder:
        # Both sides as files: formats are told by what a file holds, and sizes stand at its front.
        pair = given
        if given.source == PIPE:
            pair = replace(pair, source=Path(folder) / "input")
            pair.source.write_bytes(_binary(sys.stdin, "input").read())
        if given.target == PIPE:
            pair = replace(pair, target=Path(folder) / f"output{suffix}")
        result = CONVERSIONS[kind](codec, [pair])[0]
        if given.target == PIPE and result.error is None:
            _send(pair)
    return result


def _send(pair: Pair) -> None:
    """Write what was made to standard output."""
    out = _binary(sys.stdout, "output")
    out.write(pair.target.read_bytes())
    out.flush()


def _binary(stream: Any, name: str) -> IO[bytes]:
    """The bytes below a stream of text, which Python does not have where it was started closed."""
    if stream is None:
        raise OSError(f"expected an open standard {name}, got a closed one")
    return stream.buffer


@contextmanager
def reporting_beside(target: Path) -> Iterator[None]:
    """Print on standard error where standard output holds the data."""
    if target != PIPE:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield

"""Values of the command line: what they may be, said before anything is loaded."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

SOUNDS = (".wav", ".flac")
SEEDS = 1 << 63  # 0 up to here


class Incomplete(Exception):
    """Some of what was asked for could not be done; the report says what."""

    def __init__(self, report: dict[str, object]) -> None:
        super().__init__("some of what was asked for could not be done")
        self.report = report


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


def seconds(text: str) -> float:
    """A type for `add_argument`: a length in time above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected seconds > 0, got {text!r}")
    return value


def check_sound(path: str) -> None:
    """Raise `ValueError` for what cannot be the name of a sound file to be written."""
    place = Path(path)
    if place.suffix.lower() not in SOUNDS:
        raise ValueError(f"expected --out to end in {' or '.join(SOUNDS)}, got {path!r}")
    if place.is_dir():
        raise ValueError(f"expected --out to name a file, got the folder {path!r}")


def check_folder(path: str) -> None:
    """Raise `ValueError` for what cannot be a folder to be written to."""
    if Path(path).exists() and not Path(path).is_dir():
        raise ValueError(f"expected --out to name a folder with --file, got the file {path!r}")

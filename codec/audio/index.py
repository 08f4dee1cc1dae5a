"""Index of a corpus: length, sample rate and level of each file, measured once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codec.error_text import reason_of
from codec.files.json_lines import appending, cut_torn_line, read_lines
from codec.files.locations import file_of

from .io import AudioError, audio_info, audio_level

THREADS = 8


@dataclass(frozen=True)
class Measurement:
    """Measurement of one file.

    Attributes:
        num_bytes: Size of the file, or of the tar that it lies in.
        modified: Time of its last change, ns.
        num_samples: At the file's own rate.
        sample_rate: The file's own, Hz.
        rms: Level as mono (`audio_level`), full scale = 1; None when only the header was read.
        peak: As rms.
    """

    num_bytes: int
    modified: int
    num_samples: int
    sample_rate: int
    rms: float | None = None
    peak: float | None = None


def measure_files(
    paths: Sequence[Path], *, levels: bool, index: Path | None = None
) -> list[Measurement | AudioError]:
    """Measure files, several at a time; those that an index knows unchanged are not touched.

    Args:
        paths: The files.
        levels: Whether to read the files through for their level, not their headers alone.
        index: JSON lines that measurements are looked up in and added to; a run that is cut off
            goes on from there.

    Returns:
        For every path, in order, its measurement or what is wrong with it.
    """
    known = _load(index)

    # In threads: libsndfile runs beside Python.
    def measured(path: Path) -> Measurement | AudioError:
        try:
            return _measure(path, levels, known.get(os.path.abspath(path)))
        except AudioError as error:
            return error
        except OSError as error:
            return AudioError(f"{path}: {reason_of(error, path)}")

    found: list[Measurement | AudioError] = []
    with nullcontext() if index is None else appending(index) as append:
        for path, result in zip(paths, _in_threads(measured, paths, levels), strict=True):
            found.append(result)
            name = os.path.abspath(path)
            is_new = isinstance(result, Measurement) and result is not known.get(name)
            if append is not None and is_new:
                append({"audio": name, **asdict(result)})
    return found


def _measure(path: Path, levels: bool, known: Measurement | None) -> Measurement:
    """A file's measurement; the known one while file and wanted figures are the same."""
    file = file_of(path)
    if not file.is_file():
        raise AudioError(f"{path}: no such audio file")
    # a changed file, or the tar that it lies in, has another size or time
    state = file.stat()
    if (
        known is not None
        and (known.num_bytes, known.modified) == (state.st_size, state.st_mtime_ns)
        and (known.rms is not None or not levels)
    ):
        return known
    num_samples, sample_rate = audio_info(path)
    if num_samples == 0:
        raise AudioError(f"{path}: no samples in it")
    level = audio_level(path) if levels else (None, None)
    return Measurement(state.st_size, state.st_mtime_ns, num_samples, sample_rate, *level)


def _in_threads(
    function: Callable[[Path], Any], paths: Sequence[Path], slow: bool
) -> Iterator[Any]:
    """Results in order, with a bar when whole files are read; libsndfile runs beside Python."""
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        results = pool.map(function, paths)
        yield from tqdm(results, "levels", len(paths), disable=not slow, mininterval=5, delay=5)


def _load(index: Path | None) -> dict[str, Measurement]:
    """Measurements by path; the last of several holds, a line cut short does not count."""
    known: dict[str, Measurement] = {}
    if index is None or not index.is_file():
        return known
    cut_torn_line(index)
    for _, line in read_lines(index):
        try:
            row = json.loads(line)
            path = row.pop("audio")
            known[path] = Measurement(**row)
        # older versions ended a torn line and went on, so one may stand in the middle
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return known

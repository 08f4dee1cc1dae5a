"""Sources of training crops: prepared stores, and folders of recordings read in parts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codec.error_text import message_of
from codec.files.json_lines import (
    append_json_line,
    iter_json_lines,
    keep_json_lines,
    read_json_lines,
)
from codec.files.names import data_files

from .index import Measurement, measure_files
from .io import RECORDINGS, AudioError, loudness_gain, read_samples, resampled_length

SUBSTITUTE, ATTEMPTS = 0x5AB5, 100


class SourceError(ValueError):
    """A corpus that cannot be trained on; the message names the files and the reason."""


class AudioSource(Protocol):
    """Clips that crops are cut from; `AudioStore` and `FolderSource` are two.

    Attributes:
        folder: For messages.
        sample_rate: Of every crop, Hz.
        rows: Fields of each clip, among them `num_samples` at `sample_rate`.
    """

    folder: Path
    sample_rate: int
    rows: list[dict[str, Any]]

    def __len__(self) -> int: ...

    def waveform(self, index: int) -> NDArray[np.float32]:
        """The whole clip, (num_samples,) float32; AudioError when it cannot be read."""
        ...

    def crop(self, index: int, start: int, num_samples: int, /) -> NDArray[np.float32]:
        """(num_samples,) float32 from sample `start` on, zero-padded past the clip's end."""
        ...


@dataclass(frozen=True)
class CropPlace:
    """Origin of a crop.

    Attributes:
        source: Number of the source.
        clip: Number of the clip in the source.
        start: First sample in the clip.
        taken: Samples of the clip, or of the silence after it, that the crop spans.
        length: Samples of the crop, after a change of speed, that are clip and not padding.
    """

    source: int
    clip: int
    start: int
    taken: int
    length: int


class FolderSource:
    """Recordings of any rate and format, of which only the wanted part is read.

    Every file's header is read at the start, with `loudness_dbfs` the whole file, and kept in
    `index`. A file that cannot be read, at the start or later, is listed, and a crop of it
    is replaced by one that depends on the wanted crop alone, whichever worker asks.

    Args:
        corpus: A manifest, JSON lines with `audio`, a path from the manifest's folder; or a
            folder, of which all recordings are taken, subfolders included, whatever manifest
            may lie there.
        sample_rate: Of the crops, Hz.
        loudness_dbfs: Level that every file as a whole is scaled to; None leaves them alone.
        select: Fields of the manifest and the values they must have, such as {"split": "train"}.
        index: File that keeps the measurements between runs; None measures every time.
        bad_files: JSON lines file of the run that lists the files that cannot be read; it is
            also what workers count them by. Without it each process counts for itself.
        max_bad_share: Files that may be unreadable, as a share of all.

    Raises:
        SourceError: No manifest or folder there, a folder whose rows should be selected, a row
            without `audio`, no recordings, or more than `max_bad_share` of them unreadable
            (from `crop` too).
    """

    def __init__(
        self,
        corpus: str | os.PathLike[str],
        sample_rate: int,
        loudness_dbfs: float | None = None,
        *,
        select: Mapping[str, Any] | None = None,
        index: Path | None = None,
        bad_files: Path | None = None,
        max_bad_share: float = 0.01,
    ) -> None:
        corpus = Path(corpus)
        self.folder = corpus if corpus.is_dir() else corpus.parent
        self.sample_rate = sample_rate
        self.loudness_dbfs = loudness_dbfs
        self.max_bad_share = max_bad_share
        # Else files of every split would be read as if they were those of one.
        if select and corpus.is_dir():
            raise SourceError(
                f"{corpus}: expected a manifest, whose rows have {', '.join(select)}, got a folder"
            )
        rows = _manifest(corpus, select or {}) if corpus.is_file() else _recordings(corpus)
        if not rows:
            raise SourceError(f"{corpus}: expected at least one recording, got none")
        self._listed = {row["audio"] for row in rows}
        self._bad: dict[str, str] = {}
        self._list = bad_files
        if bad_files is not None and bad_files.is_file():
            # All of this source is looked at again: drop what an earlier run listed of it.
            keep_json_lines(bad_files, lambda row: not self._is_mine(row))
        # Headers, or whole files for their level, before the first step asks for a crop.
        paths = [self.folder / row["audio"] for row in rows]
        found = measure_files(paths, levels=loudness_dbfs is not None, index=index)
        self.rows: list[dict[str, Any]] = []
        for row, measured in zip(rows, found, strict=True):
            if isinstance(measured, Measurement):
                self.rows.append({**row, **self._known(measured)})
            else:
                self._note_bad(row["audio"], str(measured), check=False)
        self._check_bad()
        # ends of the clips one after another: a point on this line is a clip, by its length
        self._ends = np.cumsum([row["num_samples"] for row in self.rows], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def bad_files(self) -> dict[str, str]:
        """Errors of the files that could not be read so far, those found by workers included."""
        if self._list is None or not self._list.is_file():
            return dict(self._bad)
        rows = read_json_lines(self._list, torn="drop")
        return {row["audio"]: row["error"] for row in rows if self._is_mine(row)}

    def waveform(self, index: int) -> NDArray[np.float32]:
        """The whole clip as (num_samples,) float32; AudioError when it cannot be read."""
        return self._read(index, 0, self.rows[index]["num_samples"])

    def crop(self, index: int, start: int, num_samples: int, /) -> NDArray[np.float32]:
        """(num_samples,) float32 of a clip from `start` on, zero-padded past its end.

        Raises:
            SourceError: The clip cannot be read, and with it too many are.
        """
        for attempt in range(ATTEMPTS):
            try:
                return self._read(index, start, num_samples)
            except (AudioError, OSError) as error:
                self._note_bad(self.rows[index]["audio"], message_of(error))
            # Another clip, drawn from the wanted crop alone: every worker takes the same.
            draw = np.random.default_rng((SUBSTITUTE, index, start, attempt))
            index = int(np.searchsorted(self._ends, draw.random() * self._ends[-1], "right"))
            spare = self.rows[index]["num_samples"] - num_samples
            start = int(draw.integers(0, spare + 1)) if spare > 0 else 0
        raise SourceError(f"{self.folder}: {ATTEMPTS} clips in a row cannot be read")

    def _read(self, index: int, start: int, num_samples: int) -> NDArray[np.float32]:
        row = self.rows[index]
        crop = np.zeros(num_samples, dtype=np.float32)
        if start < row["num_samples"]:
            part = read_samples(self.folder / row["audio"], self.sample_rate, start, num_samples)
            crop[: len(part)] = part * np.float32(row.get("gain", 1.0))
        return crop

    def _known(self, measured: Measurement) -> dict[str, Any]:
        """The fields that a measurement adds to a row."""
        length = resampled_length(measured.num_samples, measured.sample_rate, self.sample_rate)
        if self.loudness_dbfs is None or measured.rms is None or measured.peak is None:
            return {"num_samples": length}
        gain = loudness_gain(measured.rms, measured.peak, self.loudness_dbfs)
        return {"num_samples": length, "gain": gain}

    def _is_mine(self, bad: dict[str, str]) -> bool:
        """True if a line of the list is about this source: several may share one list."""
        return bad["folder"] == str(self.folder) and bad["audio"] in self._listed

    def _note_bad(self, name: str, error: str, *, check: bool = True) -> None:
        """List a file that cannot be read, once a process."""
        if name in self._bad:
            return
        self._bad[name] = error
        if self._list is not None:
            row = {"folder": str(self.folder), "audio": name, "error": error}
            append_json_line(self._list, row)  # whole, beside other workers' lines
        if check:  # not in the middle of the first reading, which counts at its end
            self._check_bad()

    def _check_bad(self) -> None:
        bad = self.bad_files
        if len(bad) > self.max_bad_share * len(self._listed):
            first = "; ".join(list(bad.values())[:3])
            listed = f", listed in {self._list}" if self._list is not None else ""
            raise SourceError(
                f"{self.folder}: {len(bad)} of {len(self._listed)} recordings cannot be read, "
                f"expected at most {100 * self.max_bad_share:g} %{listed}; {first}"
            )


def _recordings(folder: Path) -> list[dict[str, Any]]:
    """Every recording under a folder, in the order of their paths."""
    if not folder.is_dir():
        raise SourceError(f"{folder}: expected a manifest or a folder of recordings")
    paths = data_files(folder, RECORDINGS)
    names = [path.relative_to(folder).as_posix() for path in paths]
    return [{"id": name, "audio": name} for name in names]


def _manifest(path: Path, select: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The selected rows of a manifest."""
    rows: list[dict[str, Any]] = []
    for number, row in iter_json_lines(path, required=("audio",), error=SourceError):
        if not isinstance(row["audio"], str):
            raise SourceError(f"{path}:{number}: expected a path as audio, got {row['audio']!r}")
        if all(row.get(name) == value for name, value in select.items()):
            rows.append(row)
    return rows

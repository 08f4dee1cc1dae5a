"""Where the samples of a clip to encode are: in a prepared store, or in the corpus itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.audio.store import as_integers
from recipes.corpora.manifest import CorpusRow
from recipes.prepare import prepare_clip
from recipes.runner.schema import PrepareConfig


@dataclass(frozen=True, slots=True)
class Span:
    """Samples of a prepared store: [start, start + num_samples) of its file."""

    path: str
    start: int
    num_samples: int

    def read(self) -> NDArray[np.int16]:
        """(num_samples,) 16-bit samples.

        Raises:
            OSError: The file is missing.
            ValueError: It is shorter than that.
        """
        count, offset = self.num_samples, 2 * self.start
        samples = np.fromfile(self.path, dtype="<i2", count=count, offset=offset)
        if len(samples) != count:
            raise ValueError(f"{self.path}: expected {count} samples at {self.start}, got less")
        return samples

    def known(self, num_samples: int) -> dict[str, Any]:
        """Fields of the row that only reading tells: none."""
        return {}


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording of the corpus from a sample on, to be made what `prepare` would have made it."""

    row: CorpusRow
    settings: PrepareConfig
    shift: int = 0

    def read(self) -> NDArray[np.int16]:
        """(T,) 16-bit samples at `settings.sample_rate`.

        Raises:
            OSError: The file cannot be read at all.
            ValueError: It is not audio, or not what the manifest says.
        """
        clip = prepare_clip(self.row, self.settings)
        if clip.waveform is None:
            raise ValueError(clip.reason)
        if len(clip.waveform) <= self.shift:
            raise ValueError(f"{self.row.audio}: nothing left from sample {self.shift} on")
        return as_integers(clip.waveform)[self.shift :]

    def known(self, num_samples: int) -> dict[str, Any]:
        """Fields of the row that only reading tells: the duration, s."""
        return {"duration": round((num_samples + self.shift) / self.settings.sample_rate, 6)}

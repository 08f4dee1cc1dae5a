"""The clips that are to be encoded: where their samples are read, and their rows.

Clips of `train` may be encoded several times, from other samples on or at other speeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from codec.audio.pcm import as_integers, as_waveform
from codec.audio.store import SAMPLES, AudioStore
from recipes.corpora.manifest import CorpusRow
from recipes.corpora.preparation import prepare_clip, store_row
from recipes.runner.config import Config
from recipes.runner.schema import PrepareConfig


@dataclass(frozen=True, slots=True)
class Copies:
    """Number of times that clips are encoded once more, and which clips.

    Attributes:
        shifts: Samples; clips are encoded again from each of them on, as `<id>+<shift>` with the
            `shift` and the `base_id` in the row: other codes of the same voice.
        speeds: Factors; clips are encoded again played that many times as fast, at another pitch
            and with other formants, as `<id>@<speed>` of a speaker `<speaker>@<speed>`, with the
            `speed` and the `recorded_id` in the row: another voice (speed perturbation, Ko et al.,
            Interspeech 2015).
        select: Fields that a row must have to be encoded again.
    """

    shifts: Sequence[int] = ()
    speeds: Sequence[float] = ()
    select: Mapping[str, Any] = field(default_factory=dict)

    def of(self, row: Mapping[str, Any]) -> list[tuple[int, float]]:
        """List the shift and the speed of a clip itself and of its copies."""
        itself = [(0, 1.0)]
        if any(row.get(key) != value for key, value in self.select.items()):
            return itself
        return itself + [(shift, 1.0) for shift in self.shifts] + [(0, x) for x in self.speeds]


@dataclass(frozen=True, slots=True)
class Span:
    """Samples [start, start + num_samples) of a prepared store's file, played at `speed`."""

    path: str
    start: int
    num_samples: int
    speed: float = 1.0

    def read(self) -> NDArray[np.int16]:
        """Read (`sped_length`(num_samples, speed),) 16-bit samples.

        Raises:
            OSError: The file cannot be read at all.
            ValueError: It is too short, is not audio, or does not agree with the manifest.
        """
        count, offset = self.num_samples, 2 * self.start  # 2 bytes a sample
        samples = np.fromfile(self.path, dtype="<i2", count=count, offset=offset)
        if len(samples) != count:
            raise ValueError(f"{self.path}: expected {count} samples at {self.start}, got less")
        return at_speed(samples, self.speed)

    def known(self, num_samples: int) -> dict[str, Any]:
        """Return the fields of the row that are known after reading: none."""
        return {}


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording of the corpus from sample `shift` on, to be prepared as `prepare` does.

    It is played at `speed` after that.
    """

    row: CorpusRow
    settings: PrepareConfig
    shift: int = 0
    speed: float = 1.0

    def read(self) -> NDArray[np.int16]:
        """Read (T,) 16-bit samples at `settings.sample_rate`; raises as `Span.read`."""
        clip = prepare_clip(self.row, self.settings)
        if clip.waveform is None:
            raise ValueError(clip.reason)
        if len(clip.waveform) <= self.shift:
            raise ValueError(f"{self.row.audio}: nothing left from sample {self.shift} on")
        return at_speed(as_integers(clip.waveform)[self.shift :], self.speed)

    def known(self, num_samples: int) -> dict[str, Any]:
        """Return the fields of the row that are known after reading: the duration, s."""
        return {"duration": round((num_samples + self.shift) / self.settings.sample_rate, 6)}


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip to encode: its row in the token store, its samples, its number of codes.

    That number is exact for prepared clips; for recordings it follows from the duration that the
    manifest states.
    """

    row: dict[str, Any]
    source: Span | Recording
    num_codes: int


def prepared_clips(folder: Path, hop_length: int, copies: Copies) -> list[Clip]:
    """List the clips of a prepared split, in its order, each followed by its copies.

    Args:
        folder: Of the split's `AudioStore`.
        hop_length: Samples a code.
        copies: To encode beside the clips themselves.
    """
    store = AudioStore(folder)
    clips = []
    for row in store.rows:
        about = {key: value for key, value in row.items() if key not in ("start", "num_samples")}
        for shift, speed in copies.of(row):
            left = row["num_samples"] - shift
            if left > 0:
                span = Span(str((folder / SAMPLES).resolve()), row["start"] + shift, left, speed)
                played = sped_length(left, speed)
                codes = -(-played // hop_length)  # the last code may be of a part of a hop
                own = about | _copied(row, shift, speed, played / store.sample_rate)
                clips.append(Clip(own, span, codes))
    return clips


def recorded_clips(
    rows: Sequence[CorpusRow], config: Config, hop_length: int, copies: Copies
) -> list[Clip]:
    """List clips as `prepared_clips` does, of recordings without a prepared store."""
    rate = config.prepare.sample_rate
    clips = []
    for row in rows:
        # Reading tells the exact length; the plan must not depend on it.
        expected = max(1, round(row.duration * rate))
        about = store_row(row, expected, config)
        for shift, speed in copies.of(about):
            if (left := expected - shift) > 0:
                recording = Recording(row, config.prepare, shift, speed)
                played = sped_length(left, speed)
                own = about | _copied(about, shift, speed, played / rate)
                clips.append(Clip(own, recording, -(-played // hop_length)))
    return clips


def sped_length(num_samples: int, speed: float) -> int:
    """Count the samples of what lasted `num_samples` and is played `speed` times as fast."""
    return max(1, round(num_samples / speed))


def at_speed(samples: NDArray[np.int16], speed: float) -> NDArray[np.int16]:
    """Play samples (T,) `speed` times as fast, (`sped_length`(T, speed),), pitch and all."""
    if speed == 1:
        return samples
    wanted = sped_length(len(samples), speed)
    played = soxr.resample(as_waveform(samples), speed, 1.0, quality="VHQ")[:wanted]
    # The resampler may end a sample earlier than the length rounded.
    return as_integers(np.pad(played, (0, wanted - len(played))))


def _copied(row: Mapping[str, Any], shift: int, speed: float, duration: float) -> dict[str, Any]:
    """Fields in which a copy of `duration` s differs from the row of what it is a copy of."""
    name = row["id"]
    if shift:
        return {"id": f"{name}+{shift}", "base_id": name, "shift": shift}
    if speed == 1:
        return {}
    found = {"id": f"{name}@{speed}", "recorded_id": name, "speed": speed}
    found["duration"] = round(duration, 6)
    # Another pitch and other formants: a prompt of the recorded voice would be a stranger's.
    return found | ({"speaker": f"{row['speaker']}@{speed}"} if row.get("speaker") else {})

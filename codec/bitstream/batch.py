"""Files and folder trees through the codec: which, in what order, and by how many processes."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from codec.audio.io import FORMATS, audio_info, resampled_length
from codec.model.hh_codec import HHCodec

from .convert import Done, Pair, check_stream, convert
from .format import SUFFIX, CodedRecording


@dataclass(frozen=True)
class Setup:
    """Which codec works, where and how.

    Attributes:
        source: model folder, name of a bundled codec, or hub repository.
        device: such as "cpu" or "cuda".
        workers: processes; each loads the codec.
        batch_size: recordings with the same number of codes that are computed together.
    """

    source: str
    device: str = "cpu"
    workers: int = 1
    batch_size: int = 1

    def check(self) -> Setup:
        """Return self when it can be carried out.

        Raises:
            ValueError: a number below 1, or a device that is not there.
        """
        for name in ("workers", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of 1 or more, got {getattr(self, name)}")
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"device {self.device!r} cannot be used: {reason}") from error
        return self

    def load(self) -> HHCodec:
        """The codec on its device, in eval mode."""
        return HHCodec.from_pretrained(self.source).to(self.device)


@dataclass
class Outcome:
    """What became of many files.

    Attributes:
        num_done: converted now.
        num_skipped: left alone because their output was there and sound.
        num_samples: of those done, at the codec's rate.
        num_codes: of those done.
        failed: what was wrong with each file that could not be converted, by its path.
        lost_blocks: of salvaged streams, by path.
    """

    num_done: int = 0
    num_skipped: int = 0
    num_samples: int = 0
    num_codes: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    lost_blocks: dict[str, list[int]] = field(default_factory=dict)

    def add(self, pair: Pair, done: Done) -> None:
        """Count one file."""
        if done.reason is not None:
            self.failed[str(pair.source)] = done.reason
            return
        self.num_done += 1
        self.num_samples += done.num_samples
        self.num_codes += done.num_codes
        if done.lost_blocks:
            self.lost_blocks[str(pair.source)] = list(done.lost_blocks)


def convert_all(
    setup: Setup, codec: HHCodec, kind: str, pairs: Sequence[Pair], *, resume: bool
) -> Outcome:
    """Convert files, longest first, with a bar on standard error.

    Args:
        setup: of the work.
        codec: what `setup.load` gave, for this process.
        kind: as `convert` takes it.
        pairs: what to read and where to write.
        resume: leave alone what is already there and sound.

    Returns:
        what was done and what failed; a failure spares the other files.

    Raises:
        OSError: a worker process died.
    """
    outcome = Outcome()
    waiting = [pair for pair in pairs if not (resume and is_done(codec, kind, pair))]
    outcome.num_skipped = len(pairs) - len(waiting)
    batches = _batches(codec, waiting, setup.batch_size)
    with tqdm(total=len(waiting), desc=kind, unit="file", file=sys.stderr) as bar:
        for batch, results in _results(setup, codec, kind, batches):
            for pair, done in zip(batch, results, strict=True):
                outcome.add(pair, done)
            bar.update(len(batch))
    return outcome


def is_done(codec: HHCodec, kind: str, pair: Pair) -> bool:
    """Whether a pair's output is there, sound, of this codec and of the length it must have."""
    try:
        if kind in ("decode", "salvage"):
            wanted = CodedRecording.load(pair.source).num_samples
        else:
            wanted = resampled_length(*audio_info(pair.source), codec.sample_rate)
        if kind != "encode":
            return audio_info(pair.target) == (wanted, codec.sample_rate)
        coded = CodedRecording.load(pair.target)
        check_stream(codec, coded.header)
        return coded.num_samples == wanted
    except (ValueError, OSError):
        return False


def _batches(codec: HHCodec, pairs: Iterable[Pair], batch_size: int) -> list[list[Pair]]:
    """Pairs by number of codes, most first; what cannot be read comes last, alone."""
    groups: dict[int, list[Pair]] = {}
    for pair in pairs:
        try:
            if pair.source.suffix.lower() == SUFFIX:
                codes = pair.source.stat().st_size
            else:
                length = resampled_length(*audio_info(pair.source), codec.sample_rate)
                codes = -(-length // codec.hop_length)
        except (ValueError, OSError):
            codes = 0
        groups.setdefault(codes, []).append(pair)
    return [
        group[start : start + batch_size]
        for codes, group in sorted(groups.items(), reverse=True)
        for start in range(0, len(group), batch_size)
    ]


def _results(
    setup: Setup, codec: HHCodec, kind: str, batches: Sequence[list[Pair]]
) -> Iterator[tuple[list[Pair], list[Done]]]:
    """Batches with what became of them, as they finish."""
    workers = min(setup.workers, len(batches))
    if workers <= 1:
        for batch in batches:
            yield batch, convert(codec, kind, batch)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = multiprocessing.get_context("spawn")  # forking a process with threads may hang
    with ProcessPoolExecutor(workers, context, _start_worker, (setup, threads)) as pool:
        waiting = {pool.submit(_work, kind, batch): batch for batch in batches}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            raise OSError(
                "a worker process died, perhaps for want of memory: use fewer --workers and go "
                "on with --resume"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)  # of an interrupted run, the rest is not begun


_CODEC: list[HHCodec] = []  # of a worker process


def _start_worker(setup: Setup, threads: int) -> None:
    torch.set_num_threads(threads)
    _CODEC.append(setup.load())


def _work(kind: str, batch: list[Pair]) -> list[Done]:
    return convert(_CODEC[0], kind, batch)


def tree_pairs(
    source: Path, target: Path, suffixes: Sequence[str], made: str | None
) -> tuple[list[Pair], int]:
    """Files of a folder tree and their places in a tree of the same shape.

    Args:
        source: holds files, at any depth.
        target: another folder, outside `source`.
        suffixes: of the files to convert.
        made: suffix of the outputs; None keeps what can be written (FLAC) and makes WAV of
            everything else.

    Returns:
        the pairs in order of their path, and the number of other files, which are left alone.

    Raises:
        ValueError: there is no file to convert, `target` lies in `source`, or two files would
            be written to one.
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"expected an output folder outside {source}, got {target}")
    files = sorted(path for path in source.rglob("*") if path.is_file())
    sources = [path for path in files if path.suffix.lower() in suffixes]
    if not sources:
        raise ValueError(f"{source}: expected files of {' '.join(suffixes)}, got none")
    taken: dict[Path, Path] = {}
    for path in sources:
        kept = path.suffix if path.suffix.lower() in FORMATS else ".wav"
        place = target / path.relative_to(source).with_suffix(made or kept)
        if place in taken:
            raise ValueError(f"{taken[place]} and {path} would both become {place}; rename one")
        taken[place] = path
    return [Pair(path, place) for place, path in taken.items()], len(files) - len(sources)

"""Conversion of many files: which, in what order, and by how many processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from codec.audio.io import FORMATS, audio_info, resampled_length
from codec.devices import usable_device
from codec.error_text import message_of
from codec.files import files_below
from codec.files.derived import Origins, digest_of, file_state, is_younger
from codec.files.names import data_files, folded
from codec.model.hh_codec import HHCodec
from codec.provenance import usable_cores
from codec.runtime.workers import Workers

from .conversions import CONVERSIONS, Conversion
from .convert import Converted, Pair, check_stream, stream_header
from .format import SUFFIX
from .open_formats import CODE_SUFFIXES, load_codes


@dataclass
class Totals:
    """The results of many files.

    Attributes:
        num_done: Files converted now.
        num_skipped: Files left alone because their output was there and sound.
        num_samples: Of those done, at the codec's rate.
        num_codes: Of those done.
        failed: What was wrong with each file that could not be converted, by its path.
        lost_blocks: Of salvaged streams, by path.
        lost_ends: Paths of salvaged streams whose end is lost.
    """

    num_done: int = 0
    num_skipped: int = 0
    num_samples: int = 0
    num_codes: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    lost_blocks: dict[str, list[int]] = field(default_factory=dict)
    lost_ends: list[str] = field(default_factory=list)

    def add(self, pair: Pair, result: Converted) -> None:
        """Count one file."""
        if result.error is not None:
            self.failed[str(pair.source)] = result.error
            return
        self.num_done += 1
        self.num_samples += result.num_samples
        self.num_codes += result.num_codes
        if result.lost_blocks:
            self.lost_blocks[str(pair.source)] = list(result.lost_blocks)
        if result.end_is_lost:
            self.lost_ends.append(str(pair.source))


def load_codec(source: str, device: str) -> HHCodec:
    """Load a codec onto a device, in eval mode.

    Args:
        source: Model folder, name of a bundled codec, or hub repository.
        device: As `usable_device` takes it.

    Raises:
        ValueError: No codec there, or a device that cannot be used.
    """
    place = usable_device(device)
    return HHCodec.from_pretrained(source).to(place)


def convert_all(
    load: Callable[[], HHCodec],
    codec: HHCodec,
    kind: str,
    pairs: Sequence[Pair],
    *,
    workers: int = 1,
    batch_size: int = 1,
    resume: bool = False,
    log: Path | None = None,
) -> Totals:
    """Convert files, longest first, with a bar on standard error.

    Args:
        load: Loads the codec in other processes, such as a partial of `load_codec`.
        codec: Result of `load`, for this process.
        kind: Key of `CONVERSIONS`.
        pairs: Inputs and outputs.
        workers: Processes; one is this process.
        batch_size: Recordings with the same number of codes that are computed together.
        resume: Whether to leave alone what is already there, sound, and of the same source and
            codec.
        log: File that notes what every output was made from; None notes nothing.

    Returns:
        What was done and what failed; a failure spares the other files.
    """
    # A batch that is left to the end by one process would keep the others waiting: longest first.
    conversion, totals = CONVERSIONS[kind], Totals()
    origins = None if log is None else Origins(log)
    digests = {pair: _origin(codec, kind, pair) for pair in pairs} if origins else {}
    waiting = [
        pair
        for pair in pairs
        if not (
            resume
            and _is_of_source(origins, pair, digests.get(pair, ""))
            and is_done(codec, conversion, pair)
        )
    ]
    totals.num_skipped = len(pairs) - len(waiting)
    if origins is not None:
        left = set(pairs).difference(waiting)
        kept = {pair.target: digests[pair] for pair in left}
        origins.begin(kept, (pair.target for pair in waiting))
    batches = _batches(codec, waiting, batch_size)
    with tqdm(total=len(waiting), desc=kind, unit="file", file=sys.stderr) as bar:
        for batch, results in _results(load, codec, kind, batches, min(workers, len(batches))):
            for pair, result in zip(batch, results, strict=True):
                totals.add(pair, result)
                if origins is not None and result.error is None:
                    origins.note(pair.target, digests[pair])
            bar.update(len(batch))
    return totals


def _results(
    load: Callable[[], HHCodec],
    codec: HHCodec,
    kind: str,
    batches: Sequence[list[Pair]],
    workers: int,
) -> Iterator[tuple[list[Pair], list[Converted]]]:
    """Batches with their results, as they finish."""
    if workers <= 1:
        for batch in batches:
            yield batch, CONVERSIONS[kind](codec, batch)
        return
    threads = max(1, usable_cores() // workers)
    with Workers(workers, setup=_start_worker, setup_args=(load,), threads=threads) as pool:
        for outcome in pool.outcomes(partial(_convert, kind), batches, in_order=False):
            if outcome.error is None:
                yield outcome.item, outcome.value()
                continue
            # of a process that died twice, perhaps for want of memory
            error = f"{message_of(outcome.error)}; use fewer --workers and go on with --resume"
            yield outcome.item, [Converted(error=error)] * len(outcome.item)


_CODEC: list[HHCodec] = []  # of a worker process


def _start_worker(load: Callable[[], HHCodec]) -> None:
    _CODEC.append(load())


def _convert(kind: str, batch: list[Pair]) -> list[Converted]:
    return CONVERSIONS[kind](_CODEC[0], batch)


def _origin(codec: HHCodec, kind: str, pair: Pair) -> str:
    """Digest of what an output is made from: its source as it is, and the codec."""
    made_by = codec.code_fingerprint + (codec.voice_fingerprint or "")
    fingerprint = made_by if kind == "encode" else codec.fingerprint
    # The name without its folders, so that both trees can be moved.
    voice = [] if pair.voice is None else [pair.voice.name, file_state(pair.voice)[1:]]
    search = [pair.search] if pair.search else []
    about = pair.source.name, file_state(pair.source)[1:]
    return digest_of(kind, fingerprint, *about, *voice, *search)


def _is_of_source(origins: Origins | None, pair: Pair, digest: str) -> bool:
    """True if an output is of its source as it is now, as far as that can be known."""
    if origins is not None and not origins.is_new:
        return origins.is_current(pair.target, digest)
    # Codes do not tell how they were chosen.
    return not pair.search and is_younger(pair.target, pair.source)


def is_done(codec: HHCodec, conversion: Conversion, pair: Pair) -> bool:
    """Tell whether a pair's output is there, sound, of this codec and as long as it must be."""
    try:
        own = stream_header(codec)
        if SUFFIX in conversion.inputs:
            wanted = load_codes(pair.source, own).num_samples
        else:
            wanted = resampled_length(*audio_info(pair.source), codec.sample_rate)
        if SUFFIX not in conversion.outputs:
            return audio_info(pair.target) == (wanted, codec.sample_rate)
        coded = load_codes(pair.target, own)
        check_stream(codec, coded.header)
        if pair.target.suffix.lower() == ".npy":  # whole codes
            wanted = -(-wanted // codec.hop_length) * codec.hop_length
        return coded.num_samples == wanted
    except (ValueError, OSError):
        return False


def _batches(codec: HHCodec, pairs: Iterable[Pair], batch_size: int) -> list[list[Pair]]:
    """Pairs by number of codes, most first; what cannot be read comes last, alone."""
    groups: dict[int, list[Pair]] = {}
    for pair in pairs:
        try:
            # equal sizes of streams are equal numbers of codes
            if pair.source.suffix.lower() in CODE_SUFFIXES:
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


def tree_pairs(
    source: Path, target: Path, conversion: Conversion, suffix: str | None = None
) -> tuple[list[Pair], int]:
    """List the files of a folder tree and their outputs in a tree of the same shape.

    Args:
        source: Holds files, at any depth; linked folders are followed.
        target: Another folder, outside `source`.
        conversion: Of the files. Of codes those as `.hhc` are taken, and where there is none the
            other forms.
        suffix: Of the outputs; None for that of the conversion.

    Returns:
        The pairs in order of their path, and the number of other files, which are left alone.

    Raises:
        ValueError: There is no file to convert, `target` lies in `source`, or two files would
            be written to one.
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"expected an output folder outside {source}, got {target}")
    files = files_below(source)
    own = tuple(each for each in conversion.inputs if each == SUFFIX)
    sources = (data_files(source, own) if own else []) or data_files(source, conversion.inputs)
    if not sources:
        raise ValueError(f"{source}: expected files of {' '.join(conversion.inputs)}, got none")
    taken: dict[str, Path] = {}
    pairs = []
    for path in sources:
        kept = path.suffix if path.suffix.lower() in FORMATS else ".wav"
        place = target / path.relative_to(source).with_suffix(suffix or conversion.suffix or kept)
        # Of any case: the output may lie on a disk that tells no cases apart.
        before = taken.setdefault(folded(str(place)), path)
        if before is not path:
            raise ValueError(f"{before} and {path} would both become {place}; rename one")
        pairs.append(Pair(path, place))
    return pairs, len(files) - len(sources)

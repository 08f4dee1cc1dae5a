"""What the commands of `hh-codec` do: arguments to a report and an exit status."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codec.audio.io import FORMATS, RECORDINGS
from codec.bitstream.batch import Setup, convert_all, tree_pairs
from codec.bitstream.convert import Pair
from codec.bitstream.format import SUFFIX
from codec.bitstream.verify import as_lines, verify_file
from codec.model.config import CodecConfig
from codec.model.hh_codec import HHCodec

from .info import describe

Report = dict[str, Any]


def encode(arguments: argparse.Namespace) -> tuple[Report, int]:
    """Recordings to `.hhc` files."""
    return _convert(arguments, "encode", RECORDINGS, (SUFFIX,), SUFFIX)


def decode(arguments: argparse.Namespace) -> tuple[Report, int]:
    """`.hhc` files to recordings."""
    kind = "salvage" if arguments.salvage else "decode"
    return _convert(arguments, kind, (SUFFIX,), tuple(FORMATS), ".wav")


def reconstruct(arguments: argparse.Namespace) -> tuple[Report, int]:
    """Recordings through the codec and back."""
    return _convert(arguments, "reconstruct", RECORDINGS, tuple(FORMATS), None)


def _convert(
    arguments: argparse.Namespace,
    kind: str,
    suffixes: tuple[str, ...],
    outputs: tuple[str, ...],
    made: str | None,
) -> tuple[Report, int]:
    """A file or a tree; status 1 when some files could not be converted."""
    source, target, others = arguments.input, arguments.output, 0
    if not source.exists():
        raise ValueError(f"{source}: expected a file or a folder, there is none")
    if source.is_dir():
        pairs, others = tree_pairs(source, target, suffixes, made)
    else:
        if target.suffix.lower() not in outputs:
            raise ValueError(f"{target}: expected a name ending in {' or '.join(outputs)}")
        if target.resolve() == source.resolve():
            raise ValueError(f"{target}: expected another file than the input itself")
        pairs = [Pair(source, target)]
    setup = Setup(
        arguments.codec, arguments.device, arguments.workers, arguments.batch_size
    ).check()
    codec = setup.load()
    began = time.perf_counter()
    outcome = convert_all(setup, codec, kind, pairs, resume=arguments.resume)
    seconds = time.perf_counter() - began
    duration = outcome.num_samples / codec.sample_rate
    report: Report = {
        "input": str(source),
        "output": str(target),
        "num_done": outcome.num_done,
        "num_skipped": outcome.num_skipped,
        "num_failed": len(outcome.failed),
        "num_other_files": others,
        "duration": duration,
        "num_samples": outcome.num_samples,
        "num_codes": outcome.num_codes,
        "seconds": seconds,
        "real_time_factor": seconds / duration if duration else None,
        "codec_fingerprint": codec.fingerprint,
        "failed": outcome.failed,
    }
    if kind == "salvage":
        report["lost_blocks"] = outcome.lost_blocks
    return report, int(bool(outcome.failed))


def verify(arguments: argparse.Namespace) -> tuple[Report, int]:
    """Check recordings and `.hhc` files; status 1 when one does not pass."""
    place: Path = arguments.input
    if not place.exists():
        raise ValueError(f"{place}: expected a file or a folder, there is none")
    paths = [place]
    if place.is_dir():
        kinds = (*RECORDINGS, SUFFIX)
        paths = sorted(path for path in place.rglob("*") if path.suffix.lower() in kinds)
        if not paths:
            raise ValueError(f"{place}: expected files of {' '.join(kinds)}, got none")
    codec = Setup(arguments.codec, arguments.device).check().load()
    bar = tqdm(paths, desc="verify", unit="file", file=sys.stderr)
    verdicts = {str(path): verify_file(codec, path) for path in bar}
    num_failed = sum(not each.is_sound for each in verdicts.values())
    report = {
        "num_files": len(verdicts),
        "num_failed": num_failed,
        "codec_fingerprint": codec.fingerprint,
        "files": {p: {**asdict(v), "is_sound": v.is_sound} for p, v in verdicts.items()},
        "lines": as_lines(verdicts),
    }
    return report, int(num_failed > 0)


def info(arguments: argparse.Namespace) -> tuple[Report, int]:
    """Figures of a trained codec or of a preset, whose weights are not trained."""
    if arguments.preset is not None:
        codec = HHCodec(CodecConfig.preset(arguments.preset))
        return {**describe(codec), "fingerprint": None, "code_fingerprint": None}, 0
    codec = HHCodec.from_pretrained(arguments.codec, fold=False)
    names = {"fingerprint": codec.fingerprint, "code_fingerprint": codec.code_fingerprint}
    return {**describe(codec), **names}, 0


COMMANDS: dict[str, Callable[[argparse.Namespace], tuple[Report, int]]] = {
    "encode": encode,
    "decode": decode,
    "reconstruct": reconstruct,
    "verify": verify,
    "info": info,
}

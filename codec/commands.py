"""What the commands of `hh-codec` do: arguments to a report and an exit status."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .audio import FORMATS, write_audio
from .code_file import SUFFIX, CodeFile
from .config import CodecConfig
from .description import describe
from .model import HHCodec
from .reconstruction import (
    Pair,
    decode_codes,
    encode_recording,
    folder_pairs,
    reconstruct_all,
)

Report = dict[str, Any]


def encode(arguments: argparse.Namespace) -> tuple[Report, int]:
    """A recording to a code file."""
    _check_suffix(arguments.output, (SUFFIX,))
    codec = HHCodec.from_pretrained(arguments.codec)
    file = encode_recording(codec, arguments.input)
    file.save(arguments.output)
    return _file_report(arguments, file), 0


def decode(arguments: argparse.Namespace) -> tuple[Report, int]:
    """A code file to a recording."""
    _check_suffix(arguments.output, tuple(FORMATS))
    file = CodeFile.load(arguments.input)
    codec = HHCodec.from_pretrained(arguments.codec)
    write_audio(arguments.output, decode_codes(codec, file), codec.sample_rate)
    return _file_report(arguments, file), 0


def reconstruct(arguments: argparse.Namespace) -> tuple[Report, int]:
    """Recordings through the codec and back; status 1 when some could not be read."""
    source, target, others = arguments.input, arguments.output, 0
    if not source.exists():
        raise ValueError(f"{source}: expected a recording or a folder, there is none")
    if source.is_dir():
        pairs, others = folder_pairs(source, target)
    else:
        _check_suffix(target, tuple(FORMATS))
        if target.resolve() == source.resolve():
            raise ValueError(f"{target}: expected another file than the recording itself")
        pairs = [Pair(source, target)]
    codec = HHCodec.from_pretrained(arguments.codec)
    began = time.perf_counter()
    outcome = reconstruct_all(codec, pairs, resume=arguments.resume)
    seconds = time.perf_counter() - began
    report = {
        "input": str(source),
        "output": str(target),
        "num_done": outcome.num_done,
        "num_skipped": outcome.num_skipped,
        "num_failed": len(outcome.failed),
        "num_other_files": others,
        "duration": outcome.duration,
        "seconds": seconds,
        "real_time_factor": seconds / outcome.duration if outcome.duration else None,
        "codec_fingerprint": codec.fingerprint,
        "failed": outcome.failed,
    }
    return report, int(bool(outcome.failed))


def info(arguments: argparse.Namespace) -> tuple[Report, int]:
    """Figures of a trained codec or of a preset, whose weights are not trained."""
    if arguments.preset is not None:
        codec = HHCodec(CodecConfig.preset(arguments.preset))
        return {**describe(codec), "fingerprint": None}, 0
    codec = HHCodec.from_pretrained(arguments.codec)
    return {**describe(codec), "fingerprint": codec.fingerprint}, 0


COMMANDS: dict[str, Callable[[argparse.Namespace], tuple[Report, int]]] = {
    "encode": encode,
    "decode": decode,
    "reconstruct": reconstruct,
    "info": info,
}


def _check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse an output name before any work."""
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: expected a name ending in {' or '.join(suffixes)}")


def _file_report(arguments: argparse.Namespace, file: CodeFile) -> Report:
    """Figures of one recording and its code file."""
    return {
        "input": str(arguments.input),
        "output": str(arguments.output),
        "duration": file.duration,
        "num_samples": file.num_samples,
        "num_codes": len(file.codes),
        "codec_fingerprint": file.codec_fingerprint,
    }

"""`hh-codec encode`, `decode` and `reconstruct`: a recording, a folder of them, or a pipe."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.command_line import DONE, FAILED, Commands, add_command, print_report, whole_number
from codec.files.derived import LOG_NAME

from .options import add_codec
from .pipes import PIPE, convert_piped, reporting_beside

if TYPE_CHECKING:
    from codec.bitstream.conversions import Conversion
    from codec.bitstream.convert import Pair
    from codec.model.hh_codec import HHCodec

TREES = (
    "\n- is standard input or output; formats are told by the data and by --format.\n"
    "A folder becomes a folder of the same shape. Files that cannot be converted are\n"
    "listed, the others done, and the exit status is 1."
)
AUDIO_OUT = ".wav or .flac file, folder or -"
CODES_OUT = ".hhc, .npy, .pt or .json file"
CODE_FORMS, SOUND_FORMS = ("hhc", "npy", "pt", "json"), ("wav", "flac")


def add(commands: Commands) -> None:
    """Add the three commands."""
    encode = _add_command(
        commands,
        "encode",
        "recordings to codes; any rate, number of channels and length.",
        "speech.flac speech.hhc",
        ("recording (WAV, FLAC, Ogg, MP3 ...), folder or -", f"{CODES_OUT}, folder or -"),
        CODE_FORMS,
    )
    decode = _add_command(
        commands,
        "decode",
        "codes to recordings; refused by another codec than the one that made them.",
        "speech.hhc decoded.wav",
        (f"{CODES_OUT}, folder or -", AUDIO_OUT),
        SOUND_FORMS,
    )
    decode.add_argument(
        "--salvage",
        action="store_true",
        help="decode what is sound of damaged files; lost blocks become the sound before them",
    )
    decode.add_argument(
        "--voice",
        type=Path,
        metavar="FILE",
        help="file of codes whose voice code is used in place of that of IN",
    )
    reconstruct = _add_command(
        commands,
        "reconstruct",
        "recordings to codes and back.",
        "recordings/ decoded/ --resume",
        ("recording, folder of recordings or -", AUDIO_OUT),
        SOUND_FORMS,
    )
    for parser in (encode, reconstruct):
        parser.add_argument(
            "--search",
            type=whole_number(0),
            default=0,
            metavar="N",
            help="try every code against the N entries next to it and keep what decodes nearer to "
            "the recording: with 2, more intelligible in three times the time",
        )


def _add_command(
    commands: Commands,
    name: str,
    text: str,
    example: str,
    paths: tuple[str, str],
    forms: tuple[str, ...],
) -> argparse.ArgumentParser:
    """A command with IN and OUT, the codec and how to work."""
    parser = add_command(
        commands,
        name,
        run,
        summary=text.split(";")[0].rstrip("."),
        description=text + TREES,
        examples=f"example:\n  hh-codec {name} {example}",
    )
    parser.add_argument("input", type=Path, metavar="IN", help=paths[0])
    parser.add_argument("output", type=Path, metavar="OUT", help=paths[1])
    add_codec(parser)
    where = "OUT is - or a folder"
    parser.add_argument("--format", choices=forms, help=f"of the output, where {where}")
    parser.add_argument("--workers", type=whole_number(1), default=1, metavar="N", help="processes")
    parser.add_argument(
        "--batch-size",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="recordings with the same number of codes computed together; helps on a GPU",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip files whose output is there, sound, and of the same recording and codec",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Convert a file or a tree; status 1 when some files could not be converted."""
    from functools import partial

    from codec.bitstream.batch import convert_all, load_codec
    from codec.bitstream.conversions import CONVERSIONS

    source, target = arguments.input, arguments.output
    kind = "salvage" if getattr(arguments, "salvage", False) else arguments.command
    # A pipe has no name to take up again, and no batch: one recording at a time.
    if PIPE in (source, target):
        return _run_piped(arguments, kind)
    pairs, others, log = _pairs(arguments, CONVERSIONS[kind])
    # Before any work, so that a wrong call costs nothing; a worker process loads its own.
    load = partial(load_codec, arguments.codec, arguments.device)
    codec = load()
    voice = _voice(arguments, codec)
    search = getattr(arguments, "search", 0)
    pairs = [replace(pair, voice=voice, search=search) for pair in pairs]
    began = time.perf_counter()
    totals = convert_all(
        load,
        codec,
        kind,
        pairs,
        workers=arguments.workers,
        batch_size=arguments.batch_size,
        resume=arguments.resume,
        log=log,
    )
    seconds = time.perf_counter() - began
    duration = totals.num_samples / codec.sample_rate
    report: dict[str, Any] = {
        "input": str(source),
        "output": str(target),
        "num_done": totals.num_done,
        "num_skipped": totals.num_skipped,
        "num_failed": len(totals.failed),
        "num_other_files": others,
        "duration": duration,
        "num_samples": totals.num_samples,
        "num_codes": totals.num_codes,
        "seconds": seconds,
        "real_time_factor": seconds / duration if duration else None,
        "codec_fingerprint": codec.fingerprint,
        "code_fingerprint": codec.code_fingerprint,
    }
    if kind == "salvage":
        report["lost_blocks"] = totals.lost_blocks
        report["lost_ends"] = totals.lost_ends
    lines = [f"salvaged: {path}: its end is lost" for path in totals.lost_ends]
    lines += [f"failed: {path}: {reason}" for path, reason in totals.failed.items()]
    # On stderr, so that stdout holds the report alone.
    sys.stderr.writelines(f"{line}\n" for line in lines)
    if arguments.json:
        report["failed"] = totals.failed
    print_report(report, as_json=arguments.json)
    return FAILED if totals.failed else DONE


def _run_piped(arguments: argparse.Namespace, kind: str) -> int:
    """Convert a recording where input, output or both are a pipe.

    Raises:
        ValueError: The call is wrong.
    """
    from codec.bitstream.batch import load_codec
    from codec.bitstream.conversions import CONVERSIONS
    from codec.bitstream.convert import Pair

    source, target, conversion = arguments.input, arguments.output, CONVERSIONS[kind]
    form = f".{arguments.format}" if arguments.format else conversion.suffix or ".wav"
    if source != PIPE and not source.is_file():
        raise ValueError(f"{source}: expected a file to write to a pipe, got none")
    if target != PIPE and (target.is_dir() or target.suffix.lower() not in conversion.outputs):
        raise ValueError(
            f"{target}: expected a name ending in {' or '.join(conversion.outputs)} for a pipe"
        )
    for name in ("workers", "batch_size"):
        if getattr(arguments, name) != 1:
            raise ValueError(f"expected no --{name.replace('_', '-')} with a pipe, got one")
    if arguments.resume:
        raise ValueError("expected no --resume with a pipe, got one")
    codec = load_codec(arguments.codec, arguments.device)
    pair = Pair(source, target, _voice(arguments, codec), getattr(arguments, "search", 0))
    result = convert_piped(codec, kind, pair, form)
    if result.error is not None:
        sys.stderr.write(f"failed: {source}: {result.error}\n")
        return FAILED
    report: dict[str, Any] = {
        "input": str(source),
        "output": str(target),
        "duration": result.num_samples / codec.sample_rate,
        "num_samples": result.num_samples,
        "num_codes": result.num_codes,
        "codec_fingerprint": codec.fingerprint,
        "code_fingerprint": codec.code_fingerprint,
    }
    if result.lost_blocks or result.end_is_lost:
        report |= {"lost_blocks": list(result.lost_blocks), "lost_end": result.end_is_lost}
    with reporting_beside(target):
        print_report(report, as_json=arguments.json)
    return DONE


def _voice(arguments: argparse.Namespace, codec: HHCodec) -> Path | None:
    """The file of another voice, found to hold one of this codec.

    Raises:
        ValueError: It is missing, or holds none.
    """
    from codec.bitstream.convert import other_voice
    from codec.files.names import check_exists

    path = getattr(arguments, "voice", None)
    if path is not None:
        check_exists(path)
        other_voice(codec, path)
    return path


def _pairs(
    arguments: argparse.Namespace, conversion: Conversion
) -> tuple[list[Pair], int, Path | None]:
    """Inputs with their outputs, the number of other files, and the log of what was made of what.

    Raises:
        ValueError: The call is wrong.
    """
    from codec.bitstream.batch import tree_pairs
    from codec.bitstream.convert import Pair
    from codec.files.names import check_exists

    source, target = arguments.input, arguments.output
    check_exists(source)
    # A name with such a suffix is a file's; a folder of that name may be there already.
    has_name_of_file = target.suffix.lower() in conversion.outputs
    if source.is_dir():
        if has_name_of_file and not target.is_dir():
            raise ValueError(f"{target}: expected the name of a folder for a folder, got a file's")
        suffix = f".{arguments.format}" if arguments.format else None
        return (*tree_pairs(source, target, conversion, suffix), target / LOG_NAME)
    if not has_name_of_file:
        raise ValueError(f"{target}: expected a name ending in {' or '.join(conversion.outputs)}")
    if arguments.format and target.suffix.lower() != f".{arguments.format}":
        raise ValueError(
            f"{target}: expected a name ending in .{arguments.format}, as --format asks for"
        )
    if target.resolve() == source.resolve():
        raise ValueError(f"{target}: expected another file than the input itself")
    # Beside a single output nothing else is left, unless it is to be taken up again.
    return [Pair(source, target)], 0, target.parent / LOG_NAME if arguments.resume else None

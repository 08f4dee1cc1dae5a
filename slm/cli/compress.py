"""`hh-slm compress` and `hh-slm decompress`: `.hhc` files in fewer bits, without loss."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.command_line import DONE, FAILED, Commands, add_command, print_report
from codec.error_text import reason_of
from codec.files.derived import LOG_NAME, Origins, digest_of, file_state, is_younger
from codec.files.names import check_place, given_files

from .options import DEFAULT_LM

if TYPE_CHECKING:
    from codec.bitstream.compressed import CompressedRecording
    from codec.bitstream.format import CodedRecording
    from slm.compression.code_model import CodeModel

SUFFIX = ".hhc"
_SAME = (
    "The model, its engine and the kind of machine must be those that compressed a file: all else "
    "is refused, by fingerprint or by the checksum of the codes."
)


def add(commands: Commands) -> None:
    """Add both commands."""
    compressing = add_command(
        commands,
        "compress",
        run_compress,
        summary=".hhc files in fewer bits, without loss",
        description="Arithmetic coding of the codes of `hh-codec encode` by the language model's "
        f"probabilities. Each file is decompressed once before it is written. {_SAME}",
        examples="examples:\n  hh-codec encode speech.wav speech.hhc\n"
        "  hh-slm compress speech.hhc small.hhc\n  hh-slm compress codes/ small/",
    )
    decompressing = add_command(
        commands,
        "decompress",
        run_decompress,
        summary="compressed .hhc files as they were, byte for byte",
        description=f"The .hhc files that were compressed, as they were. {_SAME}",
        examples="examples:\n  hh-slm decompress small.hhc speech.hhc\n"
        "  hh-codec decode speech.hhc speech.wav",
    )
    for command in (compressing, decompressing):
        command.add_argument("input", type=Path, metavar="IN", help=".hhc file or folder")
        command.add_argument("output", type=Path, metavar="OUT", help=".hhc file or folder")
        kinds = "model folder, bundled name or hub repository"
        command.add_argument("--lm", default=DEFAULT_LM, help=kinds)
        command.add_argument("--resume", action="store_true", help="skip files that are there")


def run_compress(arguments: argparse.Namespace) -> int:
    """Compress a file or a tree; the report tells bits a second of speech."""
    pairs = _pairs(arguments)
    from codec.bitstream.format import CodedRecording
    from slm.compression.code_model import CodeModel
    from slm.compression.codes import code_entropy, compress

    model = CodeModel.from_pretrained(arguments.lm)
    done: list[tuple[CodedRecording, CompressedRecording, int]] = []

    def one(source: Path, target: Path) -> None:
        recording = CodedRecording.load(source)
        made = compress(model, recording)
        made.save(target)
        done.append((recording, made, source.stat().st_size))

    failed = _convert_all(pairs, one, model, arguments)
    report = _counts(pairs, failed, model)
    if done:
        seconds = sum(recording.duration for recording, _, _ in done)
        codes = sum(len(recording.codes) for recording, _, _ in done)
        bits = sum(made.payload_bits for _, made, _ in done)
        fixed = sum(recording.header.code_bits * len(recording.codes) for recording, _, _ in done)
        entropy = code_entropy([recording.codes for recording, _, _ in done])
        report |= {
            "duration": seconds,
            "num_codes": codes,
            "bits_per_code": bits / codes,
            "bits_per_second": bits / seconds,
            "fixed_bits_per_second": fixed / seconds,
            # Of these codes' own frequencies, which no coder of single codes knows beforehand.
            "unigram_entropy_bits_per_second": entropy * codes / seconds,
            "file_bits_per_second": 8 * sum(len(m.to_bytes()) for _, m, _ in done) / seconds,
            "input_file_bits_per_second": 8 * sum(size for _, _, size in done) / seconds,
        }
    return _finish(report, failed, arguments)


def run_decompress(arguments: argparse.Namespace) -> int:
    """Restore a file or a tree."""
    pairs = _pairs(arguments)
    from codec.bitstream.compressed import CompressedRecording
    from slm.compression.code_model import CodeModel
    from slm.compression.codes import decompress

    model = CodeModel.from_pretrained(arguments.lm)

    def one(source: Path, target: Path) -> None:
        decompress(model, CompressedRecording.load(source)).save(target)

    failed = _convert_all(pairs, one, model, arguments)
    return _finish(_counts(pairs, failed, model), failed, arguments)


def _pairs(arguments: argparse.Namespace) -> dict[Path, Path]:
    """Outputs by input.

    Raises:
        ValueError: No such file, no `.hhc` file in the folder, or an output that would overwrite
            its input.
    """
    source, target = arguments.input, arguments.output
    found = given_files(source, (SUFFIX,))
    if source.is_dir():
        if target.resolve().is_relative_to(source.resolve()):
            raise ValueError(f"expected an output folder outside {source}, got {target}")
        if target.suffix.lower() == SUFFIX and not target.is_dir():
            raise ValueError(f"{target}: expected the name of a folder for a folder, got a file's")
        pairs = {path: target / path.relative_to(source) for path in found}
    else:
        if target.suffix.lower() != SUFFIX or target.resolve() == source.resolve():
            raise ValueError(f"expected another file ending in {SUFFIX} as OUT, got {target}")
        pairs = {source: target}
    check_place(target, is_folder=source.is_dir())
    return pairs


def _convert_all(
    pairs: dict[Path, Path],
    one: Callable[[Path, Path], None],
    model: CodeModel,
    arguments: argparse.Namespace,
) -> dict[str, str]:
    """Convert every file but those that are there, which leave `pairs`; failures by path."""
    from tqdm import tqdm

    log = _Kept(arguments, model)
    kept = {source: target for source, target in pairs.items() if log.is_current(source, target)}
    for source in kept:
        del pairs[source]
    log.begin(kept, pairs.values())
    failed = {}
    for source, target in tqdm(pairs.items(), unit="file", disable=None, file=sys.stderr):
        try:
            digest = log.digest(source)
            one(source, target)
            log.note(target, digest)
        except (ValueError, OSError) as error:
            failed[str(source)] = reason_of(error, source)
    return failed


class _Kept:
    """Files of earlier calls beside the outputs, and what each was made from."""

    def __init__(self, arguments: argparse.Namespace, model: CodeModel) -> None:
        self._resumes = arguments.resume
        self._of = [arguments.command, model.fingerprint]
        target: Path = arguments.output
        # Beside a single output nothing else is left, unless it is to be taken up again.
        is_logged = arguments.input.is_dir() or arguments.resume
        folder = target if arguments.input.is_dir() else target.parent
        self._origins = Origins(folder / LOG_NAME) if is_logged else None

    def digest(self, source: Path) -> str:
        # Without its place, so that both trees can be moved.
        return digest_of(source.name, file_state(source)[1:], self._of)

    def begin(self, kept: Mapping[Path, Path], anew: Iterable[Path]) -> None:
        """Begin a run that leaves the outputs `kept`, by input, as they are."""
        if self._origins is not None:
            digests = {target: self.digest(source) for source, target in kept.items()}
            self._origins.begin(digests, anew)

    def is_current(self, source: Path, target: Path) -> bool:
        """Tell whether an output is there that need not be made again."""
        if self._origins is None or not self._resumes:
            return False
        if not self._origins.is_new:
            return self._origins.is_current(target, self.digest(source))
        # An earlier version noted nothing.
        return target.is_file() and is_younger(target, source)

    def note(self, target: Path, digest: str) -> None:
        if self._origins is not None:
            self._origins.note(target, digest)


def _counts(
    pairs: Mapping[Path, Path], failed: Mapping[str, str], model: CodeModel
) -> dict[str, Any]:
    """The part of the report that both commands have."""
    return {
        "num_done": len(pairs) - len(failed),
        "num_failed": len(failed),
        "model_fingerprint": model.fingerprint,
    }


def _finish(report: dict[str, Any], failed: dict[str, str], arguments: argparse.Namespace) -> int:
    """Print the report and the failures; status 1 where there are some."""
    sys.stderr.writelines(f"failed: {path}: {reason}\n" for path, reason in failed.items())
    if arguments.json:
        report["failed"] = failed
    print_report(report, as_json=arguments.json)
    return FAILED if failed else DONE

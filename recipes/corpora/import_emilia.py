"""Emilia's WebDataset tars: `<LANGUAGE>/<name>.tar` with an .mp3 and a .json for every clip.

Each .json has id, text, duration, speaker, language and dnsmos (https://arxiv.org/abs/2407.05361).
Audio is unpacked tar by tar; a tar that is done and has not changed since is not read again. lhotse
reads the older layout of loose files only.
"""

from __future__ import annotations

import errno
import functools
import json
import lzma
import shutil
import sys
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from codec.derived import digest_of, file_state
from codec.file_names import data_files, folded, name_problem
from codec.files import json_text, read_json, unique_keys, whole_folder, write_json
from codec.json_lines import read_json_lines, write_json_lines
from codec.runtime.workers import Workers

from .importing import AUDIO_FOLDER, Skip, Utterance

RECORDINGS = (".mp3", ".flac", ".wav", ".ogg", ".opus", ".m4a")
ROWS_NAME = "rows.jsonl"
# Digest of the tar that a folder was unpacked from.
ORIGIN_NAME = "origin.json"
_FIELDS = ("text", "speaker", "language")
# Errors of damaged archives, compressed or not.
_DAMAGED = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, ValueError, OverflowError)
_CHUNK = 1 << 20
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def emilia_utterances(
    folder: Path, output: Path, *, limit: int | None = None, workers: int = 1
) -> Iterator[Utterance | Skip]:
    """Yield the clips of every tar below `folder`, unpacked to `output/audio/<language>/<tar>/`.

    Args:
        folder: Holds `*.tar` at any depth.
        output: Of the manifest.
        limit: No further tar is unpacked once so many clips are there.
        workers: Processes that unpack, a tar each.

    Raises:
        ValueError: No tar below the folder.
    """
    tars = data_files(folder, (".tar",))
    if not tars:
        raise ValueError(f"{folder}: expected WebDataset tars (*.tar) below it, found none")
    tars, refused = _apart(tars)
    yield from refused
    count = 0
    unpack = functools.partial(unpack_tar, root=folder, output=output.absolute() / AUDIO_FOLDER)
    # With a limit, tars are unpacked one by one, so that none is unpacked in vain.
    in_parallel = limit is None and workers > 1
    with Workers(workers if in_parallel else 0, spare_few=True) as pool:
        results = pool.map(unpack, tars)
        for target, problem in tqdm(results, "  tars", len(tars), file=sys.stderr, mininterval=1):
            if problem:
                yield Skip(target.name, problem, "tar")
                continue
            for found in _listed(target):
                count += isinstance(found, Utterance)
                yield found
            if limit is not None and count >= limit:
                return


def unpack_tar(tar: Path, *, root: Path, output: Path) -> tuple[Path, str]:
    """Unpack one tar to a folder that appears only when whole, with a `rows.jsonl` of its .json.

    Args:
        tar: Below `root`.
        root: Folder of the corpus.
        output: Gets the folder, at the tar's own place below `root`.

    Returns:
        The folder, and '' or the reason why there is none.
    """
    target = output / tar.relative_to(root).with_suffix("")
    origin = {"tar": digest_of(file_state(tar))}
    if (target / ROWS_NAME).is_file() and _origin(target) == origin:
        return target, ""
    # A folder without rows is none of ours, or lost them; one of another tar is out of date.
    shutil.rmtree(target, ignore_errors=True)
    try:
        with whole_folder(target) as partial:
            write_json_lines(partial / ROWS_NAME, _unpacked(tar, partial))
            write_json(partial / ORIGIN_NAME, origin)
    except _DAMAGED as error:
        return target, f"{tar}: not a whole tar ({error}); fetch it again"
    except OSError as error:
        # A full disk is not the tar's fault, and would fail for every other, too.
        if error.errno in _OF_THE_DISK:
            raise
        return target, f"{tar}: cannot be read ({error}); fetch it again"
    return target, ""


def _apart(tars: list[Path]) -> tuple[list[Path], list[Skip]]:
    """Tars that unpack to folders of their own, and those that would lie in another's."""
    kept: dict[str, Path] = {}
    skips = []
    for tar in sorted(tars, key=lambda tar: len(tar.parts)):
        target = tar.with_suffix("")
        # `a.tar` becomes the folder `a`, in which `a/b.tar` would lie as `a/b`.
        taken = [kept.get(folded(str(each))) for each in (target, *target.parents)]
        other = next(filter(None, taken), None)
        if other is None:
            kept[folded(str(target))] = tar
        else:
            skips.append(Skip(tar.name, f"{tar}: unpacks into the folder of {other}", "tar"))
    return sorted(kept.values()), skips


def _origin(target: Path) -> Any:
    """Contents of an unpacked tar's `origin.json`; None where it is missing or damaged."""
    try:
        return read_json(target / ORIGIN_NAME)
    except (OSError, ValueError):
        return None


def _unpacked(tar: Path, folder: Path) -> list[dict[str, Any]]:
    """Write the recordings of a tar; returns a row for every key: record and audio, or an error.

    Members are keyed by their name, whatever folders the tar states. Where several share a name,
    the first recording is kept with the record of its folder, and the others are errors.
    """
    records: dict[str, dict[str, Any]] = defaultdict(dict)
    audio: dict[str, PurePosixPath] = {}
    rows: list[dict[str, Any]] = []
    with tarfile.open(tar) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            # On a disk that tells no cases apart `A.mp3` would be written over `a.mp3`.
            key = folded(path.stem)
            if path.suffix.lower() in RECORDINGS:
                problem = name_problem(path.name)
                if key in audio:
                    problem = f"{audio[key]} has this name already"
                if problem:
                    rows.append({"key": member.name, "audio": None, "error": problem})
                    continue
                # Only the name counts: whatever folders a tar states, all stays in this one.
                with (folder / path.name).open("wb") as copy:
                    shutil.copyfileobj(file, copy)
                audio[key] = path
            elif path.suffix == ".json":
                records[key].setdefault(str(path.with_suffix("")), _parsed(file.read()))
        _check_end(archive)
    for key in sorted(records.keys() | audio.keys()):
        rows += _paired(audio.get(key), records.get(key, {}))
    return rows


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise `tarfile.ReadError` where an archive that was read through ends before its end.

    `tarfile` takes a damaged header, and the end of the file between two members, for the end.
    """
    file = archive.fileobj
    assert file is not None
    file.seek(archive.offset)
    block = file.read(tarfile.BLOCKSIZE)
    if block != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"damaged at byte {archive.offset}")
    # What is compressed has a checksum at its end.
    while file.read(_CHUNK):
        pass


def _paired(audio: PurePosixPath | None, records: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The row of a name with a recording and records by path, and rows of records left over."""
    own = str(audio.with_suffix("")) if audio is not None else ""
    if own not in records:
        # The record may lie in another folder than the recording.
        own = next(iter(records), own)
    key = PurePosixPath(own).name
    yield {"key": key, "audio": audio and audio.name, "record": records.get(own)}
    for other in records.keys() - {own}:
        yield {"key": other, "audio": None, "error": f"{own} has this name already"}


def _parsed(text: bytes) -> Any:
    """A record as JSON holds it, or the error in it."""
    try:
        record = json.loads(text, object_pairs_hook=unique_keys)
        # NaN and infinity can be parsed, but neither listed nor put into a manifest.
        json_text(record)
    except (ValueError, RecursionError) as error:
        return f"not valid JSON ({error})"
    return record


def _listed(target: Path) -> Iterator[Utterance | Skip]:
    """The clips of an unpacked tar."""
    for row in read_json_lines(target / ROWS_NAME):
        key: str = row["key"]
        if row["audio"] is None:
            reason = row.get("error", "has no recording")
            yield Skip(key, f"{target.name}: {reason}")
            continue
        record: Any = row["record"]
        wrong = _wrong(record)
        if wrong:
            yield Skip(key, f"{target.name}: its .json: {wrong}")
            continue
        extra = {"source": "emilia"}
        extra |= {"dnsmos": record["dnsmos"]} if "dnsmos" in record else {}
        text, speaker, lang = (record[name] for name in _FIELDS)
        audio = target / row["audio"]
        yield Utterance(str(record.get("id") or key), audio, text.strip(), speaker, lang, "", extra)


def _wrong(record: Any) -> str:
    """The error in a clip's .json, '' for none."""
    if isinstance(record, str):  # the parser's error
        return record
    if not isinstance(record, dict):
        return "expected an object, found none"
    missing = [name for name in _FIELDS if not isinstance(record.get(name), str)]
    missing += [name for name in ("speaker", "language") if record.get(name) == ""]
    return f"expected {', '.join(_FIELDS)}, lacks {', '.join(missing)}" if missing else ""

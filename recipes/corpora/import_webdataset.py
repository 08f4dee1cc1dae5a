"""WebDataset tars, Emilia's among them: a recording and a .json for every clip, read in place.

A .json has text, speaker, language and whatever else; Emilia's also id, duration and dnsmos
(https://arxiv.org/abs/2407.05361). Nothing is unpacked: rows name members of the tars
(`codec.files.locations`). A tar is looked through once, and again when it has changed.
"""

from __future__ import annotations

import errno
import functools
import glob
import re
import sys
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from codec.error_text import reason_of
from codec.files.derived import digest_of, file_state
from codec.files.json_lines import read_json_lines, write_json_lines
from codec.files.json_text import json_text, json_value
from codec.files.locations import is_plain, member_path
from codec.files.names import data_files, is_hidden, name_problem
from codec.files.reading import NotAFileError, open_file
from codec.runtime.workers import Workers

from .import_kaldi import UNKNOWN_LANGUAGE
from .importing import Skip, Utterance

RECORDINGS = (".mp3", ".flac", ".wav", ".ogg", ".opus", ".m4a")
# Folder below the manifest for what is known of each tar.
INDEX_FOLDER = ".tars"
# Fields that every .json of Emilia has.
EMILIA = ("text", "speaker", "language")
# Fields of a .json that become fields of the manifest by another name, or are measured.
_TAKEN = {"id", "wav", "duration", "language", "lang", *EMILIA}
# First bytes of compressed files, whose members cannot be found without all that comes before.
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ\0": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
_ENDINGS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
_LARGEST_RECORD = 1 << 20  # bytes of a .json
# Errors of damaged archives.
_DAMAGED = (tarfile.TarError, EOFError, ValueError, OverflowError)
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def webdataset_utterances(
    source: Path,
    output: Path,
    *,
    lang: str = UNKNOWN_LANGUAGE,
    required: Sequence[str] = (),
    name: str = "",
    limit: int | None = None,
    workers: int = 1,
) -> Iterator[Utterance | Skip]:
    """Yield the clips of tars, in their order there.

    Args:
        source: A tar, a folder with tars at any depth, or a pattern such as `data/en-*.tar`.
        output: Of the manifest; what is known of each tar goes below it.
        lang: Language of clips that state none.
        required: Fields without which a .json is refused.
        name: Source of the clips; '' for that of the tars' folder.
        limit: No further tar is looked through once so many clips are there.
        workers: Processes that look through tars, one each.

    Raises:
        ValueError: No tar there.
    """
    root, tars = _tars(source)
    if not tars:
        raise ValueError(f"{source}: expected WebDataset tars (*.tar), found none")
    extra = {"source": name or root.absolute().name}
    count = 0
    look = functools.partial(index_tar, folder=output.absolute() / INDEX_FOLDER)
    # With a limit, tars are looked through one by one, so that none is in vain.
    in_parallel = limit is None and workers > 1
    with Workers(workers if in_parallel else 0, spare_few=True) as pool:
        bar = tqdm(pool.map(look, tars), "  tars", len(tars), file=sys.stderr, mininterval=1)
        for tar, (index, problem) in zip(tars, bar, strict=True):
            if problem:
                yield Skip(tar.name, problem, "tar")
                continue
            # Keys are unique in one tar alone.
            prefix = tar.relative_to(root).with_suffix("").as_posix()
            for row in read_json_lines(index):
                found = _clip(tar, row, required, {"lang": lang, "prefix": prefix, "extra": extra})
                count += isinstance(found, Utterance)
                yield found
            if limit is not None and count >= limit:
                return


def index_tar(tar: Path, *, folder: Path) -> tuple[Path, str]:
    """Look through one tar, unless that was done and it has not changed since.

    Args:
        tar: Of recordings and their .json.
        folder: Gets the file of its rows: `key`, and `error`, or `offset`, `name` and `record`.

    Returns:
        That file, and '' or the reason why there is none.
    """
    index = folder / f"{digest_of(file_state(tar))}.jsonl"
    if index.is_file():
        return index, ""
    try:
        # A row names its tar by this ending.
        if tar.suffix.lower() != ".tar":
            problem = _compression(tar) or "expected a name that ends in .tar"
            return index, f"{tar}: {problem}"
        write_json_lines(index, _rows(tar))
    except NotAFileError as error:
        return index, str(error)
    except _DAMAGED as error:
        problem = _compression(tar) or f"not a whole tar ({error}); fetch it again"
        return index, f"{tar}: {problem}"
    except OSError as error:
        # A full disk is not the tar's fault, and would fail for every other, too.
        if error.errno in _OF_THE_DISK:
            raise
        return index, f"{tar}: cannot be read ({reason_of(error, tar)}); fetch it again"
    return index, ""


def _compression(tar: Path) -> str:
    """The reason why a compressed tar is refused, '' for one that is not."""
    with open_file(tar) as file:
        head = file.read(8)
    for magic, (kind, command) in _COMPRESSED.items():
        if head.startswith(magic):
            return f"expected a tar that is not compressed, got {kind}; decompress it by {command}"
    return ""


def _tars(source: Path) -> tuple[Path, list[Path]]:
    """The folder that all tars lie in, and the tars, sorted; compressed ones among them."""
    if source.is_dir():
        root, found = source, data_files(source)
    elif source.is_file():
        root, found = source.parent, [source]
    else:
        # The folder that is named before the first wildcard.
        fixed = source.parent.parts
        wild = next((n for n, part in enumerate(fixed) if re.search(r"[*?\[]", part)), len(fixed))
        root = Path(*fixed[:wild])
        found = sorted(map(Path, glob.glob(str(source), recursive=True)))
    return root, [path for path in found if path.name.lower().endswith(_ENDINGS)]


def _rows(tar: Path) -> list[dict[str, Any]]:
    """A row for every clip of a tar in its order, and for every member that is part of none.

    A clip's members have one path but for the suffix. Of several the first counts.
    """
    records: dict[str, Any] = {}
    audio: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    with open_file(tar) as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for member in _members(archive, tar.stat().st_size):
            path = PurePosixPath(member.name)
            is_audio = path.suffix.lower() in RECORDINGS
            is_record = path.suffix.lower() == ".json"
            if not (is_audio or is_record) or member.isdir() or is_hidden(path):
                continue
            key = str(path.with_suffix(""))
            problem = name_problem(path.name)
            if not is_plain(member):
                problem = "expected a plain member, got a link or a sparse file"
            elif key in (audio if is_audio else records):
                problem = f"at byte {member.offset}: {key} has this name already"
            elif is_record and member.size > _LARGEST_RECORD:
                problem = f"expected at most {_LARGEST_RECORD} bytes, got {member.size}"
            if problem:
                rows.append({"key": member.name, "error": problem})
            elif is_audio:
                audio[key] = {"offset": member.offset, "name": path.name}
            else:
                record = archive.extractfile(member)
                records[key] = _parsed(record.read() if record is not None else b"")
    _join_by_name(audio, records)
    rows += [{"key": key, "record": records.pop(key, None), **audio[key]} for key in audio]
    return rows + [{"key": key, "error": "has no recording"} for key in records]


def _members(archive: tarfile.TarFile, size: int) -> Iterator[tarfile.TarInfo]:
    """The members of a tar of so many bytes.

    Raises:
        tarfile.ReadError: It is damaged, or ends before its end: names the byte. `tarfile` itself
            takes a damaged header, and the end of the file between two members, for the end.
    """
    file = archive.fileobj
    assert file is not None
    try:
        yield from archive
    except tarfile.TarError as error:
        got = f"{error} at byte {archive.offset}"
        if archive.offset > size:
            got = f"truncated, expected {archive.offset} bytes or more, got {size}"
        raise tarfile.ReadError(got) from error
    file.seek(archive.offset)
    block = file.read(tarfile.BLOCKSIZE)
    if block != bytes(tarfile.BLOCKSIZE):
        got = "a damaged header" if block else "the end of the file"
        raise tarfile.ReadError(f"expected zeros at byte {archive.offset}, got {got}")


def _join_by_name(audio: dict[str, Any], records: dict[str, Any]) -> None:
    """Give recordings the records of another folder whose name is theirs and nobody else's."""
    alone: dict[str, list[str]] = defaultdict(list)
    for key in audio.keys() ^ records.keys():
        alone[PurePosixPath(key).name].append(key)
    for keys in alone.values():
        of_audio = [key for key in keys if key in audio]
        of_record = [key for key in keys if key in records]
        if len(of_audio) == len(of_record) == 1:
            records[of_audio[0]] = records.pop(of_record[0])


def _parsed(text: bytes) -> Any:
    """An object as JSON holds it, or the error in it as a text."""
    try:
        record = json_value(text.decode("utf-8-sig"))
        # NaN and infinity can be parsed, but neither listed nor put into a manifest.
        json_text(record)
    except (ValueError, RecursionError) as error:
        return f"not valid JSON ({error})"
    return record if isinstance(record, dict) else "expected an object, got another value"


def _clip(
    tar: Path, row: dict[str, Any], required: Sequence[str], defaults: dict[str, Any]
) -> Utterance | Skip:
    """The clip of a row, or the reason why it is none."""
    key = str(row["key"])
    record: Any = row.get("record")
    reason = row.get("error") or _wrong(record, required)
    if reason:
        return Skip(key, f"{tar}: {key}: {reason}")
    name = str(record.get("id") or f"{defaults['prefix']}/{key}")
    own = {
        field: value
        for field, value in record.items()
        if field not in _TAKEN and isinstance(value, str | int | float)
    }
    return Utterance(
        name,
        member_path(tar, row["offset"], row["name"]),
        (record.get("text") or "").strip(),
        # Without a speaker a clip is one of its own, so that no prompt comes from somebody else.
        record.get("speaker") or name,
        record.get("language") or record.get("lang") or defaults["lang"],
        "",
        defaults["extra"] | own,
    )


def _wrong(record: Any, required: Sequence[str]) -> str:
    """The error in a clip's .json, '' for none."""
    if isinstance(record, str):  # the parser's error
        return f"its .json: {record}"
    if record is None:
        return "has no .json"
    has = {name for name in (*EMILIA, "lang") if record.get(name) is not None}
    odd = [name for name in sorted(has) if not isinstance(record[name], str)]
    if odd:
        return f"its .json: expected a string as {', '.join(odd)}"
    # An empty text is one; an empty name is none.
    missing = [name for name in required if name not in has or not (record[name] or name == "text")]
    if missing:
        return f"its .json: expected {', '.join(required)}, lacks {', '.join(missing)}"
    return ""

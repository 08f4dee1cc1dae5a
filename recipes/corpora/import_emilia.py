"""Emilia's WebDataset tars: `<LANGUAGE>/<name>.tar` with an .mp3 and a .json for every clip.

Each .json has id, text, duration, speaker, language and dnsmos (https://arxiv.org/abs/2407.05361).
Audio is unpacked tar by tar; a tar that is done and has not changed since is not read again. lhotse
reads the older layout of loose files only.
"""

from __future__ import annotations

import functools
import json
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from codec.derived import digest_of, file_state
from codec.files import read_json, whole_folder, write_json
from codec.json_lines import read_json_lines, write_json_lines
from codec.workers import Workers

from .importing import AUDIO_FOLDER, Skip, Utterance

RECORDINGS = (".mp3", ".flac", ".wav", ".ogg", ".opus", ".m4a")
ROWS_NAME = "rows.jsonl"
# Digest of the tar that a folder was unpacked from.
ORIGIN_NAME = "origin.json"
_FIELDS = ("text", "speaker", "language")


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
    tars = sorted(folder.rglob("*.tar"))
    if not tars:
        raise ValueError(f"{folder}: expected WebDataset tars (*.tar) below it, found none")
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
    except (tarfile.TarError, EOFError) as error:
        return target, f"{tar}: not a whole tar ({error}); fetch it again"
    return target, ""


def _origin(target: Path) -> Any:
    """What `origin.json` of an unpacked tar holds; None where it is missing or damaged."""
    try:
        return read_json(target / ORIGIN_NAME)
    except (OSError, ValueError):
        return None


def _unpacked(tar: Path, folder: Path) -> list[dict[str, Any]]:
    """Write the recordings of a tar; returns for every key its record, or the error in it."""
    records: dict[str, Any] = {}
    audio: dict[str, str] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            # Only the name counts: whatever folders a tar states, all of it stays in this one.
            if path.suffix.lower() in RECORDINGS:
                with (folder / path.name).open("wb") as copy:
                    shutil.copyfileobj(file, copy)
                audio[path.stem] = path.name
            elif path.suffix == ".json":
                try:
                    records[path.stem] = json.loads(file.read())
                except ValueError as error:
                    records[path.stem] = f"not valid JSON ({error})"
    return [
        {"key": key, "audio": audio.get(key), "record": records.get(key)}
        for key in sorted(records.keys() | audio.keys())
    ]


def _listed(target: Path) -> Iterator[Utterance | Skip]:
    """The clips of an unpacked tar."""
    for row in read_json_lines(target / ROWS_NAME):
        key: str = row["key"]
        record: Any = row["record"]
        if row["audio"] is None:
            yield Skip(key, f"{target.name}: has no recording")
            continue
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

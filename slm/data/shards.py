"""Shards of a token store: three files and a marker each, written in any order, by one process.

`codes-NNNNN.u16` holds codes end to end, `codes-NNNNN.offsets.npy` (int64) one offset more than
items, `codes-NNNNN.rows.jsonl` one JSON object an item. `codes-NNNNN.done.json`, written last, has
the SHA-256 of each: a shard is there once its marker is. The caller's plan decides every byte of a
shard, not the order in which shards are finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec.checks import LARGEST, count, in_range, require
from codec.files import read_json, sha256_of, whole_file, write_json
from codec.files.json_lines import write_json_lines

FORMAT = "hh-slm token store 1"
HEADER = "store.json"
PROGRESS = "writer.json"
MARKER = "done.json"
PARTS = CODES, OFFSETS, ROWS = "u16", "offsets.npy", "rows.jsonl"


def shard_path(folder: Path, index: int, part: str) -> Path:
    """One file of a shard."""
    return folder / f"codes-{index:05d}.{part}"


def codec_names(fingerprints: str | Sequence[str]) -> Sequence[str]:
    """Fingerprints of a codec, of which one alone may be given."""
    return [fingerprints] if isinstance(fingerprints, str) else fingerprints


def check_fingerprint(folder: Path, stored: str, names: Sequence[str]) -> None:
    """Raise `ValueError` where a store is of a codec that has none of these fingerprints."""
    if stored not in names:
        raise ValueError(
            f"token store {folder} holds codes of codec {stored}, expected codec {names[0]}; "
            "encode the corpus again with this codec, into another folder"
        )


def check_codec(
    fingerprint: object, codebook_size: Any, frame_rate: Any, *, where: str = ""
) -> None:
    """Raise `ValueError` for properties that no codec has; `where` comes before the field."""
    is_name = isinstance(fingerprint, str) and bool(fingerprint)
    require(is_name, f"{where}codec_fingerprint", "a text", fingerprint)
    count(f"{where}codebook_size", codebook_size, 1)
    in_range(f"{where}codebook_size", codebook_size, 1, 65536)  # codes are stored as uint16
    in_range(f"{where}frame_rate", frame_rate, 0, LARGEST, ends="(]")


def read_header(path: Path) -> dict[str, Any]:
    """Read the checked header of a finished store.

    Raises:
        ValueError: It is not of this form; names the file and the field.
        OSError: It cannot be read.
    """
    header = read_json(path, required=())
    if header.get("format") != FORMAT:
        raise ValueError(f"expected {path} of format {FORMAT!r}, got {header.get('format')!r}")
    fields = (header.get(name) for name in ("codec_fingerprint", "codebook_size", "frame_rate"))
    check_codec(*fields, where=f"{path}: ")
    shards = header.get("shards")
    # A header is of a finished store: it has at least one shard.
    require(isinstance(shards, list) and bool(shards), f"{path}: shards", "a list", shards)
    for index, about in enumerate(shards):
        fits = isinstance(about, dict) and {"items", "codes"} <= set(about)
        require(fits, f"{path}: shards[{index}]", "a count of items and of codes", about)
        for key in ("items", "codes"):
            count(f"{path}: shards[{index}].{key}", about[key])
    return header


def check_store(folder: Path | str) -> None:
    """Read every shard of a finished store and compare it with its marker.

    Raises:
        ValueError: A shard has no marker, or a file of it is missing or not what was written.
    """
    folder = Path(folder)
    header = read_header(folder / HEADER)
    for index in range(len(header["shards"])):
        marker = read_marker(folder, index)
        damaged = PARTS if marker is None else damaged_parts(folder, index, marker)
        if damaged:
            names = ", ".join(shard_path(folder, index, part).name for part in damaged)
            raise ValueError(
                f"{folder}: expected the files that {shard_path(folder, index, MARKER).name} "
                f"lists, got others or none: {names}; encode that shard again"
            )


def read_marker(folder: Path, index: int) -> dict[str, Any] | None:
    """The marker of a shard, None where the shard was not finished."""
    try:
        return read_json(shard_path(folder, index, MARKER), required=())
    except FileNotFoundError:
        return None


def damaged_parts(folder: Path, index: int, marker: dict[str, Any]) -> list[str]:
    """Files of a shard that are missing or differ from its marker's checksums."""
    paths = {part: shard_path(folder, index, part) for part in PARTS}
    found = {part: sha256_of(path) if path.is_file() else None for part, path in paths.items()}
    return [part for part in PARTS if found[part] != marker["sha256"].get(part)]


class ShardWriter:
    """Writes shards of a token store in any order, and then the header that makes it readable.

    Args:
        folder: Made when missing; bound to the codec.
        codec_fingerprint: `HHCodec.code_fingerprint` of the codec that made the codes, or its
            `code_fingerprints`: a folder begun under any of them is continued under that one.
        codebook_size: Codes lie in [0, codebook_size), at most 65536.
        frame_rate: Codes a second, Hz.

    Raises:
        ValueError: The folder holds a store of another codec, or a property that no codec has.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        codec_fingerprint: str | Sequence[str],
        codebook_size: int,
        frame_rate: float,
    ) -> None:
        self._names = codec_names(codec_fingerprint)
        check_codec(self._names[0], codebook_size, frame_rate)
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._identity = {
            "format": FORMAT,
            "codec_fingerprint": self._names[0],
            "codebook_size": codebook_size,
            "frame_rate": float(frame_rate),
        }
        self._claim()

    def is_done(self, index: int, plan: str) -> bool:
        """True if a shard is there, of this plan, whole by its checksums and without bad files."""
        # Bad recordings may have been mended since, so their shard is made again.
        marker = read_marker(self.folder, index)
        # Another plan gave the shard other items: it is made again, too.
        if marker is None or marker.get("plan") != plan or marker.get("bad"):
            return False
        return not damaged_parts(self.folder, index, marker)

    def checked(self, codes: np.ndarray, item: str) -> np.ndarray:
        """Codes (L,) of an item as little-endian uint16.

        Raises:
            ValueError: They are no integers (L,) with L >= 1 in [0, codebook_size).
        """
        codes = np.asarray(codes)
        size = self._identity["codebook_size"]
        if codes.ndim != 1 or len(codes) == 0 or not np.issubdtype(codes.dtype, np.integer):
            shape = f"{codes.dtype} {codes.shape}"
            raise ValueError(f"expected integer codes (L,) with L >= 1 for {item!r}, got {shape}")
        if codes.min() < 0 or codes.max() >= size:
            span = f"[{codes.min()}, {codes.max()}]"
            raise ValueError(f"expected codes in [0, {size}) for {item!r}, got {span}")
        return codes.astype("<u2")  # little-endian on every machine

    def write(
        self,
        index: int,
        codes: Sequence[np.ndarray],
        rows: Sequence[dict[str, Any]],
        *,
        plan: str = "",
        bad: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Write one shard; an older one of this number is no longer there from the start on.

        Args:
            index: Number of the shard, 0 or more.
            codes: (L,) integers in [0, codebook_size) of each item; may be none at all.
            rows: JSON-able, as many, each with an `id`; `num_codes` is added.
            plan: Digest of the shard's plan, for `is_done`.
            bad: Items of this shard that could not be encoded, one JSON-able object each.

        Raises:
            ValueError: The codes do not fit.
        """
        checked = [self.checked(c, row["id"]) for c, row in zip(codes, rows, strict=True)]
        counts = [len(each) for each in checked]
        paths = {part: shard_path(self.folder, index, part) for part in (*PARTS, MARKER)}
        # Without its marker the shard is not there, whatever of it is written.
        paths[MARKER].unlink(missing_ok=True)
        with whole_file(paths[CODES]) as partial, partial.open("wb") as file:
            file.writelines(each.tobytes() for each in checked)
        with whole_file(paths[OFFSETS]) as partial, partial.open("wb") as file:
            np.save(file, np.cumsum([0, *counts], dtype=np.int64))
        numbered = zip(rows, counts, strict=True)
        write_json_lines(paths[ROWS], ({**row, "num_codes": n} for row, n in numbered))
        # Of what is on the disk, not of what was meant to be.
        sums = {part: sha256_of(paths[part]) for part in PARTS}
        about = {"items": len(rows), "codes": sum(counts), "sha256": sums}
        about |= {"plan": plan} if plan else {}
        about |= {"bad": list(bad)} if bad else {}
        write_json(paths[MARKER], about, indent=1)

    def close(self, num_shards: int) -> None:
        """Write the header of a store of shards 0 to `num_shards` - 1.

        Raises:
            ValueError: One of them is not there, or they hold no item at all.
        """
        shards = []
        for index in range(num_shards):
            marker = read_marker(self.folder, index)
            if marker is None:
                raise ValueError(f"expected shards 0 to {num_shards - 1}, {index} is missing")
            shards.append({"items": marker["items"], "codes": marker["codes"]})
        if not any(shard["items"] for shard in shards):
            raise ValueError(f"expected at least one item in token store {self.folder}, got none")
        write_json(self.folder / HEADER, {**self._identity, "shards": shards}, indent=1)

    def _claim(self) -> None:
        """Bind the folder to this codec, or check that it is bound to it."""
        path = self.folder / PROGRESS
        if not path.exists():
            write_json(path, self._identity, indent=1)
            return
        # Of a codec with several fingerprints the store keeps the one it was begun under.
        stored = read_json(path, required=("codec_fingerprint",))
        check_fingerprint(self.folder, stored["codec_fingerprint"], self._names)
        self._identity["codec_fingerprint"] = stored["codec_fingerprint"]
        if stored != self._identity:
            message = f"token store {self.folder} was begun as {stored}, got {self._identity}"
            raise ValueError(message)

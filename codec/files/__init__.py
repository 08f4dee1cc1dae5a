"""Files: names, reading without waiting, atomic writes, JSON documents and lines, digests."""

from __future__ import annotations

from .atomic import (
    flush,
    is_partial,
    replaced_files,
    whole_file,
    whole_folder,
    write_bytes,
    write_text,
)
from .digests import sha256_of
from .json_files import read_json, write_json
from .names import files_below

__all__ = [
    "files_below",
    "flush",
    "is_partial",
    "read_json",
    "replaced_files",
    "sha256_of",
    "whole_file",
    "whole_folder",
    "write_bytes",
    "write_json",
    "write_text",
]

"""Downloads that resume where they were cut off and are checked before anything uses them."""

from __future__ import annotations

import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from codec.error_text import message_of
from codec.files import flush, read_json, sha256_of, write_json
from codec.files.derived import digest_of, file_state

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60


class DownloadError(ValueError):
    """A download that broke off or has the wrong checksum, with what to do about it."""


def download(url: str, path: Path, sha256: str, *, attempts: int = 5) -> Path:
    """Fetch a file to `path`, unless it is there; bytes that arrived before a break are kept.

    Until it is whole and its checksum is right the file is called `<name>.part`.

    Args:
        url: Of the file.
        path: Destination.
        sha256: Checksum, 64 hex digits.
        attempts: Attempts at a broken transfer before this call gives up.

    Raises:
        DownloadError: The transfer kept breaking (`.part` stays and is resumed by the next call),
            or the whole file has another checksum (`.part` is deleted).
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    for attempt in range(1, attempts + 1):
        try:
            _fetch_rest(url, part)
            break
        except (urllib.error.URLError, HTTPException, OSError) as error:
            # Errors of the disk are raised; those of the connection are worth a new attempt, unless
            # the server has answered that it will not.
            of_network = isinstance(error, ConnectionError | TimeoutError | urllib.error.URLError)
            if isinstance(error, OSError) and error.errno is not None and not of_network:
                raise
            refused = isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500
            have = part.stat().st_size if part.exists() else 0
            if attempt == attempts or refused:
                raise DownloadError(
                    f"{url}: broke off after {have} bytes ({message_of(error)}); run the same "
                    f"command again, it goes on from {part}"
                ) from error
    found = sha256_of(part)
    if found != sha256:
        part.unlink()
        raise DownloadError(
            f"{url}: expected SHA-256 {sha256}, got {found}; the download was deleted, run the "
            "same command again"
        )
    flush(part)
    part.rename(path)
    return path


def unpack(archive: Path, folder: Path, member: str) -> Path:
    """Unpack one folder of a tar archive as `folder / member`, which appears only when whole.

    Args:
        archive: `.tar`, `.tar.gz` or `.tar.bz2`.
        folder: Destination of `member`.
        member: Path of the folder inside the archive, such as `LibriTTS/dev-clean`.

    Raises:
        DownloadError: The archive is broken or has no such folder, or the folder is there and was
            unpacked from the archive as it was before a change.
    """
    target = folder / member
    note = target.with_name(f".{target.name}.origin.json")
    # By its name alone, so that both can be moved.
    origin = {"archive": digest_of(archive.name, file_state(archive)[1:])}
    if target.is_dir():
        # A folder of other hands, or of an earlier version, has no note.
        if archive.is_file() and note.is_file() and read_json(note) != origin:
            raise DownloadError(
                f"{target}: expected what {archive} holds, got a folder unpacked from it before it "
                "changed; delete the folder"
            )
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as temporary:
        try:
            with tarfile.open(archive) as tar:
                for entry in tqdm(tar, desc=f"  {archive.name}", unit=" files", file=sys.stderr):
                    tar.extract(entry, temporary, filter="data")
        except (tarfile.TarError, EOFError) as error:
            raise DownloadError(f"{archive}: not a whole tar archive ({error})") from error
        if not (Path(temporary) / member).is_dir():
            raise DownloadError(f"{archive}: expected the folder {member} inside, found none")
        write_json(note, origin)
        # The temporary folder lies on the same disk.
        (Path(temporary) / member).rename(target)
    return target


def _fetch_rest(url: str, part: Path) -> None:
    """Append the missing bytes of a file, or begin anew with a server that ignores ranges."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        # 416: there is nothing after these bytes; the checksum tells whether they are the file.
        if error.code == 416:
            return
        raise
    with response:
        # 206: the server goes on from where `part` ends; else it sends the whole file.
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        start = have if resumed else 0
        total = None if length is None else start + int(length)
        bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, file=sys.stderr)
        with part.open("ab" if resumed else "wb") as file, bar:
            bar.set_description(f"  {part.name.removesuffix('.part')}")
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
    size = part.stat().st_size
    if total is not None and size < total:
        raise HTTPException(f"the connection closed at {size} of {total} bytes")

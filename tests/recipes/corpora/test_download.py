from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recipes.corpora.download import DownloadError, download, unpack

CONTENT = bytes(range(256)) * 8192
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT on 127.0.0.1; breaks off after `breaks[0]` bytes, then `breaks[1]`, ..."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.breaks: list[int] = []
        self.ranges: list[str | None] = []
        self.knows_ranges = True
        self.status: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/corpus.tar"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = 0
        if asked and self.server.knows_ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        status = self.server.status or (206 if start else 200)
        if start >= len(CONTENT):
            status = 416
        if status >= 400:
            self.send_error(status)
            return
        body = CONTENT[start:]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.breaks:
            body = body[: self.server.breaks.pop(0)]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def test_a_download_is_whole_and_not_repeated(server: Server, tmp_path: Path) -> None:
    path = download(server.url, tmp_path / "corpora" / "corpus.tar", SHA256)
    assert path.read_bytes() == CONTENT
    download(server.url, path, SHA256)
    assert server.ranges == [None]


def test_a_broken_transfer_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.breaks = [300_000, 700_000]
    path = download(server.url, tmp_path / "corpus.tar", SHA256)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-", "bytes=1000000-"]


def test_what_arrived_before_giving_up_is_kept_for_the_next_call(
    server: Server, tmp_path: Path
) -> None:
    server.breaks = [500_000, 0]
    path = tmp_path / "corpus.tar"
    with pytest.raises(DownloadError, match=r"broke off after 500000 bytes.*same command again"):
        download(server.url, path, SHA256, attempts=2)
    assert not path.exists()
    assert download(server.url, path, SHA256).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=500000-"


def test_a_server_without_ranges_is_asked_from_the_start(server: Server, tmp_path: Path) -> None:
    server.breaks, server.knows_ranges = [300_000], False
    assert download(server.url, tmp_path / "corpus.tar", SHA256).read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_only_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "corpus.tar.part").write_bytes(CONTENT)
    assert download(server.url, tmp_path / "corpus.tar", SHA256).read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"expected SHA-256 {'0' * 64}, got {SHA256}"):
        download(server.url, tmp_path / "corpus.tar", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(DownloadError, match="404"):
        download(server.url, tmp_path / "corpus.tar", SHA256)
    assert len(server.ranges) == 1


def make_archive(path: Path, member: str, cut: int | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in ("a.wav", "b.wav"):
            entry = tarfile.TarInfo(f"{member}/{name}")
            entry.size = len(CONTENT)
            tar.addfile(entry, io.BytesIO(CONTENT))
    if cut:
        path.write_bytes(path.read_bytes()[:cut])
    return path


def test_an_archive_is_unpacked_whole(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "x.tar.gz", "Corpus/part")
    folder = unpack(archive, tmp_path, "Corpus/part")
    assert sorted(path.name for path in folder.iterdir()) == ["a.wav", "b.wav"]
    assert (folder / "b.wav").read_bytes() == CONTENT
    assert unpack(archive, tmp_path, "Corpus/part") == folder
    # Another archive of the same name, and then none.
    os.utime(archive, (1e9, 1e9))
    with pytest.raises(DownloadError, match="unpacked from it before it changed"):
        unpack(archive, tmp_path, "Corpus/part")
    archive.unlink()
    assert unpack(archive, tmp_path, "Corpus/part") == folder


@pytest.mark.parametrize(("member", "cut"), [("Corpus/part", 2000), ("Corpus/other", None)])
def test_a_broken_archive_leaves_no_folder(tmp_path: Path, member: str, cut: int | None) -> None:
    archive = make_archive(tmp_path / "x.tar.gz", "Corpus/part", cut)
    with pytest.raises(DownloadError, match=r"x\.tar\.gz"):
        unpack(archive, tmp_path, member)
    assert not (tmp_path / member).exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

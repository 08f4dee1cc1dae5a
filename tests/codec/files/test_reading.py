from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from codec.files import read_json, sha256_of, whole_file, write_text
from codec.files.json_lines import append_json_line, appending, read_json_lines
from codec.files.reading import NotAFileError, open_file, read_file

pytestmark = pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="needs pipes of POSIX")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_a_file_is_read_and_a_missing_one_and_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link") == b"content"
    for name in ("none", ""):
        with pytest.raises(OSError, match=str(tmp_path)):
            open_file(tmp_path / name)


@pytest.mark.parametrize("read", [read_file, read_json, read_json_lines, sha256_of])
def test_a_named_pipe_is_refused_and_not_waited_for(
    read: Callable[[Path], object], pipe: Path
) -> None:
    with pytest.raises(NotAFileError) as caught:
        read(pipe)
    assert str(caught.value) == f"{pipe}: expected a file, got a named pipe"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_socket_and_a_device_without_an_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(NotAFileError, match="socket: expected a file, got a socket"):
            open_file("socket")
    with pytest.raises(NotAFileError, match="/dev/zero: expected a file, got a device"):
        open_file("/dev/zero")
    assert read_file(os.devnull) == b""


def test_what_the_process_was_given_open_is_read_once() -> None:
    code = (
        "import sys\nfrom codec.files.reading import read_file\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        print(read_file(path))\n    except ValueError as error:\n"
        "        print(error)\n"
    )
    read, write = os.pipe()
    os.write(write, b"other")
    os.close(write)
    other = f"/dev/fd/{read}"
    done = subprocess.run(
        [sys.executable, "-c", code, "/dev/stdin", other, other],
        input=b"text",
        stdout=subprocess.PIPE,
        pass_fds=[read],
        check=True,
        cwd=ROOT,
    )
    os.close(read)
    assert done.stdout.decode().split("\n") == [
        "b'text'",
        "b'other'",
        f"{other}: expected a file, got a pipe that was read already, and can be read once",
        "",
    ]


def test_a_pipe_or_a_device_is_not_replaced(pipe: Path, tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to(os.devnull)
    for path in (pipe, tmp_path / "null"):
        with pytest.raises(NotAFileError, match="expected a file, got a"), whole_file(path):
            pass
        with pytest.raises(NotAFileError, match="expected a file, got a"), appending(path):
            pass
        with pytest.raises(NotAFileError, match="expected a file, got a"):
            append_json_line(path, {})
    assert pipe.is_fifo()
    assert (tmp_path / "null").is_symlink()
    (tmp_path / "lost").symlink_to("none")
    assert write_text(tmp_path / "lost", "text").read_text() == "text"

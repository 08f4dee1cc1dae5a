"""Folders in object storage, in memory, on disk and on an S3 server of this machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from slm.data.token_store import TokenStore, TokenStoreWriter
from slm.storage.sync import StorageError, local_copy, pull, push
from tests.support.builders import free_port


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The URL of a bucket on a server of this machine."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    boto = pytest.importorskip("botocore.session")
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    settings = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stderr=subprocess.DEVNULL
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(endpoint, timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            client = boto.get_session().create_client("s3")
            client.create_bucket(Bucket="speech")
            client.close()
            yield "s3://speech"
        finally:
            server.terminate()
            server.wait()


@pytest.fixture(params=["memory", "file", pytest.param("s3", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of every kind of storage."""
    if request.param == "memory":
        return f"memory://{tmp_path.name}"
    if request.param == "file":
        return f"file://{tmp_path}/remote"
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}"


def make_folder(folder: Path) -> Path:
    (folder / "part").mkdir(parents=True)
    (folder / "a.txt").write_text("first")
    (folder / "part" / "b.bin").write_bytes(bytes(range(256)) * 40)
    (folder / ".c.partial").write_text("unfinished")
    (folder / "d.tmp").write_text("unfinished")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def objects(url: str) -> list[str]:
    files, root = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    return sorted(path.removeprefix(root).strip("/") for path in files.find(root))


def test_what_was_pushed_is_pulled(url: str, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "source")
    done = push(source, url, progress=False)
    assert (done.moved, done.bytes) == (2, 5 + 10_240)
    assert pull(url, tmp_path / "copy", progress=False).moved == 2
    assert contents(tmp_path / "copy") == {
        "a.txt": b"first",
        "part/b.bin": bytes(range(256)) * 40,
    }


def test_only_what_changed_moves(url: str, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "source")
    push(source, url, progress=False)
    pull(url, tmp_path / "copy", progress=False)
    (source / "a.txt").write_text("second")
    (source / "new.txt").write_text("new")
    assert push(source, url, progress=False).moved == 2
    done = pull(url, tmp_path / "copy", progress=False)
    assert (done.moved, done.kept) == (2, 1)
    assert contents(tmp_path / "copy")["a.txt"] == b"second"
    # The object that held the first version is gone, and nothing else is left behind.
    digest = hashlib.sha256(b"second").hexdigest()[:12]
    assert objects(url) == [f"a.txt.{digest}", "files.json", "new.txt", "part/b.bin"]


def test_a_push_that_was_cut_off_changes_nothing_for_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All objects are put before the index, and never over one that the index names."""
    url = f"memory://{tmp_path.name}"
    source = make_folder(tmp_path / "source")
    push(source, url, progress=False)
    (source / "a.txt").write_text("second")

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("slm.storage.remote_folder.RemoteFolder.put_index", fail)
        with pytest.raises(KeyboardInterrupt):
            push(source, url, progress=False)
    pull(url, tmp_path / "copy", progress=False)
    assert contents(tmp_path / "copy")["a.txt"] == b"first"
    push(source, url, progress=False)
    pull(url, tmp_path / "copy", progress=False)
    assert contents(tmp_path / "copy")["a.txt"] == b"second"


def test_files_that_are_only_there_stay(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    push(make_folder(tmp_path / "source"), url, progress=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "more.txt").write_text("more")
    push(tmp_path / "other", url, progress=False)
    pull(url, tmp_path / "copy", progress=False)
    assert sorted(contents(tmp_path / "copy")) == ["a.txt", "more.txt", "part/b.bin"]


def test_left_out_paths_are_not_pushed(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    assert push(make_folder(tmp_path / "s"), url, skip=["part/*"], progress=False).moved == 1


def test_a_damaged_object_is_refused_and_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    source = make_folder(tmp_path / "source")
    push(source, url, progress=False)
    files, root = fsspec.core.url_to_fs(url)
    files.pipe_file(f"{root}/a.txt", b"f1rst")
    with pytest.raises(StorageError, match=r"a\.txt: expected SHA-256"):
        pull(url, tmp_path / "copy", progress=False)
    assert "a.txt" not in contents(tmp_path / "copy")
    assert not [path for path in (tmp_path / "copy").iterdir() if path.name.startswith(".a")]


def test_a_local_file_that_was_changed_is_fetched_again(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    push(make_folder(tmp_path / "source"), url, progress=False)
    pull(url, tmp_path / "copy", progress=False)
    (tmp_path / "copy" / "a.txt").write_text("wrong")
    assert pull(url, tmp_path / "copy", progress=False).moved == 1
    assert contents(tmp_path / "copy")["a.txt"] == b"first"


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("memory://nothing-was-pushed", r"expected a folder with files\.json"),
        ("nonsense://bucket", "expected a URL that fsspec can open"),
    ],
)
def test_a_place_without_a_folder_says_what_was_expected(
    tmp_path: Path, url: str, part: str
) -> None:
    with pytest.raises(StorageError, match=part):
        pull(url, tmp_path, progress=False)


def write_store(folder: Path, shift: int = 0) -> Path:
    writer = TokenStoreWriter(
        folder, codec_fingerprint="c", codebook_size=64, frame_rate=23.4375, shard_codes=30
    )
    for item in range(6):
        writer.add((np.arange(20) + item + shift) % 64, {"id": f"u{item}", "text": ""})
    writer.close()
    return folder


def test_a_token_store_opens_from_a_url(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HH_SLM_CACHE", str(tmp_path / "cache"))
    push(write_store(tmp_path / "store"), url, progress=False)
    store = TokenStore(url, "c")
    assert store.codes(4).tolist() == [(4 + i) % 64 for i in range(20)]
    assert store.folder.parent == tmp_path / "cache"
    shard = store.folder / "codes-00001.u16"
    shard.write_bytes(shard.read_bytes()[:-4])
    assert TokenStore(url).codes(2).tolist() == [(2 + i) % 64 for i in range(20)]


def test_a_folder_is_its_own_local_copy(tmp_path: Path) -> None:
    assert local_copy(tmp_path) == tmp_path
    assert local_copy(str(tmp_path)) == tmp_path
    assert os.listdir(tmp_path) == []


def test_files_of_linked_folders_are_pushed(tmp_path: Path) -> None:
    """A corpus whose recordings lay on another disk arrived without them, and nothing was said."""
    url = f"memory://{tmp_path.name}"
    make_folder(tmp_path / "elsewhere")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "s" / "itself").symlink_to(tmp_path / "s", target_is_directory=True)
    assert push(tmp_path / "s", url, progress=False).moved == 2
    pull(url, tmp_path / "copy", progress=False)
    assert sorted(contents(tmp_path / "copy")) == ["linked/a.txt", "linked/part/b.bin"]


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_is_no_file_is_refused_by_its_name(tmp_path: Path, kind: str) -> None:
    folder = make_folder(tmp_path / "s")
    if kind == "pipe":
        os.mkfifo(folder / "wrong")
    else:
        (folder / "wrong").symlink_to(tmp_path / "gone")
    with pytest.raises(OSError, match="wrong"):
        push(folder, f"memory://{tmp_path.name}", progress=False)
    # What is left out by its name may be anything.
    assert push(folder, f"memory://{tmp_path.name}", skip=["wrong"], progress=False).moved == 2

"""Locations lead to files, members of tars and parts; a member that moved is noticed."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from codec.files.derived import file_state
from codec.files.locations import (
    Part,
    TarMemberError,
    file_of,
    is_member,
    member_path,
    opened_bytes,
    part_path,
    read_bytes,
    split_part,
)
from tests.support.tars import locations, write_tar

CONTENTS = {"a.bin": b"first" * 300, "x/b.bin": b"second", f"long/{'n' * 200}.bin": b"third"}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_member_is_read_as_the_file_that_was_packed(tmp_path: Path, form: int) -> None:
    found = locations(write_tar(tmp_path / "some.tar", CONTENTS, form=form))
    assert {name: read_bytes(path) for name, path in found.items()} == CONTENTS
    assert found["x/b.bin"].suffix == ".bin"
    with opened_bytes(found["a.bin"]) as file:
        file.seek(5)
        assert file.read(7) == b"firstfi"
        assert file.seek(0, os.SEEK_END) == 1500


def test_paths_of_members_are_told_from_paths_of_files() -> None:
    member = member_path(Path("/data/a.tar:1:x/b.TAR"), 512, "folder/c:2:d.wav")
    assert (file_of(member), is_member(member)) == (Path("/data/a.tar:1:x/b.TAR"), True)
    for name in ("/data/a.tar", "a.tar:x:b.wav", "a.tar:5:b/c.wav", "clip 10:30:05.wav"):
        assert (file_of(name), is_member(name)) == (Path(name), False)


def test_a_member_that_is_not_where_it_was_is_refused(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "some.tar", CONTENTS)
    found = locations(tar)["x/b.bin"]
    os.utime(tar, ns=(1, 1))
    before = file_state(found)
    names = ["x/b.bin", "a.bin", *list(CONTENTS)[2:]]
    write_tar(tar, {name: CONTENTS[name] for name in names})
    assert file_state(found) != before
    with pytest.raises(TarMemberError, match=r"expected b\.bin at byte \d+, got .*has changed"):
        read_bytes(found)


def test_a_tar_that_ends_within_a_member_is_refused(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "some.tar", {"a.bin": bytes(2000)})
    found = locations(tar)["a.bin"]
    tar.write_bytes(tar.read_bytes()[:1024])
    with pytest.raises(TarMemberError, match="expected a tar of 2512 bytes or more, got 1024"):
        read_bytes(found)


def test_what_is_no_plain_member_is_refused(tmp_path: Path) -> None:
    tar = tmp_path / "some.tar"
    with tarfile.open(tar, "w") as archive:
        link = tarfile.TarInfo("a.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("b.bin"), io.BytesIO())
    with pytest.raises(TarMemberError, match=r"a\.bin"):
        read_bytes(member_path(tar, 0, "a.bin"))
    with pytest.raises(TarMemberError, match="got none"):
        read_bytes(member_path(tar, 100, "b.bin"))
    with pytest.raises(TarMemberError, match="got none"):
        read_bytes(member_path(tar, 10**9, "b.bin"))
    assert read_bytes(member_path(tar, 512, "b.bin")) == b""


@pytest.mark.parametrize(
    ("part", "fragment"),
    [
        (Part(0.5, 1.25), "t=0.5,1.25"),
        (Part(3.0), "t=3"),
        (Part(0.0, 1e-7, 2), "t=0,0.0000001&channel=2"),
    ],
)
def test_a_part_is_named_and_found_again(part: Part, fragment: str) -> None:
    for recording in (Path("/data/a#b.wav"), Path("/data/a.tar:512:b.wav")):
        path = part_path(recording, part)
        assert path.name == f"{recording.name}#{fragment}"
        assert split_part(path) == (recording, part)
    assert file_of(path) == Path("/data/a.tar")
    assert split_part("a.wav#channel=1") == (Path("a.wav"), Part(channel=1))
    assert split_part("take #t.wav") == (Path("take #t.wav"), None)


@pytest.mark.parametrize("times", [(-1.0, 2.0), (0.0, float("inf")), (float("nan"), None)])
def test_times_that_no_part_can_have_are_refused(times: tuple[float, float | None]) -> None:
    with pytest.raises(ValueError, match=r"a\.wav: expected times and a channel of 0 or more"):
        part_path(Path("a.wav"), Part(*times))
    with pytest.raises(ValueError, match="expected times and a channel"):
        part_path(Path("a.wav"), Part(3.0, 1.0))
    with pytest.raises(ValueError, match="a whole recording, got a part of one"):
        part_path(Path("a.wav#t=1,2"), Part(0.5))


def test_a_byte_beyond_any_file_names_no_member() -> None:
    assert not is_member(Path(f"a.tar:{10**20}:b.wav"))

"""Files and folders that appear only when whole."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codec.files import (
    atomic,
    is_partial,
    replaced_files,
    whole_file,
    whole_folder,
    write_bytes,
    write_text,
)
from tests.support.refusing_disks import full_disk, needs_limits

ROOT = Path(__file__).parents[3]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with whole_file(path) as partial:
        partial.write_text("one")
        assert not path.exists()
        assert partial.parent == path.parent
    assert path.read_text() == "one"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes of Unix")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_mode_of_any_new_file(tmp_path, umask, mode):
    path, before = tmp_path / "a.bin", os.umask(umask)

    def make_private(path: Path) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))

    try:
        with whole_file(path) as partial:
            partial.unlink()  # as a library does that puts a private file in its place
            make_private(partial)
        for writing in (whole_folder(tmp_path / "new"), replaced_files(tmp_path / "old", "b/a")):
            with writing as partial:
                (partial / "b").mkdir()
                make_private(partial / "b/a")
    finally:
        os.umask(before)
    for made in (path, tmp_path / "new/b/a", tmp_path / "old/b/a"):
        assert made.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_what_goes_wrong_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = write_text(tmp_path / "a.txt", "old")

    def interrupted() -> None:
        with whole_file(path) as partial:
            partial.write_text("ne")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_text(tmp_path / "a.txt", "old")

    def full_disk(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr("codec.files.atomic.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_names_may_be_as_long_as_the_disk_allows(tmp_path):
    """The place to write to was once named after the file, and so longer than a name may be."""
    path = write_text(tmp_path / ("ü" * 120 + ".wav"), "x")
    assert path.is_file()


def test_no_walk_takes_a_file_in_the_making_for_data(tmp_path):
    """It once ended in the suffix of the file, and so was a recording to who lists recordings."""
    with whole_file(tmp_path / "a.wav") as partial:
        assert list(tmp_path.rglob("*.wav")) == []
        assert partial.suffix == ".partial"
        assert partial.name.startswith(".a.wav.")
        assert is_partial(partial)
    assert not is_partial(tmp_path / "a.wav")
    assert is_partial(tmp_path / ".train.partial" / "a.wav")
    assert not is_partial(tmp_path / "a.partial")
    assert not is_partial(tmp_path / ".hidden")


KILLED = """
import os, sys
from codec.files import whole_file, whole_folder
with whole_file(sys.argv[1] + "/a.txt") as partial, whole_folder(sys.argv[1] + "/b") as folder:
    partial.write_text("half")
    (folder / "c.txt").write_text("half")
    os._exit(9)
"""


def leave_litter(folder: Path) -> list[str]:
    """What a process leaves that is killed while it writes a file and a folder."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT, check=False)
    assert done.returncode == 9
    return names(folder)


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    litter = leave_litter(tmp_path)
    assert len(litter) == 2
    assert all(map(is_partial, litter))
    atomic._swept.clear()  # as in a new process
    write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == ["a.txt"]


def test_what_others_are_writing_is_left_alone(tmp_path):
    atomic._swept.clear()
    with whole_file(tmp_path / "a.txt") as first:
        first.write_text("first")
        atomic._swept.clear()
        write_text(tmp_path / "a.txt", "second")
        assert first.exists()
    assert (tmp_path / "a.txt").read_text() == "first"


def test_what_another_machine_left_is_removed_when_it_was_long_untouched(tmp_path):
    old, new = (tmp_path / f".a.txt.00000000-1-0000000{each}.partial" for each in "12")
    for path in (old, new):
        path.write_text("half")
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    foreign = tmp_path / ".notes.partial"
    foreign.write_text("somebody else's name")
    atomic._swept.clear()
    write_text(tmp_path / "b.txt", "whole")
    assert names(tmp_path) == sorted([new.name, foreign.name, "b.txt"])


def test_a_folder_appears_with_all_that_is_in_it(tmp_path):
    path = tmp_path / "new" / "corpus"
    with whole_folder(path) as partial:
        (partial / "inside").mkdir()
        (partial / "inside" / "a.txt").write_text("one")
        (partial / "link").symlink_to("nowhere")
        assert not path.exists()
    assert (path / "inside" / "a.txt").read_text() == "one"
    assert names(path.parent) == ["corpus"]


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    def interrupted() -> None:
        with whole_folder(tmp_path / "a") as partial:
            (partial / "a.txt").write_text("one")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


def test_a_folder_that_is_there_is_not_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    with (
        pytest.raises(FileExistsError, match="expected a new folder"),
        whole_folder(tmp_path / "a"),
    ):
        pass
    assert names(tmp_path) == ["a"]


def test_text_is_written_as_it_is(tmp_path):
    assert write_text(tmp_path / "a.txt", "ä\n\u2028\r\n").read_bytes() == "ä\n\u2028\r\n".encode()
    assert write_bytes(tmp_path / "b", b"\0\n").read_bytes() == b"\0\n"


def test_files_that_belong_together_replace_an_earlier_making_at_once(tmp_path):
    for name in ("config", "weights", "voices", "card"):
        write_text(tmp_path / name, "old")

    def save(content, fail=None):
        with replaced_files(tmp_path, "weights", without=["voices"]) as partial:
            write_text(partial / "config", content)
            write_text(partial / "deeper" / "lexicon", content)
            assert (tmp_path / "config").read_text() == "old"
            if fail is not None:
                raise fail
            write_text(partial / "weights", content)

    with pytest.raises(OSError, match="full"):
        save("new", fail=OSError("full"))
    assert names(tmp_path) == ["card", "config", "voices", "weights"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"old"}

    save("new")
    found = {name: (tmp_path / name).read_text() for name in names(tmp_path) if name != "deeper"}
    assert found == {"card": "old", "config": "new", "weights": "new"}
    assert (tmp_path / "deeper" / "lexicon").read_text() == "new"


_KILLED_AT = """
import os, signal, sys
from pathlib import Path
from codec.files import replaced_files, write_text

folder, steps = Path(sys.argv[1]), int(sys.argv[2])

def counted(call):
    def stopped(*arguments, **options):
        global steps
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        steps -= 1
        return call(*arguments, **options)
    return stopped

os.replace = counted(os.replace)
os.unlink = counted(os.unlink)
os.rename = counted(os.rename)
Path.unlink = counted(Path.unlink)
with replaced_files(folder, "weights", without=["voices"]) as partial:
    for name in ("config", "lexicon", "weights"):
        write_text(partial / name, "new")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_a_kill_at_any_moment_mixes_no_files_of_two_makings(tmp_path):
    seen = set()
    for steps in range(30):
        folder = tmp_path / str(steps)
        folder.mkdir()
        for name in ("config", "lexicon", "voices", "weights"):
            write_text(folder / name, "old")
        command = [sys.executable, "-c", _KILLED_AT, str(folder), str(steps)]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        found = {p.name: p.read_text() for p in folder.iterdir() if p.is_file()}
        # With the weights there, all is of one making.
        if "weights" in found:
            assert len(set(found.values())) == 1, (steps, found)
        seen.add(found.get("weights", "none"))
        if status == 0:
            break
    else:
        pytest.fail("the writer never came to its end")
    assert seen == {"old", "none", "new"}
    assert found == {"config": "new", "lexicon": "new", "weights": "new"}


@needs_limits
def test_a_write_that_is_refused_names_the_file(tmp_path):
    def written() -> None:
        with whole_file(tmp_path / "a.bin") as partial, partial.open("wb") as file:
            file.write(bytes(10_000))

    with full_disk(1000), pytest.raises(OSError, match=r"too large: '.*a\.bin'"):
        written()
    assert not names(tmp_path)


def test_what_is_in_the_way_is_told_by_the_name_that_was_given(tmp_path):
    def written() -> None:
        with whole_file(tmp_path / "a.wav") as partial:
            partial.write_bytes(b"a")

    (tmp_path / "a.wav").mkdir()
    with pytest.raises(IsADirectoryError) as found:
        written()
    assert (found.value.filename, found.value.filename2) == (str(tmp_path / "a.wav"), None)

    def filled() -> None:
        with whole_folder(tmp_path / "model") as partial:
            (partial / "deep" / "a.bin").write_bytes(b"a")

    with pytest.raises(FileNotFoundError) as missing:
        filled()
    assert missing.value.filename == str(tmp_path / "model" / "deep" / "a.bin")
    assert names(tmp_path) == ["a.wav"]

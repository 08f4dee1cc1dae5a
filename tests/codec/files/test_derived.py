"""Digests of what derived files were made from."""

from __future__ import annotations

import os
from pathlib import Path

from codec.files.derived import Origins, digest_of, file_state, is_younger


def test_a_file_is_current_until_what_it_was_made_from_changes(tmp_path: Path) -> None:
    source, made = tmp_path / "source", tmp_path / "folder" / "made"
    source.write_text("one")
    made.parent.mkdir()
    made.write_text("ONE")
    origins = Origins(tmp_path / "folder" / "origins.jsonl")
    first = digest_of(file_state(source), 0.5)
    assert not origins.is_current(made, first)
    origins.note(made, first)
    assert Origins(origins.path).is_current(made, first)
    assert not origins.is_current(made, digest_of(file_state(source), 0.25))
    source.write_text("three")
    assert not origins.is_current(made, digest_of(file_state(source), 0.5))
    made.unlink()
    assert not origins.is_current(made, first)


def test_a_file_that_is_about_to_be_made_anew_has_no_digest_after_a_kill(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.write_text("ONE")
    origins = Origins(tmp_path / "origins.jsonl")
    origins.note(made, "first")
    origins.forget([made, tmp_path / "other"])
    assert not Origins(origins.path).is_current(made, "first")


def test_the_log_moves_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "made").write_text("ONE")
    Origins(tmp_path / "before" / "origins.jsonl").note(tmp_path / "before" / "made", "digest")
    (tmp_path / "before").rename(tmp_path / "after")
    moved = Origins(tmp_path / "after" / "origins.jsonl")
    assert moved.is_current(tmp_path / "after" / "made", "digest")


def test_a_new_log_takes_over_what_is_there_and_an_old_one_does_not(tmp_path: Path) -> None:
    kept, anew, later = tmp_path / "kept", tmp_path / "anew", tmp_path / "later"
    for file in (kept, anew, later):
        file.write_text("ONE")
    log = tmp_path / "logs" / "origins.jsonl"
    Origins(log).begin({kept: "digest"}, [anew])
    assert Origins(log).is_current(kept, "digest")
    assert not Origins(log).is_current(anew, "digest")
    Origins(log).begin({later: "digest"}, [kept])
    assert not Origins(log).is_current(later, "digest")
    assert not Origins(log).is_current(kept, "digest")


def test_a_file_is_younger_than_a_source_that_has_not_changed_since(tmp_path: Path) -> None:
    source, made = tmp_path / "source", tmp_path / "made"
    source.touch()
    assert not is_younger(made, source)
    made.touch()
    os.utime(source, ns=(0, 2_000))
    os.utime(made, ns=(0, 2_000))
    assert is_younger(made, source)
    os.utime(source, ns=(0, 3_000))
    assert not is_younger(made, source)

"""Rows that cannot be imported are listed, and the rest of the corpus is imported."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from codec.audio import read_audio
from recipes.corpora.importing import Skip, Utterance, import_utterances
from recipes.corpora.manifest import CorpusRow, read_manifest
from recipes.import_corpus import main
from tests.support.tars import write_tar

Imported = tuple[list[CorpusRow], dict[str, str]]


@pytest.fixture
def sound(make_waveform: Callable[..., np.ndarray]) -> bytes:
    """A FLAC file of half a second."""
    file = io.BytesIO()
    soundfile.write(file, make_waveform(0.5), 24_000, format="FLAC")
    return file.getvalue()


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Imported]:
    """`imported(kind, folder)`: rows, and reasons of what was skipped by id."""

    def run(kind: str, folder: Path, *options: str) -> Imported:
        output = tmp_path / "imported"
        assert main([kind, str(folder), "-o", str(output), *options]) == 0
        lines = (output / "skipped.jsonl").read_text("utf-8").split("\n")[:-1]
        skips = {each["id"]: each["reason"] for each in map(json.loads, lines)}
        return read_manifest(output / "manifest.jsonl"), skips

    return run


def record(name: str, **fields: Any) -> bytes:
    about = {"id": name, "text": "hello", "speaker": "s", "language": "en"} | fields
    return json.dumps(about).encode()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad", b"[" * 100_000, "not valid JSON"),
        ("bad", b"\xff\xfe", "not valid JSON"),
        ("bad", record("bad", dnsmos=float("nan")), "not valid JSON"),
        ("bad", b'{"id": "bad", "n": ' + b"1" * 5000 + b"}", "not valid JSON"),
        ("bad", record("../../../evil"), "no file can be named"),
        ("bad", record("/etc/evil"), "no file can be named"),
        ("bad", record("x" * 300), "no file can be named"),
        ("bad", record("a\0b"), "no file can be named"),
        ("bad", record("\ud800"), "no file can be named"),
        ("x" * 300, record("long"), "at most"),
    ],
)
def test_one_bad_clip_of_a_tar_is_listed(
    tmp_path: Path,
    sound: bytes,
    imported: Callable[..., Imported],
    name: str,
    content: bytes,
    reason: str,
) -> None:
    members = [("ok.flac", sound), ("ok.json", record("ok"))]
    members += [(f"{name}.flac", sound), (f"{name}.json", content)]
    write_tar(tmp_path / "tars" / "a.tar", members)
    rows, skips = imported("emilia", tmp_path / "tars")
    assert [row.id for row in rows] == ["ok"]
    assert any(reason in each for each in skips.values())


def test_clips_that_differ_by_case_alone_are_one_and_listed(
    tmp_path: Path, sound: bytes, imported: Callable[..., Imported]
) -> None:
    members = [("1.flac", sound), ("1.json", record("a")), ("2.flac", sound)]
    write_tar(tmp_path / "tars" / "a.tar", [*members, ("2.json", record("A"))])
    rows, skips = imported("emilia", tmp_path / "tars")
    assert [row.id for row in rows] == ["a"]
    assert "but for its case: 'a'" in skips["A"]


def test_damaged_and_compressed_tars_are_listed_and_the_others_read(
    tmp_path: Path, sound: bytes, imported: Callable[..., Imported]
) -> None:
    tars = tmp_path / "tars"
    members = [("ok.flac", sound), ("ok.json", record("ok"))]
    whole = write_tar(tars / "whole.tar", members).read_bytes()
    for kind in ("gz", "bz2", "xz"):
        write_tar(tars / f"{kind}.tar.{kind}", members, f"w:{kind}")
    write_tar(tars / "named.tar", members, "w:gz")
    (tars / "cut.tar").write_bytes(whole[: len(sound) // 2])
    (tars / "text.tar").write_bytes(b"hello" * 1000)
    (tars / "gone.tar").symlink_to(tars / "nowhere.tar")
    # A folder of the name of a tar, with a tar in it.
    inside = [("in.flac", sound), ("in.json", record("in"))]
    write_tar(tars / "folder.tar" / "b.tar", inside)
    # A header damaged in the middle, and a tar that ends between two members.
    second = 512 + -(-len(sound) // 512) * 512
    (tars / "header.tar").write_bytes(whole[:second] + b"x" * 512 + whole[second + 512 :])
    (tars / "ends.tar").write_bytes(whole[:second])
    rows, skips = imported("webdataset", tars)
    assert sorted(row.id for row in rows) == ["in", "ok"]
    for name in ("gz.tar.gz", "bz2.tar.bz2", "xz.tar.xz", "named.tar"):
        assert "expected a tar that is not compressed, got" in skips.pop(name)
    assert f"truncated, expected {second} bytes or more" in skips.pop("cut.tar")
    assert f"expected zeros at byte {second}, got a damaged header" in skips.pop("header.tar")
    assert f"expected zeros at byte {second}, got the end of the file" in skips.pop("ends.tar")
    assert skips.keys() == {"gone.tar", "text.tar"}


def test_members_that_make_no_clip_are_listed(
    tmp_path: Path, sound: bytes, imported: Callable[..., Imported]
) -> None:
    members = [("x/a.flac", sound), ("y/a.flac", sound)]
    members += [("y/a.json", record("two")), ("x/a.json", record("one"))]
    members += [("x/a.json", record("other")), ("x/a.wav", sound), ("b.flac", sound)]
    members += [("d.json", record("d")), ("._a.flac", b"mac"), ("readme.txt", b"text")]
    members += [("large.flac", sound), ("large.json", bytes(2 << 20))]
    members += [("n.flac", sound), ("n.json", record("n", speaker=7))]
    members += [("../evil.flac", sound), ("../evil.json", b"{}")]
    # Recordings and records may lie in folders of their own.
    members += [("audio/c.flac", sound), ("json/c.json", record("four"))]
    write_tar(tmp_path / "tars" / "a.tar", members)
    rows, skips = imported("webdataset", tmp_path / "tars")
    assert [row.id for row in rows] == ["one", "two", "four"]
    assert all(row.duration == 0.5 for row in rows)
    assert "at byte" in skips.pop("x/a.json")
    assert "x/a has this name already" in skips.pop("x/a.wav")
    assert "expected at most 1048576 bytes" in skips.pop("large.json")
    assert "has no .json" in skips.pop("b")
    assert "has no .json" in skips.pop("large")
    assert "has no recording" in skips.pop("d")
    assert "expected a string as speaker" in skips.pop("n")
    assert "no file can be named after this id" in skips.pop("a/../evil")
    assert not skips


def test_segments_that_cannot_be_are_listed(
    tmp_path: Path, sound: bytes, imported: Callable[..., Imported]
) -> None:
    (tmp_path / "r.flac").write_bytes(sound)
    bad = ["../../evil r 0 0.2", "/abs r 0 0.2", "a/ r 0 0.2", ".. r 0 0.2", "OK r 0 0.2"]
    bad += [f"{'x' * 300} r 0 0.2", "a\0b r 0 0.2", "inf r 0 inf", "nan r nan 0.2"]
    bad += ["far r 1e308 1e309", "neg r -1 0.2", "word r zero 0.2", "few r 0"]
    lines = ["ok r 0 0.2", *bad, "end r 0.2 -1"]
    (tmp_path / "segments").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "wav.scp").write_text("r r.flac\n")
    rows, skips = imported("kaldi", tmp_path)
    assert [(row.id, row.duration) for row in rows] == [("ok", 0.2), ("end", 0.3)]
    assert skips.keys() == {line.split(" ")[0] for line in bad}
    files = [path.name for path in (tmp_path / "imported" / "audio").rglob("*.flac")]
    assert sorted(files) == ["end.flac", "ok.flac"]
    assert len(read_audio(rows[1].audio)) == 7200


def test_chapters_with_wrong_spans_are_listed(
    tmp_path: Path, sound: bytes, imported: Callable[..., Imported]
) -> None:
    spans = {"ok": "[[0, 0.5]]", "inf": "[[0, Infinity]]", "nan": "[[NaN, 1]]"}
    spans |= {"large": f"[[0, 1{'0' * 400}]]", "deep": "[" * 100_000, "back": "[[0.4, 0.1]]"}
    for name, text in {**spans, "._ok": "[[0, 0.5]]"}.items():
        (tmp_path / f"{name}.flac").write_bytes(sound)
        about = f'{{"speaker": "s", "snr": 1.0, "voice_activity": {text}}}'
        (tmp_path / f"{name}.json").write_text(about)
    rows, skips = imported("librilight", tmp_path)
    assert [row.id for row in rows] == ["ok_0000"]
    assert skips.keys() == spans.keys() - {"ok"}


def test_what_no_manifest_can_hold_is_listed(tmp_path: Path, sound: bytes) -> None:
    audio = tmp_path / "a.flac"
    audio.write_bytes(sound)
    found: list[Utterance | Skip] = [
        Utterance("ok", audio, "", "s", "en", extra={"id": "other", "n": 1}),
        Utterance("nan", audio, "", "s", "en", extra={"snr": float("nan")}),
        Utterance("object", audio, "", "s", "en", extra={"of": audio}),
        Utterance("speaker", audio, "", "", "en"),
        Utterance("nul", Path("a\0b.flac"), "", "s", "en"),
    ]
    import_utterances(found, tmp_path / "out")
    (row,) = read_manifest(tmp_path / "out" / "manifest.jsonl")
    assert (row.id, row.extra) == ("ok", {"n": 1})
    lines = (tmp_path / "out" / "skipped.jsonl").read_text().split("\n")[:-1]
    assert [json.loads(line)["id"] for line in lines] == ["nan", "object", "speaker", "nul"]

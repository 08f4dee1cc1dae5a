"""Parts and channels of recordings, cut out or named where they lie."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from codec.audio import read_audio
from recipes.corpora.manifest import CorpusRow
from recipes.import_corpus import main


def write_stereo(path: Path, rate: int = 16_000) -> Path:
    """Four seconds: 200 Hz on the left, 900 Hz on the right."""
    times = np.arange(4 * rate) / rate
    left, right = (0.4 * np.sin(2 * np.pi * pitch * times) for pitch in (200, 900))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.stack([left, right], axis=1), rate)
    return path


def tones(row: CorpusRow) -> list[int]:
    """Which of the two tones a clip holds."""
    waveform = read_audio(row.audio, 16_000)
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    hertz = np.fft.rfftfreq(len(waveform), 1 / 16_000)
    return [f for f in (200, 900) if spectrum[np.abs(hertz - f) < 5].max() > 0.1 * spectrum.max()]


@pytest.mark.parametrize(("start", "duration"), [(0.0, 4.0), (0.5, 2.0)])
def test_a_cut_of_one_channel_is_that_channel(
    tmp_path: Path, run_import: Any, start: float, duration: float
) -> None:
    lhotse = pytest.importorskip("lhotse")
    recording = lhotse.Recording.from_file(write_stereo(tmp_path / "call.wav"))
    cuts = [
        lhotse.MonoCut(
            f"call-{name}",
            start,
            duration,
            channel,
            recording=recording,
            supervisions=[
                lhotse.SupervisionSegment(
                    f"s{name}", recording.id, 0, duration, channel, text=name, speaker=name
                )
            ],
        )
        for channel, name in enumerate("AB")
    ]
    # text of the other channel, and a cut of both with text of one
    crossed = cuts[0].with_id("crossed")
    crossed.supervisions = cuts[1].supervisions
    both = recording.to_cut().with_id("both")
    both.supervisions = [cuts[1].supervisions[0]]
    lhotse.CutSet.from_cuts([*cuts, crossed, both]).to_file(tmp_path / "cuts.jsonl.gz")
    rows, skipped, _ = run_import("lhotse", tmp_path / "cuts.jsonl.gz")
    assert [tones(row) for row in rows] == [[200], [900]]
    assert [row.duration for row in rows] == [duration] * 2
    assert [skip["id"] for skip in skipped] == ["crossed", "both"]


def test_a_file_that_is_no_whole_cutset_is_refused_by_name(
    tmp_path: Path, write_tone: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    lhotse = pytest.importorskip("lhotse")
    recording = lhotse.Recording.from_file(write_tone(tmp_path / "a.wav", 2.0))
    whole = tmp_path / "cuts.jsonl.gz"
    lhotse.CutSet.from_cuts([recording.to_cut()] * 9).to_file(whole)
    content = whole.read_bytes()
    wrong = [content[: len(content) // 2], content[:60] + bytes(20) + content[80:], b"no gzip"]
    lines = b"no JSON", b"{}", b"[]", b"3", b"\xff"
    for number, content in enumerate([*wrong, *map(gzip.compress, lines)]):
        path = tmp_path / f"{number}.jsonl.gz"
        path.write_bytes(content)
        assert main(["lhotse", str(path), "-o", str(tmp_path / "imported")]) == 2
        assert f"error: {path}: expected a CutSet that can be read, got " in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["lhotse", "kaldi"])
def test_parts_that_stay_in_place_are_those_that_would_be_cut(
    tmp_path: Path, run_import: Any, kind: str
) -> None:
    source = write_stereo(tmp_path / "data/call.wav").parent
    if kind == "lhotse":
        lhotse = pytest.importorskip("lhotse")
        recording = lhotse.Recording.from_file(source / "call.wav")
        cuts = [lhotse.MonoCut(f"c{n}", 0.5, 1.1, n, recording=recording) for n in range(2)]
        cuts.append(lhotse.MonoCut("long", 3.0, 1.9, 0, recording=recording))
        source = source / "cuts.jsonl.gz"
        lhotse.CutSet.from_cuts(cuts).to_file(source)
    else:
        (source / "wav.scp").write_text("call call.wav\n")
        (source / "segments").write_text("c0 call 0.5 1.6 1\nc1 call 0.5 1.6 2\nlong call 3 -1 2\n")
    cut = run_import(kind, source)[:2]
    (tmp_path / "imported").rename(tmp_path / "cut")
    named = run_import(kind, source, "--in-place")[:2]
    assert not (tmp_path / "imported/audio").exists()
    assert [row.id for row in named[0]] == [row.id for row in cut[0]]
    for one, other in zip(named[0], cut[0], strict=True):
        assert one.duration == other.duration
        other_audio = tmp_path / "cut" / other.audio.relative_to(tmp_path / "imported")
        expected = read_audio(other_audio, 24_000)
        np.testing.assert_allclose(read_audio(one.audio, 24_000), expected, atol=1e-4)
    assert [skip["id"] for skip in named[1]] == [skip["id"] for skip in cut[1]]


def test_windows_of_a_supervision_are_listed(
    tmp_path: Path, write_tone: Any, run_import: Any
) -> None:
    lhotse = pytest.importorskip("lhotse")
    recording = lhotse.Recording.from_file(write_tone(tmp_path / "a.wav", 2.0))

    def supervised(name: str, start: float, duration: float) -> Any:
        return lhotse.SupervisionSegment(name, "a", start, duration, 0, text=name, speaker="anna")

    def cut(name: str, start: float, duration: float, *supervisions: Any) -> Any:
        return lhotse.MonoCut(
            name, start, duration, 0, recording=recording, supervisions=list(supervisions)
        )

    cuts = [
        cut("a-0", 0.0, 1.0, supervised("long", 0.0, 2.0)),
        cut("a-1", 1.0, 1.0, supervised("long", -1.0, 2.0)),
        cut("a-2", 0.0, 1.5, supervised("short", 0.5, 0.5)),
        cut("a-3", 0.25, 1.5, supervised("short", 0.25, 0.5)),
        cut("order", 0.0, 2.0, supervised("second", 1.0, 1.0), supervised("first", 0.0, 1.0)),
    ]
    lhotse.CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    rows, skipped, _ = run_import("lhotse", tmp_path / "cuts.jsonl.gz")
    assert [(row.id, row.text) for row in rows] == [
        ("short", "short"),
        ("a-3", "short"),
        ("order", "first second"),
    ]
    assert [skip["id"] for skip in skipped] == ["a-0", "a-1"]
    assert "expected whole supervisions, got a part of 'long'" in skipped[0]["reason"]


def test_kaldi_channels_are_those_that_its_tables_state(tmp_path: Path, run_import: Any) -> None:
    folder = tmp_path / "data"
    write_stereo(folder / "call.wav")
    tables = {
        "wav.scp": "call-a call.wav\ncall-b call.wav\n",
        "reco2file_and_channel": "call-a call A\ncall-b call B\n",
        "segments": "one call-a 0 1\ntwo call-b 0 1\nthree call-a 1 2 1\nfour call-a 1 2 2\n",
    }
    for name, table in tables.items():
        (folder / name).write_text(table)
    rows, skipped, _ = run_import("kaldi", folder)
    assert {row.id: tones(row) for row in rows} == {"one": [200], "two": [900], "three": [900]}
    assert [(skip["id"], skip["kind"]) for skip in skipped] == [("four", "audio")]
    assert "a channel of its 2, from 0 on, got 2" in skipped[0]["reason"]
    (folder / "segments").unlink()
    rows, _, _ = run_import("kaldi", folder)
    assert [tones(row) for row in rows] == [[200], [900]]


@pytest.mark.parametrize(
    "command",
    [
        "flac -c -d -s --skip=0:02.0 --until=0:03.0 {} |",
        "flac -cd {} | sox -t wav - -t wav - trim 0 1 |",
        "flac -d -c --channel-map=none {} |",
    ],
)
def test_a_command_that_changes_the_sound_is_listed(
    tmp_path: Path, write_tone: Any, run_import: Any, command: str
) -> None:
    flac = write_tone(tmp_path / "data" / "a.flac")
    (tmp_path / "data" / "wav.scp").write_text(f"a {flac}\nb {command.format(flac)}\n")
    rows, skipped, _ = run_import("kaldi", tmp_path / "data")
    assert [row.id for row in rows] == ["a"]
    assert [(skip["id"], skip["kind"]) for skip in skipped] == [("b", "command")]

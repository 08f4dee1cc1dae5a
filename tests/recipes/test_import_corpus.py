"""Every layout in miniature, with real recordings, through the command that imports it."""

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
from recipes.corpora.import_librilight import speech_pieces
from recipes.corpora.manifest import CorpusRow, read_manifest
from recipes.import_corpus import main
from tests.tars import write_tar


@pytest.fixture
def write_tone(make_waveform: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """`write_tone(path, seconds=0.2, rate=16000, pitch=120.0)`: a recording."""

    def write(path: Path, seconds: float = 0.2, rate: int = 16_000, pitch: float = 120.0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, make_waveform(seconds, rate, pitch=pitch), rate)
        return path

    return write


@pytest.fixture
def run_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[list[CorpusRow], list[dict[str, Any]], dict[str, Any]]]:
    """`run_import(kind, folder, *options)`: rows, skips and figures."""

    def run(
        kind: str, folder: Path, *options: str
    ) -> tuple[list[CorpusRow], list[dict[str, Any]], dict[str, Any]]:
        output = tmp_path / "imported"
        assert main([kind, str(folder), "-o", str(output), "--json", *options]) == 0
        figures = json.loads(capsys.readouterr().out)
        skipped = (output / "skipped.jsonl").read_text().splitlines()
        return read_manifest(output / "manifest.jsonl"), [json.loads(x) for x in skipped], figures

    return run


def by_id(rows: list[CorpusRow]) -> dict[str, CorpusRow]:
    return {row.id: row for row in rows}


def test_libritts(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    root = tmp_path / "corpora" / "LibriTTS"
    for subset in ("train-clean-100", "dev-clean"):
        for index in range(2):
            clip = write_tone(root / subset / "84" / "121" / f"84_121_{subset}_{index}.wav")
            clip.with_suffix(".original.txt").write_text(f"Mr. {index}!\n")
            clip.with_suffix(".normalized.txt").write_text(f"Mister {index}!\n")
    (root / "dev-clean/84/121/84_121_dev-clean_1.original.txt").unlink()
    rows, skipped, figures = run_import("libritts", tmp_path / "corpora")
    assert [row.split for row in rows] == ["valid", "train", "train"]
    assert rows[1].text == "Mr. 0!"
    assert rows[1].extra == {"source": "libritts_train-clean-100", "text_norm": "Mister 0!"}
    assert rows[1].audio == root / "train-clean-100/84/121/84_121_train-clean-100_0.wav"
    assert [(skip["id"], skip["kind"]) for skip in skipped] == [
        ("84_121_dev-clean_1", "transcript")
    ]
    assert figures["skipped"] == {"transcript": 1}
    assert figures["splits"] == {"train": 2, "valid": 1}


def test_ljspeech_lists_a_recording_that_is_missing(
    tmp_path: Path, write_tone: Any, run_import: Any
) -> None:
    root = tmp_path / "LJSpeech-1.1"
    for index in range(2):
        write_tone(root / "wavs" / f"LJ001-000{index}.wav", 0.3, 22_050)
    lines = [f"LJ001-000{index}|In {index}|In number\n" for index in range(3)]
    (root / "metadata.csv").write_text("".join(lines))
    rows, skipped, figures = run_import("ljspeech", root)
    assert [(row.id, row.text, row.split) for row in rows] == [
        ("LJ001-0000", "In 0", ""),
        ("LJ001-0001", "In 1", ""),
    ]
    assert rows[0].duration == pytest.approx(0.3)
    assert [(skip["id"], skip["kind"]) for skip in skipped] == [("LJ001-0002", "audio")]
    assert figures["splits"] == {"none": 2}


def test_librispeech_through_lhotse(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    pytest.importorskip("lhotse")
    root = tmp_path / "LibriSpeech"
    for subset, speaker in (("train-clean-100", "19"), ("test-clean", "61")):
        chapter = root / subset / speaker / "198"
        for index in range(3):
            write_tone(chapter / f"{speaker}-198-000{index}.flac")
        # The third recording has no transcript, the last transcript no recording.
        lines = [f"{speaker}-198-000{index} THIS IS {index}\n" for index in (0, 1, 9)]
        (chapter / f"{speaker}-198.trans.txt").write_text("".join(lines))
    rows, skipped, figures = run_import("librispeech", tmp_path)
    assert sorted((row.id, row.split, row.text, row.speaker, row.lang) for row in rows) == [
        ("19-198-0000", "train", "THIS IS 0", "19", "en"),
        ("19-198-0001", "train", "THIS IS 1", "19", "en"),
        ("61-198-0000", "test", "THIS IS 0", "61", "en"),
        ("61-198-0001", "test", "THIS IS 1", "61", "en"),
    ]
    assert by_id(rows)["61-198-0000"].extra["source"] == "librispeech_test-clean"
    assert figures["skipped"] == {"lhotse": 2, "transcript": 2}
    assert {skip["id"] for skip in skipped} == {"", "19-198-0002", "61-198-0002"}


def test_vctk_through_lhotse(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    pytest.importorskip("lhotse")
    root = tmp_path / "VCTK"
    for speaker in ("p225", "p226"):
        for number in ("001", "002"):
            for microphone in ("mic1", "mic2"):
                name = f"{speaker}_{number}_{microphone}.flac"
                write_tone(root / "wav48_silence_trimmed" / speaker / name, rate=48_000)
            if (speaker, number) != ("p226", "002"):
                text = root / "txt" / speaker / f"{speaker}_{number}.txt"
                text.parent.mkdir(parents=True, exist_ok=True)
                text.write_text(f"Please call {speaker} {number}.\n")
    (root / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"
        "p225  23  F    English    Southern  England\np226  22  M    English    Surrey\n"
    )
    rows, skipped, _ = run_import("vctk", root)
    assert sorted(row.id for row in rows) == ["p225_001_mic2", "p225_002_mic2", "p226_001_mic2"]
    row = by_id(rows)["p225_001_mic2"]
    assert (row.text, row.speaker, row.lang) == ("Please call p225 001.", "p225", "en")
    assert (row.extra["gender"], row.extra["region"]) == ("F", "Southern England")
    assert row.duration == pytest.approx(0.2)
    assert [skip["id"] for skip in skipped] == ["p226_002_mic2"]


def test_librilight_is_cut_at_pauses(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    book = tmp_path / "small" / "100" / "sea_fairies_0812_librivox_64kb_mp3"
    chapter = write_tone(book / "01_baum.flac", 6.0)
    spans = [[0.2, 1.4], [1.6, 2.8], [4.5, 5.6], [5.7, 5.9]]
    about = {"speaker": "100", "snr": 11.5, "voice_activity": spans, "book_meta": {"id": 1}}
    chapter.with_suffix(".json").write_text(json.dumps(about))
    write_tone(book / "02_baum.flac")
    rows, skipped, _ = run_import("librilight", tmp_path, "--longest", "2.7")
    prefix = "small/100/sea_fairies_0812_librivox_64kb_mp3/01_baum"
    assert [(row.id, row.duration) for row in rows] == [
        (f"{prefix}_0000", pytest.approx(2.6)),
        (f"{prefix}_0001", pytest.approx(1.4)),
    ]
    assert (rows[0].speaker, rows[0].text, rows[0].extra["snr"]) == ("100", "", 11.5)
    expected = read_audio(chapter, 16_000, start=0.2, duration=2.6)
    np.testing.assert_allclose(read_audio(rows[0].audio, 16_000), expected, atol=1e-4)
    assert [skip["id"].rpartition("/")[2] for skip in skipped] == ["02_baum"]


def test_pieces_join_what_fits_and_divide_what_does_not() -> None:
    spans = [(0.0, 4.0), (4.5, 9.0), (9.2, 12.0), (20.0, 45.0)]
    assert speech_pieces(spans, 10.0) == [
        (0.0, 9.0),
        (9.2, 12.0),
        (20.0, pytest.approx(28.3333, abs=1e-3)),
        (pytest.approx(28.3333, abs=1e-3), pytest.approx(36.6667, abs=1e-3)),
        (pytest.approx(36.6667, abs=1e-3), 45.0),
    ]


@pytest.fixture
def emilia(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> Path:
    """Two tars of three clips; of the second one clip has no .json and one no speaker."""
    file = io.BytesIO()
    soundfile.write(file, make_waveform(0.5), 24_000, format="MP3")
    root = tmp_path / "Emilia"
    for tar in range(2):
        members = {}
        for index in range(3):
            key = f"DE_B0000{tar}_S00000_W00000{index}"
            about = {
                "id": key,
                "wav": f"DE_B0000{tar}/{key}.mp3",
                "text": f" Satz {index}.",
                "duration": 0.5,
                "speaker": f"DE_B0000{tar}_S00000",
                "language": "de",
                "dnsmos": 3.37,
            }
            if tar and index == 1:
                del about["speaker"]
            members[f"{key}.mp3"] = file.getvalue()
            if not (tar and index == 2):
                members[f"{key}.json"] = json.dumps(about).encode()
        write_tar(root / "DE" / f"DE-B00000{tar}.tar", members)
    return root


def test_emilia_is_read_where_its_tars_lie(emilia: Path, tmp_path: Path, run_import: Any) -> None:
    rows, skipped, _ = run_import("emilia", emilia)
    assert len(rows) == 4
    assert (rows[0].text, rows[0].lang, rows[0].extra["dnsmos"]) == ("Satz 0.", "de", 3.37)
    assert rows[0].extra["source"] == "emilia"
    assert len(read_audio(rows[0].audio)) == pytest.approx(12_000, abs=1300)
    record = json.loads((tmp_path / "imported/manifest.jsonl").read_text().splitlines()[0])
    tar = emilia / "DE/DE-B000000.tar"
    assert record["audio"] == f"{tar}:0:DE_B00000_S00000_W000000.mp3"
    assert sorted("lacks speaker" in skip["reason"] for skip in skipped) == [False, True]
    assert not (tmp_path / "imported/audio").exists()


def test_a_manifest_above_its_tars_can_be_moved_with_them(
    emilia: Path, tmp_path: Path, run_import: Any
) -> None:
    output = tmp_path / "imported"
    emilia.rename(output)
    assert len(run_import("webdataset", output)[0]) == 5
    output.rename(tmp_path / "moved")
    row = read_manifest(tmp_path / "moved/manifest.jsonl")[0]
    assert len(read_audio(row.audio)) == pytest.approx(12_000, abs=1300)


def test_a_tar_that_has_not_changed_is_not_looked_through_again(
    emilia: Path, tmp_path: Path, run_import: Any
) -> None:
    first, second = (emilia / "DE" / f"DE-B00000{number}.tar" for number in range(2))
    whole = second.read_bytes()
    second.write_bytes(whole[:30_00])
    rows, skipped, _ = run_import("emilia", emilia)
    assert (len(rows), [skip["kind"] for skip in skipped]) == (3, ["tar"])
    (index,) = (tmp_path / "imported/.tars").iterdir()
    made = index.stat().st_ino
    second.write_bytes(whole)
    assert len(run_import("emilia", emilia)[0]) == 4
    assert index.stat().st_ino == made
    first.write_bytes(whole)
    rows, skipped, _ = run_import("emilia", emilia)
    assert not any("B00000_" in row.id for row in rows)
    assert {skip["kind"] for skip in skipped} == {"layout", "repeated"}


def test_emilia_is_looked_through_no_further_than_the_limit_needs(
    emilia: Path, tmp_path: Path, run_import: Any
) -> None:
    assert len(run_import("emilia", emilia, "--limit", "2")[0]) == 2
    assert len(list((tmp_path / "imported/.tars").iterdir())) == 1


def test_a_tar_needs_no_more_than_recordings_and_their_json(
    tmp_path: Path, run_import: Any, make_waveform: Any
) -> None:
    file = io.BytesIO()
    soundfile.write(file, make_waveform(0.2), 24_000, format="FLAC")
    for shard in ("en-0", "en-1", "de-0"):
        members = {"x/0.flac": file.getvalue(), "x/0.json": b'{"snr": 20, "words": ["a"]}'}
        write_tar(tmp_path / f"tars/sub/{shard}.tar", members)
    pattern = tmp_path / "tars/*/en-?.tar"
    rows, skipped, _ = run_import("webdataset", pattern, "--lang", "en", "--workers", "2")
    found = [(row.id, row.speaker, row.text, row.lang, row.extra) for row in rows]
    assert found == [
        (f"sub/en-{n}/x/0", f"sub/en-{n}/x/0", "", "en", {"source": "tars", "snr": 20})
        for n in range(2)
    ]
    assert skipped == []


def write_kaldi(folder: Path, **tables: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        (folder / name.replace("wav", "wav.scp")).write_text(text)
    return folder


def test_kaldi_whole_recordings(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    one = write_tone(tmp_path / "one.wav")
    write_tone(tmp_path / "kaldi" / "two.flac")
    folder = write_kaldi(
        tmp_path / "kaldi",
        wav=f"utt1 {one}\nutt2 flac -c -d -s two.flac |\nutt3 sph2pipe -f wav x.sph |\n",
        text="utt1 hello there\nutt2 good bye\n",
        utt2spk="utt1 anna\nutt2 bert\n",
        spk2gender="anna f\n",
    )
    rows, skipped, _ = run_import("kaldi", folder, "--lang", "en")
    assert [(row.id, row.text, row.speaker, row.lang) for row in rows] == [
        ("utt1", "hello there", "anna", "en"),
        ("utt2", "good bye", "bert", "en"),
    ]
    assert rows[0].extra == {"source": "kaldi", "gender": "f"}
    assert rows[1].audio == folder / "two.flac"
    assert "commands are not run" in skipped[0]["reason"]


@pytest.mark.parametrize("name", ["segments", "text", "utt2spk", "reco2file_and_channel"])
def test_a_kaldi_table_whose_link_leads_nowhere_is_an_error(
    tmp_path: Path, write_tone: Any, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    write_tone(tmp_path / "kaldi" / "one.wav")
    folder = write_kaldi(tmp_path / "kaldi", wav="one one.wav\n")
    (folder / name).symlink_to(tmp_path / "gone")
    assert main(["kaldi", str(folder), "-o", str(tmp_path / "out")]) == 1
    assert f"kaldi/{name}" in capsys.readouterr().err
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_kaldi_texts_without_a_recording_are_listed(
    tmp_path: Path, write_tone: Any, run_import: Any
) -> None:
    write_tone(tmp_path / "kaldi" / "one.wav")
    tables = {"wav": "one one.wav\n", "text": "one hello\nghost never said\n"}
    folder = write_kaldi(tmp_path / "kaldi", **tables)
    rows, skipped, _ = run_import("kaldi", folder)
    assert [row.id for row in rows] == ["one"]
    assert [(each["id"], each["kind"]) for each in skipped] == [("ghost", "no_recording")]
    # A field too many is no channel.
    write_kaldi(folder, text="u hello\nw again\n", segments="u one 0 0.2 0 1\nw one 0 0.2\n")
    rows, skipped, _ = run_import("kaldi", folder)
    assert ([row.id for row in rows], [each["id"] for each in skipped]) == (["w"], ["u"])


def test_kaldi_segments_are_cut_once(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    long = write_tone(tmp_path / "kaldi" / "long.wav", 3.0)
    folder = write_kaldi(
        tmp_path / "kaldi",
        wav="rec long.wav\n",
        segments="a rec 0.5 1.25\nb rec 2.0 -1\nc rec 2.5 9.0\nd other 0 1\n",
        text="a one\nb two\nc three\nd four\n",
        utt2lang="a de\n",
    )
    rows, skipped, _ = run_import("kaldi", folder)
    assert [(row.id, row.duration, row.speaker, row.lang) for row in rows] == [
        ("a", 0.75, "a", "de"),
        ("b", 1.0, "b", "und"),
    ]
    expected = read_audio(long, 16_000, start=0.5, duration=0.75)
    np.testing.assert_allclose(read_audio(rows[0].audio, 16_000), expected, atol=1e-4)
    assert sorted(skip["id"] for skip in skipped) == ["c", "d"]
    written = rows[0].audio.stat().st_mtime_ns
    assert run_import("kaldi", folder)[0] == rows
    assert rows[0].audio.stat().st_mtime_ns == written


@pytest.mark.parametrize("corrected", ["times", "recording"])
def test_a_part_is_cut_again_after_a_correction(
    tmp_path: Path, write_tone: Any, run_import: Any, corrected: str
) -> None:
    long = write_tone(tmp_path / "kaldi" / "long.wav", 3.0)
    tables = {"wav": "rec long.wav\n", "text": "a one\nb two\n", "utt2lang": "a de\nb de\n"}
    folder = write_kaldi(tmp_path / "kaldi", segments="a rec 0.5 1.25\nb rec 2 3\n", **tables)
    rows, _, _ = run_import("kaldi", folder)
    other = rows[1].audio.stat().st_ino
    start = 0.5
    if corrected == "times":
        start = 1.5
        write_kaldi(folder, segments="a rec 1.5 2.25\nb rec 2 3\n")
    else:
        write_tone(long, 3.0, pitch=240.0)
    rows, _, _ = run_import("kaldi", folder)
    expected = read_audio(long, 16_000, start=start, duration=0.75)
    np.testing.assert_allclose(read_audio(rows[0].audio, 16_000), expected, atol=1e-4)
    assert (rows[1].audio.stat().st_ino == other) == (corrected == "times")


def test_a_part_of_a_run_killed_before_it_was_noted_is_cut_again(
    tmp_path: Path, write_tone: Any, run_import: Any
) -> None:
    write_tone(tmp_path / "kaldi" / "long.wav", 3.0)
    tables = {"wav": "rec long.wav\n", "text": "a one\n", "utt2lang": "a de\n"}
    folder = write_kaldi(tmp_path / "kaldi", segments="a rec 0.5 1.25\n", **tables)
    rows, _, _ = run_import("kaldi", folder)
    log = tmp_path / "imported" / ".cut.jsonl"
    log.write_bytes(log.read_bytes()[:-9])  # as the kill leaves it
    written = rows[0].audio.stat().st_ino
    assert run_import("kaldi", folder)[0] == rows
    assert rows[0].audio.stat().st_ino != written


def test_lhotse_cuts(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    lhotse = pytest.importorskip("lhotse")
    path = write_tone(tmp_path / "long.wav", 2.0)
    recording = lhotse.Recording.from_file(path, recording_id="long")
    said = [
        lhotse.SupervisionSegment("first", "long", 0.25, 0.5, text="one", speaker="anna"),
        lhotse.SupervisionSegment(
            "second", "long", 1.0, 0.75, text="two", speaker="bert", language="German"
        ),
    ]
    cut = recording.to_cut()
    cut.supervisions = said
    parts = lhotse.CutSet.from_cuts([cut]).trim_to_supervisions()
    whole = lhotse.CutSet.from_cuts([recording.to_cut().with_id("whole")])
    fast = lhotse.CutSet.from_cuts([recording.to_cut().perturb_speed(1.1).with_id("fast")])
    cuts = list(parts) + list(whole) + list(fast) + [cut.with_id("both")]
    lhotse.CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    rows, skipped, _ = run_import("lhotse", tmp_path / "cuts.jsonl.gz")
    found = [(row.text, row.speaker, row.lang, row.duration) for row in rows]
    assert found == [
        ("one", "anna", "und", 0.5),
        ("two", "bert", "de", 0.75),
        ("", "whole", "und", 2.0),
    ]
    assert rows[2].audio == path
    expected = read_audio(path, 16_000, start=1.0, duration=0.75)
    np.testing.assert_allclose(read_audio(rows[1].audio, 16_000), expected, atol=1e-4)
    assert sorted(skip["id"] for skip in skipped) == ["both", "fast"]


def test_a_limit_is_spread_over_the_corpus(
    tmp_path: Path, write_tone: Any, run_import: Any
) -> None:
    lines = [f"u{index} {write_tone(tmp_path / f'{index}.wav')}\n" for index in range(9)]
    folder = write_kaldi(tmp_path / "kaldi", wav="".join(lines))
    rows, _, _ = run_import("kaldi", folder, "--limit", "3")
    assert [row.id for row in rows] == ["u0", "u3", "u6"]


def test_a_repeated_id_is_listed(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    root = tmp_path / "LibriTTS"
    for chapter in ("1", "2"):
        clip = write_tone(root / "dev-clean" / "84" / chapter / "same.wav")
        for kind in ("original", "normalized"):
            clip.with_suffix(f".{kind}.txt").write_text("text")
    rows, skipped, _ = run_import("libritts", root)
    assert (len(rows), [skip["kind"] for skip in skipped]) == (1, ["repeated"])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["libritts", "."], "expected some of dev-clean"),
        (["ljspeech", "."], "metadata.csv: not found"),
        (["librilight", "."], "expected <subset>/<speaker>/<book>"),
        (["emilia", "."], "expected WebDataset tars"),
        (["webdataset", "absent/*.tar"], "expected WebDataset tars"),
        (["kaldi", "."], "with wav.scp, found none"),
        (["kaldi", "absent"], "expected the corpus there, found nothing"),
        (["emilia", ".", "--download"], "--download: expected one of libritts"),
        (["kaldi", ".", "--limit", "0"], "--limit: expected a count > 0"),
        (["lhotse", "."], "expected a CutSet file"),
    ],
)
def test_a_layout_that_is_not_there_says_what_was_expected(
    arguments: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "-o", "imported"]) == 2
    assert part in capsys.readouterr().err


def test_a_corpus_of_nothing_usable_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_kaldi(tmp_path / "kaldi", wav="a nowhere.wav\n")
    assert main(["kaldi", str(folder), "-o", str(tmp_path / "imported")]) == 2
    assert "found none that can be used and 1 that cannot" in capsys.readouterr().err


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
    for one, other in zip(*(by_id(rows).values() for rows in (named[0], cut[0])), strict=True):
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


def test_vctk_lists_what_the_second_microphone_lacks(
    tmp_path: Path, write_tone: Any, run_import: Any
) -> None:
    pytest.importorskip("lhotse")
    root = tmp_path / "VCTK"
    for name in ("p225_001_mic1", "p225_001_mic2", "p280_001_mic1", "p315_001_mic1"):
        speaker = name[:4]
        write_tone(root / "wav48_silence_trimmed" / speaker / f"{name}.flac", rate=48_000)
        if speaker != "p315":
            (root / "txt" / speaker).mkdir(parents=True, exist_ok=True)
            (root / "txt" / speaker / f"{speaker}_001.txt").write_text("Please call.\n")
    (root / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"
        "p225  23  F    English    Southern  England\np280  23  F    Unknown    France\n"
    )
    rows, skipped, _ = run_import("vctk", root)
    assert [row.id for row in rows] == ["p225_001_mic2"]
    assert [(skip["id"], skip["kind"]) for skip in skipped] == [
        ("p280_001_mic2", "microphone"),
        ("p315_001_mic2", "microphone"),
    ]

import json
from itertools import islice

import numpy as np
import pytest
import soundfile
import soxr
from torch.utils.data import DataLoader

from codec.audio.io import AudioError, read_audio
from codec.audio.sources import FolderSource, SourceError
from codec.training.data import CropBatches
from tests.support.tars import locations, pack, write_tar

RATE = 24_000


def write(path, waveform, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate)


def cut(path):
    """Leave a file whose header is sound and whose second half is missing."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.fixture
def corpus(tmp_path, make_waveform):
    for number, name in enumerate(("b/two.wav", "a/one.flac", "three.ogg")):
        write(tmp_path / "corpus" / name, make_waveform(1.0 + number, seed=number))
    (tmp_path / "corpus" / "notes.txt").write_text("not a recording")
    return tmp_path / "corpus"


def test_a_folder_gives_every_recording_in_the_order_of_their_paths(corpus):
    source = FolderSource(corpus, RATE)
    assert [row["audio"] for row in source.rows] == ["a/one.flac", "b/two.wav", "three.ogg"]
    assert [row["num_samples"] for row in source.rows] == [48_000, 24_000, 72_000]
    assert len(source) == 3


def test_a_manifest_gives_its_selected_rows_with_all_their_fields(corpus):
    rows = [
        {"id": "1", "audio": "b/two.wav", "split": "train", "speaker": "s"},
        {"id": "2", "audio": "a/one.flac", "split": "valid"},
    ]
    (corpus / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    source = FolderSource(corpus / "m.jsonl", RATE, select={"split": "train"})
    assert source.rows == [{**rows[0], "num_samples": 24_000}]


def test_a_folder_has_no_rows_to_select(corpus):
    """Training and refinement on the train split of a folder took all its recordings."""
    with pytest.raises(SourceError, match="expected a manifest, whose rows have split, got a fold"):
        FolderSource(corpus, RATE, select={"split": "train"})


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 96_000])
def test_a_crop_is_that_part_of_the_whole_file_resampled(tmp_path, make_waveform, rate):
    waveform = make_waveform(2.0, sample_rate=rate)
    write(tmp_path / "a.wav", waveform, rate)
    stored, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    whole = soxr.resample(stored, rate, RATE, quality="VHQ")
    source = FolderSource(tmp_path, RATE)
    assert source.rows[0]["num_samples"] == len(whole) == 48_000
    for start in (0, 1, 12_345, 40_001):
        crop = source.crop(0, start, 6000)
        assert crop.dtype == np.float32
        np.testing.assert_allclose(crop, whole[start : start + 6000], atol=1e-6)
    np.testing.assert_allclose(source.waveform(0), whole, atol=1e-6)


def test_only_the_wanted_part_is_read(corpus, monkeypatch):
    source = FolderSource(corpus, RATE)
    read, seen = soundfile.SoundFile.read, []

    def counting(self, frames=-1, *args, **kwargs):
        seen.append(frames)
        return read(self, frames, *args, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    source.crop(2, 30_000, 500)
    assert seen == [500]


def test_a_crop_past_the_end_is_padded_with_silence(corpus):
    source = FolderSource(corpus, RATE)
    crop = source.crop(1, 23_000, 2048)
    np.testing.assert_array_equal(crop[:1000], source.waveform(1)[23_000:])
    assert np.abs(crop[1000:]).max() == 0
    assert np.abs(source.crop(1, 24_000, 10)).max() == 0


def test_a_file_is_scaled_as_a_whole_to_the_wanted_level(tmp_path, make_waveform):
    waveform = 0.02 * make_waveform(2.0)
    waveform[24_000:] *= 0.1
    write(tmp_path / "a.wav", waveform)
    write(tmp_path / "silent.wav", np.zeros(4800))
    source = FolderSource(tmp_path, RATE, -26.0)
    whole = source.waveform(0)
    assert 20 * np.log10(np.sqrt(np.mean(whole**2))) == pytest.approx(-26.0, abs=0.01)
    np.testing.assert_allclose(source.crop(0, 36_000, 2048), whole[36_000:38_048])
    assert np.abs(source.waveform(1)).max() == 0


def test_levels_are_measured_once(corpus, tmp_path, monkeypatch):
    index = tmp_path / "run" / "index.jsonl"
    first = FolderSource(corpus, RATE, -26.0, index=index)
    lines = index.read_text()
    index.write_text(lines + '{"audio": "cut sh')  # a run that was killed while writing

    def never(path):
        raise AssertionError(f"{path} was read again")

    with monkeypatch.context() as patch:
        patch.setattr("codec.audio.index.audio_level", never)
        patch.setattr("codec.audio.index.audio_info", never)
        assert FolderSource(corpus, RATE, -26.0, index=index).rows == first.rows
    write(corpus / "b/two.wav", 0.1 * np.ones(4800))
    changed = FolderSource(corpus, RATE, -26.0, index=index)
    assert changed.rows[1]["num_samples"] == 4800
    assert len(index.read_text().splitlines()) == 4


def test_headers_alone_are_read_when_no_level_is_wanted(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("codec.audio.index.audio_level", None)
    index = tmp_path / "index.jsonl"
    FolderSource(corpus, RATE, index=index)
    monkeypatch.undo()
    assert "gain" in FolderSource(corpus, RATE, -26.0, index=index).rows[0]


def test_unreadable_files_are_skipped_and_listed(corpus, tmp_path):
    (corpus / "empty.wav").touch()
    (corpus / "text.flac").write_text("not audio at all")
    bad = tmp_path / "run" / "bad_files.jsonl"
    source = FolderSource(corpus, RATE, bad_files=bad, max_bad_share=0.5)
    assert [row["audio"] for row in source.rows] == ["a/one.flac", "b/two.wav", "three.ogg"]
    assert set(source.bad_files) == {"empty.wav", "text.flac"}
    listed = [json.loads(line) for line in bad.read_text().splitlines()]
    assert [row["audio"] for row in listed] == ["empty.wav", "text.flac"]
    assert "0 bytes" in listed[0]["error"]
    write(corpus / "empty.wav", np.ones(100))  # mended: the next run lists only the other
    again = FolderSource(corpus, RATE, bad_files=bad, max_bad_share=0.5)
    assert set(again.bad_files) == {"text.flac"}


def test_more_than_one_percent_unreadable_files_stop_the_run(tmp_path, make_waveform):
    short = make_waveform(0.02)
    for number in range(100):
        write(tmp_path / "c" / f"{number:03}.wav", short)
    (tmp_path / "c" / "005.wav").write_text("broken")
    assert len(FolderSource(tmp_path / "c", RATE)) == 99
    (tmp_path / "c" / "007.wav").write_text("broken")
    with pytest.raises(SourceError, match=r"2 of 100 recordings.*at most 1 %.*005\.wav.*007\.wav"):
        FolderSource(tmp_path / "c", RATE)


def test_a_file_found_bad_within_is_replaced_the_same_way_every_time(corpus, tmp_path):
    cut(corpus / "a" / "one.flac")
    bad = tmp_path / "bad_files.jsonl"
    sources = [FolderSource(corpus, RATE, bad_files=bad, max_bad_share=0.5) for _ in range(2)]
    with pytest.raises(AudioError, match=r"one\.flac"):
        sources[0].waveform(0)
    sources[1].crop(2, 17, 500)  # another history
    first, second = (source.crop(0, 40_000, 2048) for source in sources)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first).max() > 0
    assert list(sources[0].bad_files) == ["a/one.flac"]
    assert sources[0].crop(0, 100, 500).shape == (500,)  # its first half can still be read


def test_files_found_bad_while_training_stop_it_beyond_the_share(corpus):
    cut(corpus / "a" / "one.flac")
    source = FolderSource(corpus, RATE)
    with pytest.raises(SourceError, match=r"1 of 3 recordings.*one\.flac"):
        source.crop(0, 40_000, 2048)


def test_workers_count_the_files_they_find_bad_together(tmp_path, make_waveform):
    for number in range(8):
        write(tmp_path / "c" / f"{number}.flac", make_waveform(0.5, seed=number))
    for number in (1, 4, 6):
        cut(tmp_path / "c" / f"{number}.flac")
    bad = tmp_path / "bad_files.jsonl"
    source = FolderSource(tmp_path / "c", RATE, bad_files=bad, max_bad_share=0.3)
    batches = CropBatches(source, 2, 4096, seed=0)
    with pytest.raises(SourceError, match="3 of 8 recordings"):
        list(islice(DataLoader(batches, batch_size=None, num_workers=2), 100))
    assert len(set(source.bad_files)) == 3


def test_what_is_no_corpus_is_refused(tmp_path):
    with pytest.raises(SourceError, match="expected a manifest or a folder"):
        FolderSource(tmp_path / "none", RATE)
    with pytest.raises(SourceError, match="at least one recording"):
        FolderSource(tmp_path, RATE)
    for line in ('{"audio": 3}', "[1]", "{"):
        (tmp_path / "m.jsonl").write_text(line)
        with pytest.raises(SourceError, match=r"m\.jsonl:1: .*expected a"):
            FolderSource(tmp_path / "m.jsonl", RATE)


def test_parts_of_a_file_are_the_same_by_seconds_and_by_samples(corpus):
    source = FolderSource(corpus, RATE)
    part = read_audio(corpus / "a" / "one.flac", RATE, start=0.5, duration=0.25)
    np.testing.assert_array_equal(part, source.crop(0, 12_000, 6000))


def test_files_that_a_kill_or_another_system_left_are_no_recordings(corpus):
    for name in ("._three.ogg", ".x1y2.wav", ".set.0-1-2.partial/four.wav"):
        (corpus / name).parent.mkdir(exist_ok=True)
        (corpus / name).write_bytes(b"part of a file")
    assert [row["audio"] for row in FolderSource(corpus, RATE).rows] == [
        "a/one.flac",
        "b/two.wav",
        "three.ogg",
    ]


def test_crops_come_from_tars_and_parts_as_from_files(corpus, tmp_path):
    files = FolderSource(corpus, RATE, -26.0)
    crops = [files.crop(clip, 5_000, 3000) for clip in range(3)]
    part = files.waveform(2)[12_000:36_000]
    found = pack(corpus / "all.tar", [corpus / row["audio"] for row in files.rows])
    names = [path.name for path in found.values()] + [f"{found['three.ogg'].name}#t=0.5,1.5"]
    (corpus / "m.jsonl").write_text("".join(json.dumps({"audio": name}) + "\n" for name in names))
    index = tmp_path / "index.jsonl"
    source = FolderSource(corpus / "m.jsonl", RATE, -26.0, index=index)
    for clip, crop in enumerate(crops):
        np.testing.assert_array_equal(source.crop(clip, 5_000, 3000), crop)
    # The part is brought to the level by itself, and ends where it ends.
    assert source.rows[3]["num_samples"] == 24_000
    ratio = source.rows[3]["gain"] / source.rows[2]["gain"]
    np.testing.assert_allclose(source.waveform(3), part * ratio, atol=1e-5)
    assert np.abs(source.crop(3, 23_000, 2000)[1000:]).max() == 0
    changed = locations(write_tar(corpus / "all.tar", {"one.flac": b"", "two.wav": b""}))
    assert changed["one.flac"].name == names[0]
    with pytest.raises(SourceError, match="4 of 4 recordings cannot be read"):
        FolderSource(corpus / "m.jsonl", RATE, -26.0, index=index)

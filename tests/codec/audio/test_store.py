import pickle

import numpy as np
import pytest

from codec.audio.store import AudioStore, AudioStoreError, AudioStoreWriter


def write(folder, waveforms):
    with AudioStoreWriter(folder, 24_000) as writer:
        for number, waveform in enumerate(waveforms):
            writer.add(waveform, {"id": str(number)})


def test_clips_come_back_with_their_rows(tmp_path, make_waveform):
    waveforms = [make_waveform(0.2, seed=1), make_waveform(0.1, seed=2)]
    write(tmp_path, waveforms)
    store = AudioStore(tmp_path)
    assert [row["id"] for row in store.rows] == ["0", "1"]
    for number, waveform in enumerate(waveforms):
        np.testing.assert_allclose(store.waveform(number), waveform, atol=1 / 32767)


def test_a_crop_past_the_end_is_padded_with_silence(tmp_path):
    write(tmp_path, [np.full(10, 0.5, np.float32), np.full(10, -0.5, np.float32)])
    crop = AudioStore(tmp_path).crop(0, 6, 8)
    np.testing.assert_allclose(crop, [0.5] * 4 + [0.0] * 4, atol=1e-4)


def test_a_store_goes_to_a_worker_without_its_samples(tmp_path, make_waveform):
    write(tmp_path, [make_waveform(2.0)])
    store = AudioStore(tmp_path)
    pickled = pickle.dumps(store)
    assert len(pickled) < 1000
    np.testing.assert_array_equal(pickle.loads(pickled).waveform(0), store.waveform(0))


def test_an_unfinished_store_is_not_read(tmp_path, make_waveform):
    writer = AudioStoreWriter(tmp_path, 24_000)
    writer.add(make_waveform(0.1), {"id": "a"})
    with pytest.raises(AudioStoreError, match="prepare"):
        AudioStore(tmp_path)
    writer.close()
    assert len(AudioStore(tmp_path)) == 1


def test_a_damaged_store_is_refused(tmp_path, make_waveform):
    write(tmp_path, [make_waveform(0.1)])
    (tmp_path / "audio.i16").write_bytes(b"\0\0")
    with pytest.raises(AudioStoreError, match="expected 1 clips"):
        AudioStore(tmp_path)


def test_an_empty_waveform_is_refused(tmp_path):
    with (
        pytest.raises(AudioStoreError, match="T > 0"),
        AudioStoreWriter(tmp_path, 24_000) as writer,
    ):
        writer.add(np.zeros(0, np.float32), {})
    assert not (tmp_path / "store.json").exists()

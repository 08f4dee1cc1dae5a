"""Clips at other speeds and from later samples on."""

import numpy as np
import pytest

from codec.audio.pcm import as_integers
from recipes.corpora.manifest import read_manifest
from recipes.encoding.clips import Recording, at_speed, sped_length


@pytest.mark.parametrize("speed", [0.5, 0.93, 1.07, 1.999, 2.0])
@pytest.mark.parametrize("count", [1, 2, 7, 1023, 24_001])
def test_what_is_played_at_a_speed_has_the_planned_length(speed, count):
    samples = np.full(count, 1000, dtype=np.int16)
    assert len(at_speed(samples, speed)) == sped_length(count, speed)


def test_a_tone_played_faster_is_higher():
    tone = np.sin(2 * np.pi * 400 * np.arange(24_000) / 24_000)
    played = at_speed(as_integers(0.5 * tone), 1.25)
    assert np.abs(np.fft.rfft(played)).argmax() * 24_000 / len(played) == pytest.approx(500, abs=2)


def test_a_shift_beyond_a_recordings_end_is_a_reason(make_corpus, make_config):
    corpus, _ = make_corpus((1, 1, 1))
    row = read_manifest(corpus / "manifest.jsonl")[0]
    with pytest.raises(ValueError, match="nothing left from sample 12000 on"):
        Recording(row, make_config(corpus).prepare, 12_000).read()

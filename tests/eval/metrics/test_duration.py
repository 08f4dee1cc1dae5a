"""Length, silence, runaways and loops of generated speech."""

import unicodedata
from dataclasses import replace

import numpy as np
import pytest

from eval.metrics.duration import DeliveryMetric, DurationMetric, GenerationRecord, silent_frames
from eval.protocols import Item, MetricError

RATE = 16000


def item(estimate, text="", reference=None):
    return Item("a", reference, estimate, RATE, text)


def test_silence_is_counted_against_the_loud_frames(make_speech):
    speech = 0.2 * np.ones(RATE) * np.sin(np.arange(RATE))
    half = np.concatenate([speech, np.zeros(RATE)])
    assert silent_frames(half, RATE).mean() == pytest.approx(0.5, abs=0.02)
    values = DeliveryMetric().score(item(half)).values
    assert values["silence_share"] == pytest.approx(0.5, abs=0.02)
    assert values["pause"] == pytest.approx(1.0, abs=0.03)


def test_a_runaway_is_found_by_the_record_else_by_its_length(make_speech):
    speech = make_speech(4.0, sample_rate=RATE)
    assert DeliveryMetric().score(item(speech, "hi")).values["runaway"] == 1.0
    assert DeliveryMetric().score(item(speech, "word " * 12)).values["runaway"] == 0.0
    assert DeliveryMetric().score(item(speech)).values["runaway"] is None
    recorded = DeliveryMetric({"a": GenerationRecord(truncated=False)})
    assert recorded.score(item(speech, "hi")).values["runaway"] == 0.0
    assert recorded.info.id != DeliveryMetric().info.id
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "caf\u00e9")
        record = {unicodedata.normalize("NFC", name): GenerationRecord(truncated=False)}
        found = DeliveryMetric(record).score(replace(item(speech, "hi"), id=name))
        assert found.values["runaway"] == 0.0


def test_loops_go_by_the_codes_where_there_are_some(make_speech):
    speech = make_speech(2.0, sample_rate=RATE)
    record = GenerationRecord(codes=np.tile([1, 2, 3], 12), frame_rate=12.0)
    values = DeliveryMetric({"a": record}).score(item(speech)).values
    assert (values["repeated"], values["looped_share"]) == (1.0, 1.0)
    assert DeliveryMetric().score(item(speech)).values["repeated"] == 0.0


def test_duration_is_that_of_speech_and_of_the_whole(make_speech):
    speech = make_speech(2.0, sample_rate=RATE)
    late = np.concatenate([np.zeros(RATE), speech, np.zeros(RATE)])
    values = DurationMetric().score(item(late, reference=speech)).values
    assert values["duration_ratio"] == pytest.approx(1.0, abs=0.05)
    assert values["total_ratio"] == 2.0


@pytest.mark.parametrize("bad", [np.zeros(RATE), np.zeros(0), np.full(RATE, np.nan), None])
def test_what_cannot_be_measured_is_refused(bad):
    for metric in (DeliveryMetric(), DurationMetric()):
        with pytest.raises(MetricError):
            metric.score(item(bad, reference=0.1 * np.sin(np.arange(RATE))))


def test_speech_too_faint_for_any_frame_is_refused_with_a_reason(make_speech):
    """Its peak is above -60 dB and no frame is; it ended the whole run with an IndexError."""
    faint = np.random.default_rng(0).standard_normal(2 * RATE)
    faint *= 1.3e-3 / np.abs(faint).max()
    loud = make_speech(2.0, sample_rate=RATE)
    for reference, estimate, part in ((loud, faint, "estimate"), (faint, loud, "reference")):
        with pytest.raises(MetricError, match=f"{part} is silent"):
            DurationMetric().score(Item("a", reference, estimate, RATE))

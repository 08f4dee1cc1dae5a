"""Speaker encoders and the similarity they give, with its band."""

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval.metrics.readiness import status
from eval.metrics.speaker_encoders import (
    ResemblyzerEncoder,
    WavLMSpeakerEncoder,
    unit,
    window_starts,
)
from eval.metrics.speaker_similarity import (
    SimilarityMetric,
    bandwidth,
    equal_error,
    prompt_margin,
    speaker_band,
)
from eval.protocols import CorpusMetric, Item, MetricError, Score, ScoredItem
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from eval.sound import Sound
from tests.support.pretended_cuda import moved, pretended_cuda, unknown

RATE = 16000


class FakeEncoder:
    """Two numbers of a waveform: how much lies below and above 1 kHz."""

    id = "fake1"
    packages = ()
    weights = ()
    alternative = ""
    is_large = False
    calls = 0

    def prepare(self):
        pass

    def embed(self, waveform):
        self.calls += 1
        power = np.abs(np.fft.rfft(waveform)) ** 2
        edge = round(1000 * waveform.size / RATE)
        return unit(np.array([power[:edge].sum(), power[edge:].sum()]))


def tone(hertz, seconds=0.5):
    return 0.1 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def packed(*vector):
    return base64.b64encode(np.array(vector, "<f2").tobytes()).decode()


def test_windows_cover_the_waveform_and_a_short_end_is_dropped():
    assert window_starts(RATE // 2) == [0]
    assert window_starts(round(1.6 * RATE)) == [0]
    assert window_starts(3 * RATE) == [0, 77, 154]
    assert window_starts(round(2.37 * RATE)) == [0, 77]
    assert window_starts(round(1.9 * RATE)) == [0]


def test_the_same_voice_is_one_and_its_vector_computed_once_an_item():
    encoder = FakeEncoder()
    metric = SimilarityMetric(encoder)
    assert isinstance(metric, CorpusMetric)
    item = Item("a", tone(300), tone(300), RATE)
    assert metric.score(item).values["speaker_sim"] == pytest.approx(1.0)
    metric.score(item)
    assert encoder.calls == 2
    with pytest.raises(MetricError, match="silent"):
        metric.score(Item("b", tone(300), np.zeros(RATE), RATE))


def test_the_prompt_is_compared_with_where_it_was_spoken_in():
    metric = SimilarityMetric(FakeEncoder(), "prompt")
    assert metric.info.needs == {"estimate", "prompt"}
    assert metric.info.id == "speaker_sim_prompt.fake1"
    item = Item("a", tone(3000), tone(300), RATE, prompt=tone(300))
    assert metric.score(item).values["speaker_sim_prompt"] == pytest.approx(1.0)


def test_the_margin_is_over_the_prompts_of_other_voices():
    prompts = [packed(1, 0), packed(1, 0), packed(0, 1), packed(0.6, 0.8)]
    spoken = [packed(1, 0), packed(0.6, 0.8), packed(0.6, 0.8), packed(1, 0)]
    # The last two prompts are of one voice: the one is no stranger's of the other.
    found = prompt_margin(spoken, prompts, ["", "", "b", "b"])
    expected = [1 - 0.3, 0.6 - 0.9, 0.8 - 0.6, 0.6 - 1]
    assert found["pairs"] == 4
    assert found["mean"] == pytest.approx(np.mean(expected), abs=1e-3)
    # With one prompt there is no other voice.
    assert prompt_margin(spoken[:2], prompts[:2], ["", ""])["mean"] is None
    assert prompt_margin([], [], [])["pairs"] == 0


def test_speech_that_owes_its_prompt_nothing_has_no_margin():
    metric = SimilarityMetric(FakeEncoder(), "prompt")
    items = [
        ScoredItem(str(number), "", metric.score(Item("a", tone(300), tone(300), RATE, prompt=of)))
        for number, of in enumerate((tone(300), tone(3000)))
    ]
    assert metric.corpus(items)["margin_unnamed"]["mean"] == pytest.approx(0, abs=1e-3)
    # Scores of before the margin keep no vector of the estimate.
    old = [
        replace(item, score=replace(item.score, stored={"voice": item.score.stored["voice"]}))
        for item in items
    ]
    assert metric.corpus(old)["margin"]["mean"] is None


@pytest.mark.parametrize("edge", [2000, 4000, 7000])
def test_bandwidth_is_where_the_spectrum_ends(edge):
    spectrum = np.random.default_rng(0).normal(size=4 * RATE // 2 + 1) + 0j
    spectrum[edge * 4 :] = 0
    waveform = np.fft.irfft(spectrum)
    assert bandwidth(waveform, RATE) == pytest.approx(edge, abs=300)
    assert bandwidth(np.zeros(RATE), RATE) == 0.0


def test_a_copy_of_half_the_band_is_told_beside_its_similarity():
    rng = np.random.default_rng(0)
    whole = 0.1 * rng.normal(size=RATE)
    spectrum = np.fft.rfft(whole)
    spectrum[4000:] = 0
    narrow = np.fft.irfft(spectrum)
    metric = SimilarityMetric(FakeEncoder())
    scores = [metric.score(Item("a", whole, each, RATE)) for each in (whole, narrow)]
    assert "narrower band" not in scores[0].details
    # A band more: the edge of the spectrum leaks past it.
    assert scores[1].details["bandwidth"] == "4.2 of 8.0 kHz"
    assert "up to 4.2 kHz" in scores[1].details["narrower band"]
    items = [ScoredItem(str(n), "", score) for n, score in enumerate(scores)]
    assert metric.corpus(items)["narrower_band"] == 1


def test_the_band_is_of_pairs_of_recordings_within_and_between_speakers():
    voices = [packed(1, 0), packed(0.8, 0.6), packed(0, 1), packed(0, 1), packed(0.6, 0.8)]
    band = speaker_band(voices, ["ann", "ann", "bob", "bob", ""])
    # Bob's two entries are one recording; the last clip has no speaker.
    assert band["same_speaker"] == pytest.approx(
        {"mean": 0.8, "p5": 0.8, "p95": 0.8, "pairs": 1}, abs=1e-3
    )
    assert band["different_speaker"]["pairs"] == 2
    assert band["different_speaker"]["mean"] == pytest.approx(0.3, abs=1e-3)
    assert band["equal_error_rate"] == 0.0
    empty = speaker_band(voices[:1], [""])
    assert empty["same_speaker"] == {"mean": None, "p5": None, "p95": None, "pairs": 0}
    assert empty["equal_error_rate"] is None


def test_the_equal_error_is_where_misses_meet_false_alarms():
    rate, threshold = equal_error(np.array([0.9, 0.8, 0.7, 0.4]), np.array([0.1, 0.2, 0.3, 0.75]))
    assert rate == pytest.approx(0.25)
    assert threshold == pytest.approx(0.7)


def test_the_summary_holds_the_band_and_a_resumed_one_is_the_same(tmp_path):
    shares = (0.9, 0.8, 0.2, 0.1)
    clips = [Sound(share * tone(300) + (1 - share) * tone(3000), RATE) for share in shares]
    pairs = [
        Pair(f"c{n}", clip, clip, speaker="low" if n < 2 else "high")
        for n, clip in enumerate(clips)
    ]
    metric = SimilarityMetric(FakeEncoder())
    whole = score_pairs(pairs, [metric], tmp_path / "whole", show_progress=False)
    band = whole["metrics"]["speaker_sim.fake1"]["corpus"]
    assert band["same_speaker"]["pairs"] == 2
    assert band["different_speaker"]["mean"] < band["same_speaker"]["mean"]
    score_pairs(pairs[:2], [metric], tmp_path / "cut", show_progress=False)
    score_pairs(pairs, [metric], tmp_path / "cut", show_progress=False)
    one, two = ((tmp_path / name / "summary.json").read_bytes() for name in ("whole", "cut"))
    assert one == two


def test_resemblyzer_finds_a_voice_like_itself_and_unlike_noise(make_speech, add_noise):
    encoder = ResemblyzerEncoder()
    metric = SimilarityMetric(encoder)
    if status(metric) != "ready":
        pytest.skip("the weights are not installed")
    speech = make_speech(2.0, sample_rate=RATE)
    voice = encoder.embed(speech)
    assert voice.shape == (256,)
    assert (voice >= 0).all()
    assert np.linalg.norm(voice) == pytest.approx(1.0)
    values: list[Any] = [
        metric.score(Item("a", speech, each, RATE)).values["speaker_sim"]
        for each in (speech, add_noise(speech, 20), add_noise(speech, 0))
    ]
    assert values[0] == pytest.approx(1.0, abs=1e-6)
    assert values[0] > values[1] > values[2]


def test_wavlm_loads_a_folder_by_path(monkeypatch, tmp_path, make_speech):
    transformers = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "conv_dim": (8, 8),
        "conv_kernel": (10, 8),
        "conv_stride": (5, 4),
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
        "tdnn_dim": (8, 8, 8, 8, 8),
        "xvector_output_dim": 12,
    }
    model = transformers.WavLMForXVector(transformers.WavLMConfig(**sizes))
    model.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    monkeypatch.setenv("HH_WEIGHT_WAVLM_SV", str(tmp_path))
    metric = SimilarityMetric(WavLMSpeakerEncoder(), family="wavlm_sim")
    speech = make_speech(0.5, sample_rate=RATE)
    metric.prepare()
    assert metric.encoder.embed(speech).shape == (12,)
    values = metric.score(Item("a", speech, speech, RATE)).values
    assert values["wavlm_sim"] == pytest.approx(1.0, abs=1e-6)


def test_a_network_of_a_metric_works_on_its_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_waveform: Callable[..., np.ndarray]
) -> None:
    lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    state = {f"lstm.{k}": v for k, v in lstm.state_dict().items()}
    state |= {f"linear.{k}": v for k, v in linear.state_dict().items()}
    torch.save({"model_state": state}, tmp_path / "weights.pt")
    monkeypatch.setattr(
        "eval.metrics.speaker_encoders.require_weight", lambda spec: tmp_path / "weights.pt"
    )
    waveform = make_waveform(2.0, sample_rate=16_000)
    expected = ResemblyzerEncoder().embed(waveform)
    monkeypatch.setenv("HH_EVAL_DEVICE", "cuda")
    encoder = ResemblyzerEncoder()
    with pretended_cuda() as gpu:
        monkeypatch.setattr(encoder, "_model", tuple(moved(each) for each in encoder._load()))
        found = encoder.embed(waveform)
    assert unknown(gpu, {"eval/metrics/speaker_encoders.py::embed": 1}) == {}
    np.testing.assert_allclose(found, expected)


def test_no_cosine_is_above_one(make_speech):
    """Vectors are rounded: a voice beside itself came to 1.00000001."""
    encoder = ResemblyzerEncoder()
    if status(SimilarityMetric(encoder)) != "ready":
        pytest.skip("Resemblyzer is not installed")
    for seed in range(8):
        speech = make_speech(1.0, seed=seed, sample_rate=16000)
        (value,) = SimilarityMetric(encoder).score(Item("a", speech, speech, 16000)).values.values()
        assert value is not None
        assert value == pytest.approx(1.0)
        assert value <= 1.0


def test_a_margin_says_whether_the_voices_are_named():
    """Over prompts of one voice it is 0 for the best of speech, and nothing said whose they are."""
    scored = [
        ScoredItem(name, speaker, Score({}, {}, {"voice": packed(1, n), "estimate": packed(1, n)}))
        for n, (name, speaker) in enumerate((("a", "ann"), ("b", "bob")))
    ]
    metric = SimilarityMetric(FakeEncoder(), "prompt")
    assert metric.corpus(scored)["margin"]["pairs"] == 2
    unnamed = metric.corpus([replace(item, speaker="") for item in scored])
    assert "margin" not in unnamed
    assert unnamed["margin_unnamed"]["pairs"] == 2

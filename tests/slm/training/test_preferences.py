"""Preferences between two ways of speaking a text."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slm.data.documents import build_document
from slm.model.likelihood import log_likelihood
from slm.model.speech_lm import SpeechLM
from slm.training.fit import fit_speech_lm
from slm.training.preferences import (
    PreferencePair,
    PreferenceRows,
    PreferenceSettings,
    pair_sums,
    preference_loss,
)
from tests.support.builders import SETTINGS, metrics_of

DPO, SIMPO = PreferenceSettings(), PreferenceSettings("simpo", beta=2.0, margin=0.5)


def pairs_of(lm: SpeechLM, count: int = 6) -> list[PreferencePair]:
    """Rising codes are preferred to falling ones, of other lengths, each after a prompt."""
    found = []
    for number in range(count):
        rising = (np.arange(10 + number) * 3) % 64
        prompt = np.arange(5) + number
        documents = (
            build_document(lm.vocabulary, codes, text_ids=[5, 6 + number], prompt=prompt)
            for codes in (rising, rising[::-1][: 8 + number])
        )
        found.append(PreferencePair(*documents))
    return found


def rows_of(
    lm: SpeechLM, settings: PreferenceSettings = DPO, batch_size: int = 2
) -> PreferenceRows:
    return PreferenceRows(pairs_of(lm), lm, batch_size=batch_size, settings=settings, seed=1)


def train(lm: SpeechLM, rows: PreferenceRows, folder: Path, steps: int) -> SpeechLM:
    settings = replace(SETTINGS, max_steps=steps, min_learning_rate=3e-3, weight_decay=0.0)
    options = {"accelerator": "cpu", "progress": False, "validation": rows.validation()}
    return fit_speech_lm(lm, rows, folder, settings=settings, **options)  # type: ignore[arg-type]


def test_sums_are_of_the_speech_of_each_document_alone(lm: SpeechLM) -> None:
    """Neither prompt nor text counts, and a pair in one row does not see its other half."""
    rows = rows_of(lm, batch_size=6)
    batch = rows.batch(0)
    sums, counts = pair_sums(lm, batch)
    for row, number in enumerate((batch.document_ids[:, 0] // 2).tolist()):
        for side, document in enumerate(pairs_of(lm)[number]):
            tokens = torch.from_numpy(document.tokens)
            likelihoods = lm(tokens[None])[0, :-1].log_softmax(-1)
            start = document.tokens.tolist().index(lm.vocabulary.speech_id)
            expected = likelihoods[range(start, len(tokens) - 1), tokens[start + 1 :]].sum()
            assert counts[row, side] == len(tokens) - 1 - start
            torch.testing.assert_close(sums[row, side], expected, atol=1e-3, rtol=1e-4)


def test_the_losses_are_those_of_their_papers() -> None:
    sums, reference = torch.tensor([[-30.0, -25.0]]), torch.tensor([[-33.0, -24.0]])
    counts = torch.tensor([[10.0, 5.0]])
    settings = PreferenceSettings(beta=0.5)
    # beta ((-30 + 33) - (-25 + 24)) = 2
    expected = math.log(1 + math.exp(-2.0))
    assert preference_loss(sums, counts, reference, settings).item() == pytest.approx(expected)
    # beta (-3 - -5 - margin) = 3
    expected = math.log(1 + math.exp(-3.0))
    assert preference_loss(sums, counts, reference, SIMPO).item() == pytest.approx(expected)
    weighted = replace(SIMPO, likelihood_weight=0.5)
    loss = preference_loss(sums, counts, reference, weighted).item()
    assert loss == pytest.approx(expected + 0.5 * 3.0)


@pytest.mark.parametrize("settings", [DPO, SIMPO])
def test_what_is_preferred_becomes_likelier_than_what_is_not(
    make_lm: Callable[..., SpeechLM], tmp_path: Path, settings: PreferenceSettings
) -> None:
    lm = make_lm(gain=1.0)

    def lead() -> float:
        chosen, rejected = (
            [each.log_likelihood_per_code for each in log_likelihood(lm, side)]
            for side in zip(*pairs_of(lm), strict=True)
        )
        return float(np.mean(chosen) - np.mean(rejected))

    before, rows = lead(), rows_of(lm, settings)
    train(lm, rows, tmp_path, 12)
    assert lead() > before + 0.5
    metrics = metrics_of(tmp_path)
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    # Before its first step a model is its own reference.
    if settings.kind == "dpo":
        assert metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert metrics[-1]["valid_nats_chosen"] < metrics[-1]["valid_nats_rejected"]


def test_a_run_that_was_cut_off_goes_on_to_the_bit(
    make_lm: Callable[..., SpeechLM], tmp_path: Path
) -> None:
    straight = train(make_lm(), rows_of(make_lm()), tmp_path / "a", 5)
    train(make_lm(), rows_of(make_lm()), tmp_path / "b", 3)
    resumed = train(make_lm(), rows_of(make_lm()), tmp_path / "b", 5)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    with pytest.raises(ValueError, match=r"preferences\.beta 0\.1, got 2\.0"):
        train(make_lm(), rows_of(make_lm(), SIMPO), tmp_path / "b", 6)


def test_every_pair_comes_once_an_epoch(lm: SpeechLM) -> None:
    rows = rows_of(lm)
    for epoch in (0, 1):
        numbers = [
            int(number) // 2
            for index in range(3 * epoch, 3 * epoch + 3)
            for number in rows.batch(index).document_ids[:, 0]
        ]
        assert sorted(numbers) == list(range(6))


def test_what_cannot_be_compared_is_refused(lm: SpeechLM) -> None:
    pair = pairs_of(lm, 1)[0]
    silent = pair.chosen._replace(loss_weights=np.zeros_like(pair.chosen.loss_weights))
    long = build_document(lm.vocabulary, np.zeros(200, int))
    for pairs in ([], [PreferencePair(pair.chosen, silent)], [PreferencePair(long, pair.chosen)]):
        with pytest.raises(ValueError, match=r"at least one pair|some to compare"):
            PreferenceRows(pairs, lm, batch_size=1, settings=DPO)
    with pytest.raises(ValueError, match="kind"):
        PreferenceSettings("ppo")

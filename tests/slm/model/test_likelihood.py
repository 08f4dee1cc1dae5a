from collections.abc import Callable

import pytest
import torch

from slm.data.documents import build_document
from slm.data.packed_dataset import PackedDataset
from slm.model.likelihood import log_likelihood, nats_per_code
from slm.model.speech_lm import SpeechLM


def test_a_two_code_likelihood_matches_the_hand_computed_one(lm: SpeechLM) -> None:
    document = build_document(lm.vocabulary, [3, 9], text_ids=[1, 2], prompt=[5, 6])
    tokens = torch.from_numpy(document.tokens)
    log_probabilities = lm(tokens[None])[0].log_softmax(dim=-1)
    place = tokens.tolist().index(lm.vocabulary.speech_id)
    expected = [log_probabilities[place + i, tokens[place + 1 + i]].item() for i in range(2)]
    score = log_likelihood(lm, [document])[0]
    assert score.num_codes == 2
    assert score.per_code.tolist() == pytest.approx(expected, rel=1e-4)
    assert score.log_likelihood == pytest.approx(sum(expected), rel=1e-4)
    assert score.log_likelihood_per_code == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_the_model_gives_every_token_but_the_first_its_log_likelihood(lm: SpeechLM) -> None:
    tokens = torch.tensor([1, 5, 60, 61, 2])
    log_probabilities = lm(tokens[None])[0].log_softmax(dim=-1)
    expected = torch.stack([log_probabilities[i, tokens[i + 1]] for i in range(4)])
    torch.testing.assert_close(
        -lm.token_nll(tokens[None], torch.ones_like(tokens[None], dtype=torch.bool)), expected
    )


def test_packed_batches_and_single_documents_agree(
    lm: SpeechLM, make_rows: Callable[..., PackedDataset]
) -> None:
    rows = make_rows()
    scores = log_likelihood(lm, list(rows.epoch_documents()))
    alone = -sum(s.log_likelihood for s in scores) / sum(s.num_codes for s in scores)
    assert nats_per_code(lm, rows.epoch_batches()) == pytest.approx(alone, rel=1e-5)


def test_dropout_is_off_while_scoring_and_back_on_afterwards(
    make_lm: Callable[..., SpeechLM],
) -> None:
    lm = make_lm(dropout=0.5).train()
    document = build_document(lm.vocabulary, [3, 9, 4])
    first, second = (log_likelihood(lm, [document])[0].log_likelihood for _ in range(2))
    assert first == second
    assert lm.training


def test_documents_that_cannot_be_scored_are_refused(lm: SpeechLM) -> None:
    with pytest.raises(ValueError, match="with speech codes"):
        log_likelihood(lm, [build_document(lm.vocabulary, [], text_ids=[1])])
    with pytest.raises(ValueError, match="at most 160 tokens, got 203"):
        log_likelihood(lm, [build_document(lm.vocabulary, [1] * 200)])
    with pytest.raises(ValueError, match="at least one speech code"):
        nats_per_code(lm, [])


def test_documents_scored_together_and_alone_agree_and_keep_their_order(lm: SpeechLM) -> None:
    lengths = [9, 2, 30, 5]
    documents = [build_document(lm.vocabulary, range(n), text_ids=[1]) for n in lengths]
    together = log_likelihood(lm, documents)
    alone = log_likelihood(lm, documents, batch_tokens=1)
    assert [score.num_codes for score in together] == lengths
    for first, second in zip(together, alone, strict=True):
        torch.testing.assert_close(first.per_code, second.per_code, atol=1e-4, rtol=1e-4)
    per_second = together[0].log_likelihood_per_second(20.0)
    assert per_second == pytest.approx(20 * together[0].log_likelihood_per_code)

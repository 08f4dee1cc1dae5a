"""Transcriptions among the documents of an epoch, and of a validation split."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from slm.data.config import DocumentSettings
from slm.data.documents import Document, build_transcription
from slm.data.packed_dataset import PackedDataset
from slm.data.transcription_probe import TEXT_NAME, transcription_probe
from slm.data.vocabulary import Vocabulary
from slm.model.likelihood import nats_per_text_token
from slm.model.speech_lm import SpeechLM
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PhoneTokenizer

Rows = Callable[..., PackedDataset]


def is_transcription(document: Document, vocabulary: Vocabulary) -> bool:
    """Whether text comes after codes."""
    tokens = document.tokens.tolist()
    return vocabulary.text_id in tokens and tokens.index(vocabulary.text_id) > tokens.index(
        vocabulary.speech_id
    )


def epoch(rows: PackedDataset, number: int = 0) -> list[Document]:
    return list(rows.epoch_documents(number))


def test_every_item_with_a_text_is_one_where_the_chance_is_1(
    make_rows: Rows, vocabulary: Vocabulary
) -> None:
    documents: dict[str, Any] = {
        "transcribe_probability": 1.0,
        "text_drop_probability": 1.0,
        "interleave_probability": 1.0,
    }
    rows = make_rows(1.0, documents=documents)
    found = epoch(rows)
    expected = {
        tuple(build_transcription(vocabulary, rows.index.codes(n), text).tokens.tolist())
        for n in range(len(rows))
        if (text := rows.index.text_ids(n)) is not None
    }
    made = [each for each in found if is_transcription(each, vocabulary)]
    assert {tuple(each.tokens.tolist()) for each in made} == expected
    assert len(made) == len(expected) == 20
    assert all(each.loss_weights.sum() > 1 for each in made)
    # The four without a text stay speech alone.
    assert len(found) - len(made) == 4


def test_their_share_is_what_was_asked_for_and_is_drawn_anew_each_epoch(
    make_rows: Rows, vocabulary: Vocabulary
) -> None:
    rows = make_rows(documents={"transcribe_probability": 0.4})
    counts = [
        sum(is_transcription(each, vocabulary) for each in epoch(rows, number))
        for number in range(20)
    ]
    assert np.mean(counts) == pytest.approx(0.4 * 20, abs=1.5)
    assert len(set(counts)) > 1


def test_the_other_documents_are_those_without_the_setting(
    make_rows: Rows, vocabulary: Vocabulary
) -> None:
    """The draws of prompts and of everything else do not shift."""
    plain, mixed = make_rows(), make_rows(documents={"transcribe_probability": 0.3})
    before = {tuple(each.tokens.tolist()) for each in epoch(plain)}
    after = [each for each in epoch(mixed) if not is_transcription(each, vocabulary)]
    assert {tuple(each.tokens.tolist()) for each in after} < before


def test_codes_have_the_loss_that_was_asked_for(make_rows: Rows, vocabulary: Vocabulary) -> None:
    documents = {"transcribe_probability": 1.0, "transcribe_code_loss_weight": 0.25}
    made = [
        each for each in epoch(make_rows(documents=documents)) if is_transcription(each, vocabulary)
    ]
    for each in made:
        weights = each.loss_weights[each.tokens >= vocabulary.code_start]
        assert weights.tolist() == [0.25] * len(weights)


def test_validation_has_none_and_a_figure_of_its_own(
    make_rows: Rows, vocabulary: Vocabulary, lm: SpeechLM
) -> None:
    settings = DocumentSettings(transcribe_probability=0.7).without_augmentation()
    assert settings.transcribe_probability == 0
    rows = make_rows(0.0)
    batches = transcription_probe(rows)[TEXT_NAME]
    texts = sum(len(ids) for n in range(len(rows)) if (ids := rows.index.text_ids(n)) is not None)
    with_loss = sum(int((batch.loss_weights > 0).sum()) for batch in batches)
    assert with_loss == texts + 20  # and an end each
    # The mean over text tokens, one document at a time.
    total = 0.0
    for n in range(len(rows)):
        ids = rows.index.text_ids(n)
        if ids is None:
            continue
        tokens = build_transcription(vocabulary, rows.index.codes(n), ids).tokens

        likelihoods = lm(torch.from_numpy(tokens)[None])[0].detach().log_softmax(-1)
        start = len(tokens) - 1 - len(ids)
        total -= sum(float(likelihoods[p - 1, tokens[p]]) for p in range(start, len(tokens) - 1))
    assert nats_per_text_token(lm, batches) == pytest.approx(total / texts, rel=1e-4)
    with pytest.raises(ValueError, match="text token with a loss"):
        nats_per_text_token(lm, rows.epoch_batches())


def test_phones_are_refused(make_rows: Rows) -> None:
    rows = make_rows(0.0)
    with pytest.raises(ValueError, match="phones, which spell no words"):
        PackedDataset(
            rows._stores,
            PhoneTokenizer(Lexicon({})),
            Vocabulary(PhoneTokenizer.vocab_size, 64),
            seq_len=128,
            batch_size=2,
            settings=DocumentSettings(transcribe_probability=0.5),
        )

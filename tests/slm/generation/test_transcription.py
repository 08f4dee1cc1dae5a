"""Speech to text: a model that has learnt ten recordings, and the search for their text."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from slm.data.documents import build_transcription
from slm.data.packed_batch import stack_rows
from slm.data.vocabulary import Vocabulary
from slm.engines.engine import open_engine
from slm.generation.config import TranscriptionSettings
from slm.generation.transcription import transcribe_codes
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM
from slm.text.sentencepiece_tokenizer import TextTokenizer
from tests.support.builders import CODEBOOK_SIZE, FINGERPRINT, SENTENCE

GREEDY = TranscriptionSettings(beam=1)
Items = list[tuple[np.ndarray, list[int]]]


@pytest.fixture(scope="session")
def items(tokenizer: TextTokenizer) -> Items:
    """Codes and text of ten short recordings, no two of one length after another."""
    generator, words = np.random.default_rng(0), SENTENCE.split()
    return [
        (
            generator.integers(0, CODEBOOK_SIZE, 8 + n % 4),
            tokenizer.encode(" ".join(words[n : n + 2])),
        )
        for n in range(10)
    ]


@pytest.fixture(scope="session")
def learnt(items: Items, vocabulary: Vocabulary) -> SpeechLM:
    """A tiny model that knows the ten by heart."""
    torch.manual_seed(0)
    config = SpeechLMConfig.preset(
        "tiny",
        vocabulary=vocabulary.to_dict(),
        codec_fingerprint=FINGERPRINT,
        frame_rate=23.4375,
        max_seq_len=160,
        transcribes=True,
    )
    lm = SpeechLM(config).train()
    documents = [[build_transcription(vocabulary, *item)] for item in items]
    batch = stack_rows(documents, max(len(row[0].tokens) for row in documents), vocabulary.pad_id)
    optimizer = torch.optim.AdamW(lm.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        lm.loss(batch.tokens, batch.loss_weights).backward()
        optimizer.step()
    return lm.eval()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("beam", [1, 4])
def test_ten_recordings_that_were_learnt_are_transcribed_exactly(
    learnt: SpeechLM, items: Items, beam: int
) -> None:
    found = transcribe_codes(learnt, [codes for codes, _ in items], TranscriptionSettings(beam))
    assert [list(each.text_ids) for each in found] == [text for _, text in items]
    assert not any(each.truncated for each in found)


@pytest.fixture
def wild(make_lm: Callable[..., SpeechLM]) -> SpeechLM:
    """A model of random weights, whose texts end nowhere near where others do."""
    return make_lm(transcribes=True)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("beam", [1, 3])
def test_a_batch_gives_each_recording_what_it_gets_alone(
    wild: SpeechLM, items: Items, beam: int
) -> None:
    codes = [each for each, _ in items[:5]]
    settings = TranscriptionSettings(beam, max_text_tokens=9)
    together = transcribe_codes(wild, codes, settings)
    few = transcribe_codes(wild, codes, settings, max_rows=2)
    for row, waited, each in zip(together, few, codes, strict=True):
        (alone,) = transcribe_codes(wild, [each], replace(settings, use_cache=False))
        assert row.text_ids == waited.text_ids == alone.text_ids
        assert row.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-3)


def test_greedy_text_is_what_the_whole_model_finds_likeliest(wild: SpeechLM, items: Items) -> None:
    codes = items[0][0]
    (made,) = transcribe_codes(wild, [codes], replace(GREEDY, max_text_tokens=12))
    vocabulary = wild.vocabulary
    document = build_transcription(vocabulary, codes, made.text_ids)
    tokens = torch.from_numpy(document.tokens)
    likelihoods = wild(tokens[None])[0].detach()
    allowed = [vocabulary.eos_id, *range(vocabulary.text_start, vocabulary.code_start)]
    total = 0.0
    for place in range(len(codes) + 2, len(codes) + 2 + len(made.text_ids)):
        row = likelihoods[place, allowed].log_softmax(-1)
        assert allowed[int(row.argmax())] == tokens[place + 1]
        total += float(row.max())
    assert made.log_likelihood == pytest.approx(total, abs=1e-3)


def test_a_beam_finds_no_less_likely_text_than_greedy_search(wild: SpeechLM, items: Items) -> None:
    codes = [each for each, _ in items]
    cut = {"max_text_tokens": 6, "length_power": 0.0}
    greedy = transcribe_codes(wild, codes, TranscriptionSettings(1, **cut))
    wide = transcribe_codes(wild, codes, TranscriptionSettings(8, **cut))
    both = [(a.log_likelihood, b.log_likelihood) for a, b in zip(greedy, wide, strict=True)]
    assert sum(b for _, b in both) > sum(a for a, _ in both)


def test_draws_depend_on_the_seed_alone(wild: SpeechLM, items: Items) -> None:
    codes = [items[0][0]] * 3
    settings = TranscriptionSettings(beam=1, temperature=2.0, max_text_tokens=8)
    found = transcribe_codes(wild, codes, settings, seeds=[5, 6, 5])
    assert found[0].text_ids == found[2].text_ids != found[1].text_ids


def test_a_text_is_cut_at_its_maximum_and_says_so(wild: SpeechLM, items: Items) -> None:
    with torch.no_grad():
        wild.head.weight[wild.vocabulary.eos_id] = 0.0
    (made,) = transcribe_codes(wild, [items[0][0]], TranscriptionSettings(max_text_tokens=3))
    assert made.truncated
    assert len(made.text_ids) == 3
    assert made.log_likelihood_per_token == pytest.approx(made.log_likelihood / 3)


@pytest.mark.usefixtures("engine")
def test_a_row_that_is_named_twice_becomes_two(wild: SpeechLM, engine: str) -> None:
    prompts = [torch.tensor([1, 5, 3]), torch.tensor([1, 5, 9, 7])]
    copied, alone = (open_engine(wild, 4, 20) for _ in range(2))
    copied.prefill(prompts)
    copied.select([1, 1, 0, 1])
    tokens = torch.tensor([11, 12, 13, 14])
    hidden = copied.decode(tokens)
    alone.prefill([prompts[1], prompts[1], prompts[0], prompts[1]])
    torch.testing.assert_close(hidden, alone.decode(tokens), atol=1e-4, rtol=1e-4)


def test_what_cannot_be_transcribed_is_refused(
    wild: SpeechLM, make_lm: Callable[..., SpeechLM]
) -> None:
    codes = np.arange(9)
    with pytest.raises(ValueError, match="trained to transcribe"):
        transcribe_codes(make_lm(), [codes])
    with pytest.raises(ValueError, match="training mode"):
        transcribe_codes(make_lm(transcribes=True).train(), [codes])
    with pytest.raises(ValueError, match=r"L in \[1, 156\]"):
        transcribe_codes(wild, [np.zeros(157, int)])
    with pytest.raises(ValueError, match=r"L in \[1, 156\]"):
        transcribe_codes(wild, [codes[:0]])
    with pytest.raises(ValueError, match=r"codes in \[0, 64\)"):
        transcribe_codes(wild, [codes + 60])
    with pytest.raises(ValueError, match="max_rows"):
        transcribe_codes(wild, [codes], max_rows=0)
    with pytest.raises(ValueError, match=r"beam: expected 1 where tokens are drawn"):
        TranscriptionSettings(temperature=0.5)
    assert transcribe_codes(wild, []) == []

import numpy as np
import pytest

from slm.data.alignment import Alignment
from slm.data.documents import (
    aligned_length,
    aligned_prefix,
    build_aligned,
    build_document,
    build_interleaved,
    build_transcription,
    document_length,
    interleaved_turns,
    prefix_tokens,
    transcription_prefix,
)
from slm.data.vocabulary import Vocabulary
from slm.text.phone_tokenizer import PhoneTokenizer

VOCABULARY = Vocabulary(10, 20)  # text tokens 6 .. 15, code tokens 16 .. 35


def test_plain_document_is_text_then_speech_with_loss_on_speech_and_end() -> None:
    document = build_document(VOCABULARY, [0, 1], text_ids=[7])
    assert document.tokens.tolist() == [1, 3, 13, 5, 16, 17, 2]
    assert document.loss_weights.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_prompt_comes_first_and_never_counts() -> None:
    document = build_document(
        VOCABULARY, [0], text_ids=[7, 8], prompt=[18, 19], text_loss_weight=0.25
    )
    assert document.tokens.tolist() == [1, 4, 34, 35, 3, 13, 14, 5, 16, 2]
    assert document.loss_weights.tolist() == [0, 0, 0, 0, 0, 0.25, 0.25, 0, 1, 1]


def test_speech_only_document_has_no_text_marker() -> None:
    assert build_document(VOCABULARY, [3]).tokens.tolist() == [1, 5, 19, 2]


@pytest.mark.parametrize("text", [None, [1, 2]])
@pytest.mark.parametrize("prompt", [None, [1, 2, 3]])
def test_length_formula_and_prefix_agree_with_the_document(
    text: list[int] | None, prompt: list[int] | None
) -> None:
    document = build_document(VOCABULARY, [4, 5], text_ids=text, prompt=prompt)
    num_text = None if text is None else len(text)
    assert len(document.tokens) == document_length(2, num_text, len(prompt or []))
    start = prefix_tokens(VOCABULARY, text, prompt, speech=[4, 5])
    np.testing.assert_array_equal(start, document.tokens[:-1])


def test_a_transcribed_prompt_is_spoken_first_and_never_counts() -> None:
    document = build_document(
        VOCABULARY, [0], text_ids=[1, 7], spoken_before=[18, 19], text_loss_weight=0.25
    )
    assert document.tokens.tolist() == [1, 3, 7, 13, 5, 34, 35, 16, 2]
    assert document.loss_weights.tolist() == [0, 0, 0.25, 0.25, 0, 0, 0, 1, 1]


def test_a_transcription_is_speech_then_text_with_loss_on_text_and_end() -> None:
    document = build_transcription(VOCABULARY, [0, 1], [7, 8])
    assert document.tokens.tolist() == [1, 5, 16, 17, 3, 13, 14, 2]
    assert document.loss_weights.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert len(document.tokens) == document_length(2, 2, 0)
    assert transcription_prefix(VOCABULARY, [0, 1]).tolist() == [1, 5, 16, 17, 3]
    weighted = build_transcription(VOCABULARY, [0, 1], [7], code_loss_weight=0.5)
    assert weighted.loss_weights.tolist() == [0, 0, 0.5, 0.5, 0, 1, 1]


def test_interleaved_text_and_speech_take_turns_until_both_are_said() -> None:
    document = build_interleaved(
        VOCABULARY, [0, 1, 2, 3, 4], [7, 8, 9], every=(2, 2), text_loss_weight=0.5
    )
    assert document.tokens.tolist() == [1, 3, 13, 14, 5, 16, 17, 3, 15, 5, 18, 19, 20, 2]
    weights = [0, 0, 0.5, 0.5, 0, 1, 1, 0, 0.5, 0, 1, 1, 1, 1]
    assert document.loss_weights.tolist() == weights


@pytest.mark.parametrize("num_codes", [1, 4, 5, 30])
@pytest.mark.parametrize("num_text", [1, 2, 3, 20])
def test_interleaving_says_everything_in_the_length_that_was_planned(
    num_codes: int, num_text: int
) -> None:
    codes, text = [i % 20 for i in range(num_codes)], [i % 10 for i in range(num_text)]
    tokens = build_interleaved(VOCABULARY, codes, text, every=(2, 5)).tokens
    assert VOCABULARY.token_to_code(tokens[tokens >= 16]).tolist() == codes
    assert VOCABULARY.token_to_text(tokens[(tokens >= 6) & (tokens < 16)]).tolist() == text
    turns = interleaved_turns(num_codes, num_text, (2, 5))
    assert len(tokens) == num_codes + num_text + 2 * turns + 2


ALIGNED = Vocabulary(PhoneTokenizer.vocab_size, 20)  # codes from 118 on
TEXT, SPEECH = ALIGNED.text_start, ALIGNED.code_start


def test_aligned_text_runs_ahead_of_the_codes_it_is_aligned_with() -> None:
    said = Alignment(np.array([0, 41, 2]), np.array([1, 0, 2]))
    document = build_aligned(ALIGNED, [5, 6, 7], said, lookahead=1, duration_loss_weight=0.5)
    durations = [TEXT + 79 + count for count in (1, 0, 2)]
    assert document.tokens.tolist() == [
        ALIGNED.bos_id, ALIGNED.text_id, TEXT + 0,
        TEXT + 41, durations[0], SPEECH + 5,
        TEXT + 2, durations[1],
        ALIGNED.speech_id, durations[2], SPEECH + 6, SPEECH + 7,
        ALIGNED.eos_id,
    ]  # fmt: skip
    assert document.loss_weights.tolist() == [0, 0, 0, 0, 0.5, 1, 0, 0.5, 0, 0.5, 1, 1, 1]


@pytest.mark.parametrize("lookahead", [1, 2, 5])
@pytest.mark.parametrize("prompt", [None, [1, 2, 3]])
def test_aligned_length_and_prefix_agree_with_the_document(
    lookahead: int, prompt: list[int] | None
) -> None:
    said = Alignment(np.array([0, 41, 2, 0]), np.array([1, 0, 2, 3]))
    document = build_aligned(ALIGNED, range(6), said, lookahead=lookahead, prompt=prompt)
    assert len(document.tokens) == aligned_length(6, 4, lookahead, len(prompt or []))
    start = aligned_prefix(ALIGNED, said.units, lookahead, prompt)
    np.testing.assert_array_equal(start, document.tokens[: len(start)])
    assert not document.loss_weights[: len(start)].any()
    assert document.loss_weights.sum() == 6 + 4 + 1


def test_counts_of_other_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="counts of 2 codes, got 3"):
        build_aligned(ALIGNED, [1, 2], Alignment(np.array([0]), np.array([3])), lookahead=1)

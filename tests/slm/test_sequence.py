import numpy as np
import pytest

from slm.sequence import build_document, document_length, prefix_tokens
from slm.vocabulary import Vocabulary

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

import numpy as np
import pytest

from slm.data.vocabulary import SPECIALS, Vocabulary


def test_every_token_belongs_to_exactly_one_kind() -> None:
    vocabulary = Vocabulary(10, 20)
    kinds = [vocabulary.describe(token)[0] for token in range(vocabulary.vocab_size)]
    assert kinds == ["special"] * len(SPECIALS) + ["text"] * 10 + ["code"] * 20
    with pytest.raises(ValueError, match=r"\[0, 36\), got 36"):
        vocabulary.describe(36)


def test_codes_and_text_survive_the_round_trip() -> None:
    vocabulary = Vocabulary(10, 20)
    codes, ids = np.arange(20, dtype=np.uint16), list(range(10))
    np.testing.assert_array_equal(vocabulary.token_to_code(vocabulary.code_to_token(codes)), codes)
    np.testing.assert_array_equal(vocabulary.token_to_text(vocabulary.text_to_token(ids)), ids)
    assert vocabulary.code_to_token(codes).dtype == np.int64


def test_the_order_of_specials_is_pinned() -> None:
    vocabulary = Vocabulary(1, 1)
    ids = ("pad_id", "bos_id", "eos_id", "text_id", "prompt_id", "speech_id")
    assert [getattr(vocabulary, name) for name in ids] == [0, 1, 2, 3, 4, 5]
    assert SPECIALS == ("<pad>", "<bos>", "<eos>", "<text>", "<prompt>", "<speech>")


def test_the_stored_layout_round_trips_whatever_the_key_order() -> None:
    vocabulary = Vocabulary(10, 20, "abc")
    stored = vocabulary.to_dict()
    assert Vocabulary.from_dict(dict(reversed(stored.items()))) == vocabulary


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("specials", ["<bos>", "<pad>", "<eos>", "<text>", "<prompt>", "<speech>"]),
        ("ranges", {"special": [0, 6], "code": [6, 26], "text": [26, 36]}),
        ("fingerprint", "0"),
        ("text_size", 11),
    ],
)
def test_a_stored_layout_of_another_version_is_refused(key: str, value: object) -> None:
    stored = {**Vocabulary(10, 20).to_dict(), key: value}
    with pytest.raises(ValueError, match="stored vocabulary"):
        Vocabulary.from_dict(stored)


def test_values_outside_their_range_are_refused() -> None:
    vocabulary = Vocabulary(10, 20)
    for convert, value in (
        (vocabulary.code_to_token, 20),
        (vocabulary.text_to_token, -1),
        (vocabulary.token_to_code, 15),
        (vocabulary.token_to_text, 16),
    ):
        with pytest.raises(ValueError, match="expected"):
            convert([value])
    with pytest.raises(ValueError, match="codebook_size"):
        Vocabulary(10, 65537)
    with pytest.raises(ValueError, match="lacks"):
        Vocabulary.from_dict({"text_size": 3})

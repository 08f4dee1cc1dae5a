from pathlib import Path

import pytest

from slm.text.sentencepiece_tokenizer import TextTokenizer


def test_text_survives_the_round_trip_case_folded(tokenizer: TextTokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("The QUICK fox")) == "the quick fox"


def test_ids_lie_within_the_vocabulary(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode("seven lazy hills")
    assert ids
    assert all(0 <= token < tokenizer.vocab_size for token in ids)


@pytest.mark.parametrize("text", ["", "   ", "漢字"])
def test_text_with_no_known_piece_is_refused_by_name(tokenizer: TextTokenizer, text: str) -> None:
    with pytest.raises(ValueError, match="at least one piece") as error:
        tokenizer.encode(text)
    assert repr(text) in str(error.value)


def test_unknown_characters_are_listed_once_in_order(tokenizer: TextTokenizer) -> None:
    assert tokenizer.unknown_characters("the 漢 fox 字 漢") == "漢字"
    assert tokenizer.unknown_characters("the fox") == ""


def test_training_twice_gives_the_same_model(tmp_path: Path) -> None:
    texts = ["one two three four", "five six seven eight"]
    first = TextTokenizer.train(texts, tmp_path / "a", vocab_size=40)
    second = TextTokenizer.train(texts, tmp_path / "b", vocab_size=40)
    assert first.fingerprint == second.fingerprint


def test_a_saved_model_loads_from_file_and_folder(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    path = tokenizer.save(tmp_path)
    for place in (path, tmp_path):
        assert TextTokenizer.load(place).fingerprint == tokenizer.fingerprint


def test_bad_input_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="non-empty text"):
        TextTokenizer.train(["", " "], tmp_path)
    with pytest.raises(ValueError, match="vocab_size=4"):
        TextTokenizer.train(["many different letters"], tmp_path, vocab_size=4)
    with pytest.raises(ValueError, match="found no file"):
        TextTokenizer.load(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "text.model").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="SentencePiece model"):
        TextTokenizer.load(tmp_path)


@pytest.mark.parametrize(
    "text", ["жёлтые цапли быстро съели хлеб " * 100, "a quiz \u2585 by zebras"]
)
def test_no_text_is_left_out_of_training(text: str, tmp_path: Path) -> None:
    short = ["the cat sat on the mat and looked at the dog"] * 20
    tokenizer = TextTokenizer.train([*short, text], tmp_path, vocab_size=128)
    assert tokenizer.unknown_characters(text) in ("", "\u2585")
    # Alone, too: a corpus of long texts is no error.
    TextTokenizer.train([text] * 2, tmp_path, vocab_size=128)

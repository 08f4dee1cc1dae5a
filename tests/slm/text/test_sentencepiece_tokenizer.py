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


def test_texts_are_encoded_as_they_are_spoken(tmp_path: Path) -> None:
    texts = ["It cost five dollars and ten percent.", "doctor Lee has two dogs"] * 3
    tokenizer = TextTokenizer.train(texts, tmp_path, vocab_size=60)
    spoken = tokenizer.encode("it cost five dollars and ten percent")
    assert tokenizer.encode("It cost $5 & 10%") == spoken
    assert TextTokenizer.load(tmp_path).encode("It cost $5 & 10%") == spoken
    assert tokenizer.encode("Dr. Lee") == tokenizer.encode("doctor lee")


def test_texts_of_a_training_are_spoken_in_their_own_language(tmp_path: Path) -> None:
    texts, languages = ["5 dogs", "5 Hunde"] * 3, ["en", "de"] * 3
    tokenizer = TextTokenizer.train(texts, tmp_path, languages=languages, vocab_size=40)
    assert tokenizer.unknown_characters("five 5") == ""
    assert tokenizer.decode(tokenizer.encode("5 Hunde", language="de")) == "5 hunde"
    assert tokenizer.decode(tokenizer.encode("5 dogs")) == "five dogs"


def test_a_model_of_before_takes_texts_as_they_are_written(tmp_path: Path) -> None:
    TextTokenizer.train(["five 5 dogs & 10 %"] * 3, tmp_path, languages=["de"] * 3, vocab_size=40)
    whole = (tmp_path / "text.model").read_bytes()
    before = TextTokenizer(whole[: whole.rindex(b"hh-slm front end") - 3])
    assert before.decode(before.encode("5 dogs")) == "5 dogs"
    assert before.fingerprint != TextTokenizer(whole).fingerprint


@pytest.mark.parametrize(
    "text", ["жёлтые цапли быстро съели хлеб " * 100, "a quiz \u2585 by zebras"]
)
def test_no_text_is_left_out_of_training(text: str, tmp_path: Path) -> None:
    short = ["the cat sat on the mat and looked at the dog"] * 20
    tokenizer = TextTokenizer.train([*short, text], tmp_path, vocab_size=128)
    assert tokenizer.unknown_characters(text) in ("", "\u2585")
    # Alone, too: a corpus of long texts is no error.
    TextTokenizer.train([text] * 2, tmp_path, vocab_size=128)


def test_unknown_characters_are_those_of_a_text_in_its_own_language(tmp_path: Path) -> None:
    """Numbers of German were written out in English first, and never told."""
    texts = ["the quick brown fox five dogs"] * 20
    tokenizer = TextTokenizer.train(texts, tmp_path, languages=["de"] * 20)
    assert tokenizer.unknown_characters("5 dogs", "de") == "5"
    assert tokenizer.unknown_characters("5 dogs") == ""

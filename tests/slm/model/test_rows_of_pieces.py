from pathlib import Path

import pytest

from slm.model.llama_import import rows_of_pieces
from slm.text.sentencepiece_tokenizer import TextTokenizer


def test_pieces_of_the_same_tokenizer_keep_their_ids(
    tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path).rename(tmp_path / "tokenizer.model")
    assert rows_of_pieces(tokenizer, tmp_path) is None


def test_pieces_are_spelt_in_another_sentencepiece_model(
    tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    other = TextTokenizer.train(["the quick brown fox"] * 3, tmp_path, vocab_size=40)
    (tmp_path / "text.model").rename(tmp_path / "tokenizer.model")
    rows = rows_of_pieces(tokenizer, tmp_path)
    assert rows is not None
    assert len(rows) == tokenizer.vocab_size
    assert all(rows)
    spelt = {
        piece: other.decode(ids)
        for piece, ids in zip(tokenizer.pieces, rows, strict=True)
        if set(piece.strip()) <= set("quickbrownfx") and piece.strip()
    }
    assert len(spelt) > 3
    assert all(text == piece.strip() for piece, text in spelt.items())


def test_pieces_are_spelt_in_a_tokenizer_of_bytes(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = {letter: place for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz ")}
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(words, []))
    theirs.save(str(tmp_path / "tokenizer.json"))
    rows = rows_of_pieces(tokenizer, tmp_path)
    assert rows is not None
    place = next(i for i, piece in enumerate(tokenizer.pieces) if len(piece) > 2 and i > 0)
    assert rows[place] == [words[letter] for letter in tokenizer.pieces[place]]


def test_a_folder_without_a_tokenizer_is_refused(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found neither"):
        rows_of_pieces(tokenizer, tmp_path)

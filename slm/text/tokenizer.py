"""Tokenizers of text, SentencePiece or phones, and loading the one a folder holds."""

from __future__ import annotations

from pathlib import Path

from .lexicon import LEXICON_NAME
from .phone_tokenizer import PhoneTokenizer
from .sentencepiece_tokenizer import TextTokenizer

Tokenizer = TextTokenizer | PhoneTokenizer


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """The text model of a folder: a lexicon where there is one, else a SentencePiece model.

    Raises:
        ValueError: There is neither.
    """
    folder = Path(folder)
    if (folder / LEXICON_NAME).is_file():
        return PhoneTokenizer.load(folder)
    return TextTokenizer.load(folder)

"""SentencePiece tokenizer, trained on a corpus's transcripts."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from itertools import repeat
from pathlib import Path
from typing import Any

import sentencepiece

from codec.files import write_bytes

from .normalization import FRONT_END, normalize_text

MODEL_NAME = "text.model"
# A field of a SentencePiece model that its format leaves to others (number 1000, a string): the
# front end whose texts the model was trained on. Models of before have none and get texts as
# they are written.
_FIELD = b"\xc2\x3e"
_MARKER = f"hh-slm front end {FRONT_END}".encode()
_WORD_MARK = "\u2581"  # SentencePiece writes a space as this character
# SentencePiece leaves out training texts that hold the character it writes for unknown ones, and
# those of more bytes than a limit, without a word.
_UNKNOWN_MARK = "\u2585"
_USUAL_LIMIT = 4192


class TextTokenizer:
    """Maps a string to ids in [0, vocab_size) and back.

    A model that was trained on texts as they are spoken (`slm.text.normalization`) encodes all
    texts so; one of before takes them as they are written. Either folds case by itself.
    Characters the corpus never held become one unknown id each run; see `unknown_characters`.

    Args:
        model: Serialised SentencePiece model.

    Raises:
        ValueError: The bytes are of something else.
    """

    def __init__(self, model: bytes) -> None:
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            message = f"expected a SentencePiece model, got {len(model)} bytes of something else"
            raise ValueError(f"{message} ({error})") from error
        self._model = model
        self.speaks = model.endswith(_marker())

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        folder: Path | str,
        *,
        languages: Iterable[str] | None = None,
        vocab_size: int = 512,
        seed: int = 0,
    ) -> TextTokenizer:
        """Train a unigram model on `texts` and write it to `folder`/text.model.

        Args:
            texts: Transcripts as they are written; those of which nothing is spoken are passed
                over (rows without a transcript).
            folder: Made when missing.
            languages: Of each text, as manifests spell it; English when None.
            vocab_size: Most pieces wanted; a small corpus may give fewer.
            seed: SentencePiece samples from it; training is single-threaded and repeatable.

        Raises:
            ValueError: No text at all, or `vocab_size` cannot hold the corpus's characters.
        """
        pairs = zip(texts, languages or repeat("en"), strict=languages is not None)
        spoken = (normalize_text(text, language) for text, language in pairs)
        sentences = [text.replace(_UNKNOWN_MARK, " ") for text in spoken]
        sentences = [text for text in sentences if text.strip()]
        if not sentences:
            raise ValueError("expected at least one non-empty text to train on, got none")
        longest = max(len(text.encode()) for text in sentences)
        # A limit that is named is written into the model: models of usual texts stay as they were.
        limit: dict[str, Any] = {"max_sentence_length": longest} if longest > _USUAL_LIMIT else {}
        buffer = io.BytesIO()
        sentencepiece.set_random_generator_seed(seed)
        try:
            sentencepiece.SentencePieceTrainer.Train(
                sentence_iterator=iter(sentences),
                model_writer=buffer,
                model_type="unigram",
                vocab_size=vocab_size,
                hard_vocab_limit=False,
                character_coverage=1.0,
                normalization_rule_name="nmt_nfkc_cf",
                # Ids are text alone: the specials are the vocabulary's.
                unk_id=0,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                num_threads=1,
                minloglevel=2,
                **limit,
            )
        except RuntimeError as error:
            message = f"vocab_size={vocab_size} cannot be trained on {len(sentences)} texts"
            raise ValueError(f"{message}: {error}") from error
        tokenizer = cls(buffer.getvalue() + _marker())
        tokenizer.save(folder)
        return tokenizer

    @classmethod
    def load(cls, path: Path | str) -> TextTokenizer:
        """Load from a `text.model` file or a folder that holds one.

        Raises:
            ValueError: There is no such file, or it is no SentencePiece model.
        """
        path = Path(path)
        path = path / MODEL_NAME if path.is_dir() else path
        if not path.is_file():
            raise ValueError(f"expected a SentencePiece model at {path}, found no file")
        return cls(path.read_bytes())

    def save(self, folder: Path | str) -> Path:
        """Write `folder`/text.model, whole or not at all, and return its path."""
        return write_bytes(Path(folder) / MODEL_NAME, self._model)

    @property
    def vocab_size(self) -> int:
        """Number of text ids."""
        return self._processor.GetPieceSize()

    @property
    def pieces(self) -> list[str]:
        """The text of every id, a leading space where the piece begins a word."""
        names = (self._processor.IdToPiece(token) for token in range(self.vocab_size))
        return [name.replace(_WORD_MARK, " ") for name in names]

    @property
    def fingerprint(self) -> str:
        """Hex digest of the model's bytes."""
        return hashlib.sha256(self._model).hexdigest()[:16]

    def spoken(self, text: str, language: str = "en") -> str:
        """The text as the model was trained on it: as it is spoken, or as it is written."""
        return normalize_text(text, language) if self.speaks else text

    def encode(self, text: str, language: str = "en") -> list[int]:
        """Ids of `text`, in [0, vocab_size); unknown characters give the unknown id.

        Args:
            text: As it is written or as it is spoken.
            language: As manifests spell it.

        Raises:
            ValueError: No piece of the text is known (or it is empty).
        """
        ids = self._processor.EncodeAsIds(self.spoken(text, language))
        # A lone space is a piece, too.
        names = (self._processor.IdToPiece(t) for t in ids if t != self._processor.unk_id())
        if all(name == _WORD_MARK for name in names):
            raise ValueError(
                f"expected text with at least one piece of the text model, got {text!r}; "
                "write it in the script and language the model was trained on"
            )
        return ids

    def ids(self, text: str) -> list[int]:
        """Ids of `text` with nothing checked; none for an empty text."""
        return self._processor.EncodeAsIds(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The normalised text of `ids`."""
        return self._processor.DecodeIds(list(ids))

    def unknown_characters(self, text: str, language: str = "en") -> str:
        """The characters of `text` that the training texts lacked, in order, each once."""
        text = self.spoken(text, language)
        # Unknown characters are the pieces of the unknown id, spelt as in the text.
        ids, names = self._processor.EncodeAsIds(text), self._processor.EncodeAsPieces(text)
        unknown = self._processor.unk_id()
        found = "".join(name for token, name in zip(ids, names, strict=True) if token == unknown)
        return "".join(dict.fromkeys(found.replace(_WORD_MARK, "")))


def _marker() -> bytes:
    """The field that names the front end, as it ends a serialised model."""
    return _FIELD + bytes([len(_MARKER)]) + _MARKER

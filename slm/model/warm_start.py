"""Which tokens of a text LM each of our text pieces is made of."""

import hashlib
from pathlib import Path

from slm.text.sentencepiece_tokenizer import TextTokenizer


def rows_of_pieces(tokenizer: TextTokenizer, folder: Path | str) -> list[list[int]] | None:
    """The text LM's token ids of each of our pieces, for `import_llama`.

    Args:
        tokenizer: Ours.
        folder: Of the text LM, with its tokenizer.model (SentencePiece) or tokenizer.json.

    Returns:
        None when the two tokenizers are one, so that ids agree; else ids of every piece, its token
        0 for a piece it makes nothing of.

    Raises:
        ValueError: The folder holds no tokenizer.
    """
    path = Path(folder) / "tokenizer.model"
    if path.is_file():
        if hashlib.sha256(path.read_bytes()).hexdigest()[:16] == tokenizer.fingerprint:
            return None
        theirs = TextTokenizer.load(path)
        return [theirs.ids(piece) or [0] for piece in tokenizer.pieces]
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"expected tokenizer.model or tokenizer.json in {folder}, found neither")
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_file(str(path))
    found = [encoder.encode(piece, add_special_tokens=False).ids for piece in tokenizer.pieces]
    return [ids or [0] for ids in found]

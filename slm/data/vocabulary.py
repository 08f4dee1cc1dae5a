"""One id space for specials, text pieces and codes, with a layout that is stored and verified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from codec.checks import at_least, in_range

# The order is the layout: appending is safe, reordering breaks every stored model.
SPECIALS = ("<pad>", "<bos>", "<eos>", "<text>", "<prompt>", "<speech>")


@dataclass(frozen=True)
class Vocabulary:
    """Token layout: specials [0, 6) | text pieces [6, 6 + text_size) | codes [.., vocab_size).

    Args:
        text_size: Ids of the text model, >= 1.
        codebook_size: Codes of the codec, in [1, 65536].
        text_fingerprint: Of the text model the pieces belong to; "" when it is not tracked.

    Raises:
        ValueError: A size is out of its range.
    """

    text_size: int
    codebook_size: int
    text_fingerprint: str = ""

    def __post_init__(self) -> None:
        at_least("text_size", self.text_size, 1)
        in_range("codebook_size", self.codebook_size, 1, 65536)  # codes are stored as uint16

    pad_id, bos_id, eos_id, text_id, prompt_id, speech_id = range(len(SPECIALS))

    @property
    def text_start(self) -> int:
        """First text token."""
        return len(SPECIALS)

    @property
    def code_start(self) -> int:
        """First code token."""
        return self.text_start + self.text_size

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.code_start + self.codebook_size

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """Half-open token range of each kind, in layout order."""
        return {
            "special": (0, self.text_start),
            "text": (self.text_start, self.code_start),
            "code": (self.code_start, self.vocab_size),
        }

    @property
    def fingerprint(self) -> str:
        """Hex digest of the layout."""
        layout = json.dumps(self._layout(), sort_keys=True)
        return hashlib.sha256(layout.encode()).hexdigest()[:16]

    def text_to_token(self, ids: Iterable[int]) -> np.ndarray:
        """Text ids to tokens, int64 (S,)."""
        return self._shift(ids, self.text_size, self.text_start, "text ids")

    def token_to_text(self, tokens: Iterable[int]) -> np.ndarray:
        """Text tokens to text ids, int64 (S,)."""
        return self._unshift(tokens, "text")

    def code_to_token(self, codes: Iterable[int]) -> np.ndarray:
        """Codes to tokens, int64 (L,)."""
        return self._shift(codes, self.codebook_size, self.code_start, "codes")

    def token_to_code(self, tokens: Iterable[int]) -> np.ndarray:
        """Code tokens to codes, int64 (L,)."""
        return self._unshift(tokens, "code")

    def describe(self, token: int) -> tuple[str, int]:
        """A token's kind ("special", "text" or "code") and its value within that kind.

        Raises:
            ValueError: The token is outside the vocabulary.
        """
        for kind, (start, stop) in self.ranges.items():
            if start <= token < stop:
                return kind, token - start
        raise ValueError(f"expected a token in [0, {self.vocab_size}), got {token}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a config file, with the whole layout written out."""
        return {**self._layout(), "fingerprint": self.fingerprint}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Vocabulary:
        """Rebuild from `to_dict` and verify that this code has the stored layout.

        Raises:
            ValueError: A key is missing, or the stored layout is not the one this code makes.
        """
        missing = {"text_size", "codebook_size", "specials", "ranges", "fingerprint"} - set(stored)
        if missing:
            raise ValueError(f"stored vocabulary lacks {sorted(missing)}, got {sorted(stored)}")
        sizes = stored["text_size"], stored["codebook_size"]
        vocabulary = cls(*sizes, stored.get("text_fingerprint", ""))
        # Compared as a whole: specials may have been reordered, which the sizes do not show.
        for key, expected in vocabulary.to_dict().items():
            if stored.get(key) != expected:
                raise ValueError(
                    f"stored vocabulary {key} = {stored.get(key)!r}, this version expects "
                    f"{expected!r}; load it with the version that wrote it"
                )
        return vocabulary

    def _layout(self) -> dict[str, Any]:
        return {
            "text_size": self.text_size,
            "codebook_size": self.codebook_size,
            "text_fingerprint": self.text_fingerprint,
            "specials": list(SPECIALS),
            "ranges": {kind: list(span) for kind, span in self.ranges.items()},
        }

    def _shift(self, values: Iterable[int], size: int, start: int, name: str) -> np.ndarray:
        array = _as_int64(values)
        if array.size and not (array.min() >= 0 and array.max() < size):
            raise ValueError(
                f"expected {name} in [0, {size}), got values in [{array.min()}, {array.max()}]"
            )
        # Kinds lie one after the other: a kind's value is its token less the start.
        return array + start

    def _unshift(self, tokens: Iterable[int], kind: str) -> np.ndarray:
        array = _as_int64(tokens)
        start, stop = self.ranges[kind]
        if array.size and not (array.min() >= start and array.max() < stop):
            raise ValueError(
                f"expected {kind} tokens in [{start}, {stop}), "
                f"got values in [{array.min()}, {array.max()}]"
            )
        return array - start


def _as_int64(values: Iterable[int]) -> np.ndarray:
    """One-dimensional int64 array of any iterable of ints (a tensor or an array included)."""
    # Arrays and tensors convert as a whole, and not item by item.
    array = np.asarray(values if hasattr(values, "__array__") else list(values))
    if array.ndim != 1:
        raise ValueError(f"expected one dimension, got shape {array.shape}")
    return array.astype(np.int64)

"""Fields of a corpus's rows, gathered in one pass."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np

from slm.text.tokenizer import Tokenizer

from .alignment import Alignment
from .config import DocumentSettings

NONE = -1  # no text, no alignment, no speaker, no other utterance


class CorpusFields:
    """Fields of rows, gathered row by row: lists with an entry a row, mappings by its number.

    Args:
        tokenizer: Encodes the rows' `text`.
        settings: Whether sources are wanted, which shares are given by.
        text_size: Ids that the tokenizer gives lie in [0, text_size).
        alignments: By id; when given, no row has text of its own.

    Attributes:
        num_text: Text tokens, `NONE` without text; `text_ids` has them end to end.
        num_units: Units of the alignment, `NONE` without; empty where there are no alignments.
        speaker: Numbers by `speakers`, `NONE` without.
        source: Numbers by `sources`; empty where no shares are given.
        base_ids: Ids of the rows that shifted copies are of.
        alignments: Of the rows that have one.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        settings: DocumentSettings,
        text_size: int,
        alignments: Mapping[str, Alignment] | None,
    ) -> None:
        self._tokenizer, self._alignments = tokenizer, alignments
        self._count, self._with_sources = 0, bool(settings.shares)
        self.speakers: dict[str, int] = {}
        self.sources: dict[str, int] = {}
        self.base_ids: dict[int, str] = {}
        self.alignments: dict[int, Alignment] = {}
        self.num_text, self.num_units = array("i"), array("i")
        self.speaker, self.source = array("i"), array("i")
        # Typed arrays grow without a Python object a number.
        self.text_ids = array("H" if text_size <= 65536 else "i")

    def add(self, row: dict[str, Any]) -> None:
        """Add the fields of one row."""
        ids = self._encoded(row) if self._alignments is None else None
        self.num_text.append(NONE if ids is None else len(ids))
        self.text_ids.extend(ids or ())
        if self._alignments is not None:
            alignment = self._alignments.get(row["id"])
            self.num_units.append(NONE if alignment is None else len(alignment.units))
            if alignment is not None:
                self.alignments[self._count] = alignment
        speaker = row.get("speaker")
        number = self.speakers.setdefault(str(speaker), len(self.speakers)) if speaker else NONE
        self.speaker.append(number)
        if "base_id" in row:
            self.base_ids[self._count] = row["base_id"]
        if self._with_sources:
            source = str(row.get("source"))
            self.source.append(self.sources.setdefault(source, len(self.sources)))
        self._count += 1

    def _encoded(self, row: dict[str, Any]) -> list[int] | None:
        text, language = row.get("text") or "", row.get("lang") or "en"
        if not text.strip():
            return None
        try:
            # Tags alone are no text; a second time nothing is left to write out.
            spoken = self._tokenizer.spoken(text, language).strip()
            return self._tokenizer.encode(spoken, language) if spoken else None
        except ValueError as error:
            raise ValueError(f"row {row['id']!r}: {error}") from error


def int32_array(values: array[int]) -> np.ndarray:
    """An array of ints without a copy, int32."""
    return np.frombuffer(values, dtype=np.int32)

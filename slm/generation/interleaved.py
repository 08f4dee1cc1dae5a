"""Generation by turns of text and speech: codes begin before the text has been read to its end.

The layout is that of interleaved documents (`slm.data.documents.build_interleaved`): so many text
tokens, so many codes, and what is left of both in the last turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slm.data.documents import prefix_tokens
from slm.engines.engine import Engine
from slm.model.speech_lm import SpeechLM

from .codes import CodeRow, CodesUntilEnd, TokenRequest
from .config import GenerationSettings
from .stopping import StopRules


@dataclass(frozen=True)
class InterleavedRequest:
    """A text to be spoken in turns.

    Attributes:
        text_ids: (T,) int64 ids of the text tokenizer, at least one.
        max_new_tokens: Most codes; lowered where `max_seq_len` leaves less room.
        min_new_tokens: Fewest codes.
        prompt: (P,) codes of another utterance of the speaker; None for a voice of the model's.
        seed: Of the draws.
    """

    text_ids: np.ndarray
    max_new_tokens: int
    min_new_tokens: int = 1
    prompt: np.ndarray | None = None
    seed: int = 0


@dataclass(kw_only=True)
class InterleavedRow(CodeRow):
    """State of an `InterleavedRequest`.

    Attributes:
        ahead: Tokens of the turns to come, the next one first: a marker, text, a marker.
        left: Codes of this turn that are still to be drawn before the next one.
        pending: Tokens to be read before the next draw.
    """

    ahead: list[list[int]]
    left: int
    pending: list[int] = field(default_factory=list)

    def may_end(self) -> bool:
        """True if the end may be drawn next: in the last turn alone."""
        return not self.ahead and super().may_end()


class TurnsOfTextAndCodes(CodesUntilEnd):
    """The strategy of `InterleavedRequest`.

    Args:
        lm: A model that was trained on such documents.
        settings: How codes are drawn; guidance on the text is not available, since text stands
            between the codes.
        rules: Ends rows that run away.

    Raises:
        ValueError: Another kind of model, or guidance on the text.
    """

    def __init__(
        self, lm: SpeechLM, settings: GenerationSettings, rules: StopRules | None = None
    ) -> None:
        if not lm.config.is_interleaved:
            raise ValueError(
                "expected a model of interleaved text and speech, got one with interleave_text 0"
            )
        if settings.guidance != 1:
            raise ValueError(
                "expected guidance 1 where text and speech take turns, got "
                f"{settings.guidance}; prompt_guidance is there"
            )
        super().__init__(lm, settings, rules)

    def open(self, request: InterleavedRequest) -> InterleavedRow:  # type: ignore[override]
        """See `Strategy`."""
        vocabulary, config, text = self._vocabulary, self._config, np.asarray(request.text_ids)
        if text.ndim != 1 or not len(text):
            raise ValueError(f"expected text ids (T,), T >= 1, got shape {text.shape}")
        size = config.interleave_text
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        # [TEXT] piece [SPEECH]: what the model reads between two turns of codes.
        ahead = [
            [vocabulary.text_id, *vocabulary.text_to_token(piece).tolist(), vocabulary.speech_id]
            for piece in pieces[1:]
        ]
        # The turns to come take room in the context as well.
        later = sum(map(len, ahead))
        # With the prompt and without it, for guidance on the prompt.
        opened = (prefix_tokens(vocabulary, pieces[0], each) for each in (request.prompt, None))
        whole, alone = map(torch.from_numpy, opened)
        room = config.max_seq_len - len(whole) - later
        if room < max(1, request.min_new_tokens):
            raise ValueError(
                f"expected room for {max(1, request.min_new_tokens)} codes beside the text, got "
                f"{room} of {config.max_seq_len} tokens; shorten the text or the prompt"
            )
        row = super().open(
            TokenRequest(
                whole,
                min(request.max_new_tokens, room),
                request.min_new_tokens,
                request.seed,
                unprompted=alone,
            )
        )
        # The row's bound counts every token, those of the later turns too.
        fields: dict[str, Any] = vars(row) | {"longest": row.longest + later}
        return InterleavedRow(**fields, ahead=ahead, left=config.interleave_codes)

    def advance(self, engine: Engine, rows: Sequence[CodeRow]) -> Tensor:
        """See `Strategy`."""
        pending: list[list[int]] = []
        for row in rows:
            assert isinstance(row, InterleavedRow)
            # Each context of guidance reads the same tokens.
            pending += [row.pending] * self.num_contexts
            row.pending = []
        return engine.extend(pending)

    def _accept(self, row: CodeRow, column: int, gain: float) -> None:
        """Add what was drawn to a row, and the next piece of text where a turn is full."""
        super()._accept(row, column, gain)
        assert isinstance(row, InterleavedRow)
        if column:
            row.pending.append(row.tokens[-1])
            row.left -= 1
        if not row.left and row.ahead:
            row.pending += row.ahead.pop(0)
            row.left = self._config.interleave_codes

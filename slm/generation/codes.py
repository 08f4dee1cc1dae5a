"""Generation of codes after a prompt: one code a step, until the end is drawn or a rule cuts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from slm.engines.engine import Engine
from slm.engines.merged_weights import speech_outputs
from slm.model.speech_lm import SpeechLM

from .config import GenerationSettings
from .sampling import choose, guided_logits
from .session import Row
from .stopping import StopRules

# The field of a request that leaves a part out, and that part in words.
_LEFT_OUT = {"text": ("unguided", "text"), "prompt": ("unprompted", "the speaker's")}


@dataclass(frozen=True)
class TokenRequest:
    """Tokens to be continued with codes.

    Attributes:
        prompt: (S,) int64 tokens, S >= 1.
        max_new_tokens: Most codes; lowered where `max_seq_len` leaves less room.
        min_new_tokens: Fewest codes: the end cannot be drawn before.
        seed: Of the draws.
        unguided: The prompt without its text, for guidance on it; None without.
        unprompted: The prompt without the speaker's, for guidance on that; None without.
        open_end: Whether to reach `max_new_tokens` is what was asked for, not speech that ran away.
        num_given: Codes at the end of the prompt that belong to the speech.
    """

    prompt: Tensor
    max_new_tokens: int
    min_new_tokens: int = 1
    seed: int = 0
    unguided: Tensor | None = None
    open_end: bool = False
    num_given: int = 0
    unprompted: Tensor | None = None


@dataclass(kw_only=True)
class CodeRow(Row):
    """State of a `TokenRequest`.

    Attributes:
        uniforms: (2, max_new) float64 in [0, 1): two numbers decide a token.
        max_new: Codes at which it is cut.
        min_new: Codes before it may end.
        codes: The codes of `tokens`.
    """

    uniforms: Tensor
    max_new: int
    min_new: int
    codes: list[int] = field(default_factory=list)

    def may_end(self) -> bool:
        """True if the end may be drawn next."""
        return len(self.tokens) >= self.min_new


class CodesUntilEnd:
    """The strategy of `TokenRequest`: codes, until the end token is drawn or a rule cuts them.

    Only codes and, from the minimum on, the end token can be drawn. An end token inside a prompt
    means nothing.

    Args:
        lm: The model.
        settings: How tokens are drawn.
        rules: Ends rows that run away.
    """

    def __init__(
        self, lm: SpeechLM, settings: GenerationSettings, rules: StopRules | None = None
    ) -> None:
        self._config, self._vocabulary = lm.config, lm.vocabulary
        self._device = lm.head.weight.device
        self._settings, self._rules = settings, rules
        self._outputs = speech_outputs(lm)
        self._left_out = settings.left_out
        self.num_contexts = 1 + len(self._left_out)

    def open(self, request: TokenRequest) -> CodeRow:
        """See `Strategy`."""
        prompt, longest = request.prompt, self._config.max_seq_len
        if prompt.ndim != 1 or not 1 <= len(prompt) < longest:
            raise ValueError(
                f"expected prompts (S,) with S in [1, {longest}) tokens, "
                f"got {tuple(prompt.shape)}; shorten the text or the prompt"
            )
        size, room = self._vocabulary.vocab_size, longest - len(prompt)
        if prompt.min() < 0 or prompt.max() >= size:
            raise ValueError(f"expected tokens in [0, {size}), got up to {int(prompt.max())}")
        least, most = request.min_new_tokens, request.max_new_tokens
        if not 0 <= least <= most or most < 1:
            raise ValueError(
                "expected 0 <= min_new_tokens <= max_new_tokens and at least one, "
                f"got {least} and {most}"
            )
        if least > room:
            raise ValueError(
                f"expected room for {least} codes after the prompt, got {room} of {longest} "
                "tokens; shorten the text or the prompt"
            )
        most, contexts = min(most, room), [prompt]
        for left_out in self._left_out:
            name, part = _LEFT_OUT[left_out]
            without = getattr(request, name)
            if without is None:
                raise ValueError(f"expected a prompt without {part} under guidance, got none")
            contexts.append(without)
            if not 1 <= len(without) <= longest - most:
                raise ValueError(
                    f"expected prompts without {part} of 1 to {longest - most} tokens, "
                    f"got {len(without)}"
                )
        # All numbers are drawn at once, so that a row's tokens depend on its seed and maximum.
        generator = torch.Generator().manual_seed(request.seed)
        return CodeRow(
            contexts=contexts,
            longest=max(map(len, contexts)) + most,
            seed=request.seed,
            open_end=request.open_end,
            uniforms=torch.rand(2, most, generator=generator, dtype=torch.float64),
            max_new=most,
            min_new=least,
        )

    def advance(self, engine: Engine, rows: Sequence[CodeRow]) -> Tensor:
        """See `Strategy`."""
        drawn = torch.tensor([row.tokens[-1] for row in rows], device=self._device)
        return engine.decode(drawn.repeat_interleave(self.num_contexts))

    def draw(self, engine: Engine, rows: Sequence[CodeRow], hidden: Tensor) -> None:
        """See `Strategy`."""
        settings = self._settings
        # Columns are those of `speech_outputs`: 0 for the end, then the codes.
        logits = engine.logits(hidden, self._outputs)  # (B * contexts, 1 + codes)
        plain, guided = guided_logits(logits.unflatten(0, (-1, self.num_contexts)), settings)
        # The end is ruled out in rows that have not reached their minimum.
        early = [index for index, row in enumerate(rows) if not row.may_end()]
        if early:
            plain, guided = plain.clone(), guided.clone()
            plain[early, 0] = guided[early, 0] = float("-inf")
        recent, uniforms = None, plain.new_zeros(len(plain), dtype=torch.float64)
        if settings.temperature:
            uniforms = torch.stack([row.uniforms[:, len(row.tokens)] for row in rows])
        if settings.repetition_window:
            first = self._vocabulary.code_start - 1
            window = [row.recent(settings.repetition_window, first) for row in rows]
            recent = torch.tensor(window, device=self._device)
        columns = choose(guided, uniforms.to(self._device), settings, recent)
        # Likelihoods are those without guidance, at temperature 1.
        gains = plain.log_softmax(dim=-1).gather(1, columns[:, None])[:, 0]
        # One copy to the host a token; float64 holds both as they are.
        drawn = torch.stack([columns.double(), gains.double()]).tolist()
        for row, column, gain in zip(rows, *drawn, strict=True):
            self._accept(row, int(column), gain)

    def _accept(self, row: CodeRow, column: int, gain: float) -> None:
        """Add what was drawn to a row, and stop it where it ends."""
        row.log_likelihood += gain
        if column == 0:
            row.stopped = "end"
            return
        row.codes.append(column - 1)
        row.tokens.append(column - 1 + self._vocabulary.code_start)
        if self._rules is not None:
            row.stopped = self._rules.broken(row.codes)
        if not row.stopped and len(row.tokens) >= row.max_new:
            row.stopped = "limit"

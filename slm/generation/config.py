"""Settings of generation and recognition: how tokens are found, and the engine of the steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from codec.checks import all_finite, count, in_range, one_of, require
from slm.model.config import MOST_GUIDANCE, SpeechLMConfig, check_temperature

# What computes the steps of generation; see `GenerationSettings`.
ENGINES = ("auto", "native", "graphs", "torch")
WEIGHTS = ("exact", "bf16", "int8")


@dataclass(frozen=True)
class GenerationSettings:
    """Settings of sampling and of the engine that computes it.

    Args:
        temperature: Divides the logits, in [0.001, 100]; 0 takes the likeliest token.
        top_k: Keep so many likeliest tokens; 0 keeps all.
        top_p: Keep the smallest set of at least this probability, in (0, 1]; 1 keeps all.
        min_p: Keep tokens with this share of the likeliest one's probability, in [0, 1]; 0 keeps
            all.
        repetition_window: Codes looked back over for repetition-aware sampling; 0 switches it off.
        repetition_ratio: Share of the window a token may fill before it is drawn anew, in (0, 1].
        guidance: Classifier-free guidance on the text; 1 is none. Costs a row a request, and needs
            a model that was trained with text dropped now and then. Of models of aligned speech it
            guides codes alone, not durations.
        prompt_guidance: Classifier-free guidance on the prompt, which keeps its voice better; 1 is
            none. Costs a row a request too, and needs a model that was trained with prompts on some
            documents and none on others. Of models of aligned speech, as above.
        duration_temperature: Of the durations that a model of aligned speech draws before the codes
            of each unit; None takes the model's own, else that of the codes, and the likeliest
            where the codes are the likeliest. Drawn cold, durations shrink to the commonest, and
            speech is too short.
        duration_top_p: The same for `top_p`.
        interleaved: Let text and speech take turns, so that speech begins before the text has been
            read to its end; of models of whole texts that were trained on such documents.
        use_cache: Keep keys and values between steps; False recomputes (for comparison).
        weights: "exact" for the model's own precision, "int8" or "bf16" to read fewer bytes a step.
        engine: What computes the steps, one of `ENGINES`. "native" is code compiled for this
            processor at its first use, a second's work that is kept; it needs a C++ compiler.
            "graphs" are CUDA graphs. "torch" runs anywhere. "auto" takes the fastest that is there;
            on a CPU it times both once for a size of model and a number of rows. Engines agree up
            to float rounding: name one for draws that are the same on every machine.

    Raises:
        ValueError: A setting is out of range.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_window: int = 0
    repetition_ratio: float = 0.1
    guidance: float = 1.0
    prompt_guidance: float = 1.0
    duration_temperature: float | None = None
    duration_top_p: float | None = None
    interleaved: bool = False
    use_cache: bool = True
    weights: str = "exact"
    engine: str = "auto"

    def __post_init__(self) -> None:
        all_finite("", self)
        # A temperature nearer to 0 would overflow the logits.
        check_temperature("temperature", self.temperature)
        check_temperature("duration_temperature", self.duration_temperature)
        count("top_k", self.top_k)
        in_range("top_p", self.top_p, 0, 1, ends="(]")
        if self.duration_top_p is not None:
            in_range("duration_top_p", self.duration_top_p, 0, 1, ends="(]")
        in_range("min_p", self.min_p, 0, 1)
        count("repetition_window", self.repetition_window)
        in_range("repetition_ratio", self.repetition_ratio, 0, 1, ends="(]")
        in_range("guidance", self.guidance, 0, MOST_GUIDANCE)
        in_range("prompt_guidance", self.prompt_guidance, 0, MOST_GUIDANCE)
        one_of("weights", self.weights, WEIGHTS)
        one_of("engine", self.engine, ENGINES)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What contexts for guidance are without, in their order: of "text" and "prompt"."""
        scales = {"text": self.guidance, "prompt": self.prompt_guidance}
        return tuple(part for part, scale in scales.items() if scale != 1)

    @classmethod
    def for_model(cls, config: SpeechLMConfig) -> GenerationSettings:
        """The sampling that suits a model best when it speaks texts, as its config states."""
        return cls(
            temperature=config.temperature,
            top_p=config.top_p,
            guidance=config.guidance,
            prompt_guidance=config.prompt_guidance,
            duration_temperature=config.duration_temperature,
            duration_top_p=config.duration_top_p,
        )

    def for_durations(self, config: SpeechLMConfig) -> GenerationSettings:
        """Settings for the durations of a model of aligned speech with codes drawn by these."""
        warmth, top_p = self.duration_temperature, self.duration_top_p
        # Asked for the likeliest codes, one expects the same speech every time.
        if warmth is None:
            warmth = 0.0 if self.temperature == 0 else config.duration_temperature
        if top_p is None:
            top_p = config.duration_top_p
        if warmth is None and top_p is None:
            return self
        # Top-k and min-p are meant for thousands of codes, not for some dozen durations.
        return replace(
            self,
            temperature=self.temperature if warmth is None else warmth,
            top_p=self.top_p if top_p is None else top_p,
            top_k=0,
            min_p=0.0,
        )


@dataclass(frozen=True)
class TranscriptionSettings:
    """Settings of the search for the text of speech.

    Args:
        beam: Hypotheses of a recording that are followed; 1 takes the likeliest token each time.
        temperature: Above 0, tokens are drawn at it in place of the search; then `beam` must be 1.
        length_power: Hypotheses are compared by their log-likelihood over their number of tokens,
            the end included, to this power: 1 for the mean of a token, 0 for the sum.
        max_text_tokens: Most text tokens; None for as many as speech of that length can have, and
            never more than the model's context leaves.
        use_cache: As in `GenerationSettings`, and so are the next two.
        weights: See there.
        engine: See there.

    Raises:
        ValueError: A setting is out of range, or draws are asked for in a beam.
    """

    beam: int = 4
    temperature: float = 0.0
    length_power: float = 1.0
    max_text_tokens: int | None = None
    use_cache: bool = True
    weights: str = "exact"
    engine: str = "auto"

    def __post_init__(self) -> None:
        count("beam", self.beam, 1)
        in_range("beam", self.beam, 1, 64)
        check_temperature("temperature", self.temperature)
        alone = self.temperature == 0 or self.beam == 1
        require(alone, "beam", "1 where tokens are drawn (temperature > 0)", self.beam)
        in_range("length_power", self.length_power, 0, 4)
        if self.max_text_tokens is not None:
            count("max_text_tokens", self.max_text_tokens, 1)
        one_of("weights", self.weights, WEIGHTS)
        one_of("engine", self.engine, ENGINES)

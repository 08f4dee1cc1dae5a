"""Settings of generation: how tokens are drawn, and which engine computes the steps."""

from __future__ import annotations

from dataclasses import dataclass

from codec.checks import count, in_range, one_of, require
from slm.model.config import SpeechLMConfig

# What computes the steps of generation; see `GenerationSettings`.
ENGINES = ("auto", "native", "graphs", "torch")
WEIGHTS = ("exact", "bf16", "int8")


@dataclass(frozen=True)
class GenerationSettings:
    """How tokens are drawn.

    Args:
        temperature: Divides the logits, in [0.001, 100]; 0 takes the likeliest token.
        top_k: Keep so many likeliest tokens; 0 keeps all.
        top_p: Keep the smallest set of at least this probability, in (0, 1]; 1 keeps all.
        min_p: Keep tokens with this share of the likeliest one's probability, in [0, 1]; 0 keeps
            all.
        repetition_window: Codes looked back over for repetition-aware sampling; 0 switches it off.
        repetition_ratio: Share of the window a token may fill before it is drawn anew, in (0, 1].
        guidance: Classifier-free guidance on the text; 1 is none. Costs a second row a request, and
            needs a model that was trained with text dropped now and then.
        use_cache: Keep keys and values between steps; False recomputes (for comparison).
        weights: "exact" for the model's own precision, "int8" or "bf16" to read fewer bytes a step.
        engine: What computes the steps, one of `ENGINES`. "native" is code compiled for this
            processor at its first use, a second's work that is kept; it needs a C++ compiler.
            "graphs" are CUDA graphs. "torch" runs anywhere. "auto" takes the fastest that is there.

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
    use_cache: bool = True
    weights: str = "exact"
    engine: str = "auto"

    def __post_init__(self) -> None:
        # A temperature nearer to 0 would overflow the logits.
        warm = self.temperature == 0 or 1e-3 <= self.temperature <= 100
        require(warm, "temperature", "0 or a number in [0.001, 100]", self.temperature)
        count("top_k", self.top_k)
        in_range("top_p", self.top_p, 0, 1, ends="(]")
        in_range("min_p", self.min_p, 0, 1)
        count("repetition_window", self.repetition_window)
        in_range("repetition_ratio", self.repetition_ratio, 0, 1, ends="(]")
        in_range("guidance", self.guidance, 0, 100)
        one_of("weights", self.weights, WEIGHTS)
        one_of("engine", self.engine, ENGINES)

    @classmethod
    def for_model(cls, config: SpeechLMConfig) -> GenerationSettings:
        """The sampling that suits a model best when it speaks texts, as its config states."""
        return cls(temperature=config.temperature, top_p=config.top_p)

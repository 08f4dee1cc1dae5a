"""Settings of `recipes.train_preferences`."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from codec.checks import at_least, in_range, require
from recipes.runner.schema import VERIFIERS
from slm.training.preferences import PreferenceSettings


@dataclass
class PreferencesConfig:
    """The model, its texts, the verifiers and the training."""

    # Texts to speak: one a line, .jsonl with text and, as needed, id, seed and voice or prompt, or
    # a list of seed-tts-eval (.lst), whose prompts give voices that the model has no name for.
    texts: str = MISSING
    run: str = MISSING
    seed: int = 0
    # Folders, bundled names or hub repositories.
    codec: str = "hh-mini-24k-v2"
    lm: str = "hh-mini-slm-v2"
    # Times each text is spoken, and how codes are drawn: warm enough that candidates differ.
    candidates: int = 4
    temperature: float = 0.8
    top_p: float = 0.95
    # What ranks them, the most important first (recipes/verifiers.py); least difference between
    # best and worst by the first of them that makes a pair.
    verifiers: list[str] = field(default_factory=lambda: ["words"])
    verifier_words: list[str] | None = None
    least_gap: float = 0.1
    # Most by which the longer of a pair may exceed the other, as a share of it; null = any.
    # Recognisers understand slow speech better: unbounded, pairs teach a slower pace.
    length_tolerance: float | None = None
    # Share of the pairs that are validated on instead.
    held_out: float = 0.1
    preferences: PreferenceSettings = field(default_factory=PreferenceSettings)
    # Compare how long phones last, too, and not the codes alone: most of what there is to gain, and
    # speech becomes slower.
    durations: bool = True
    # Pairs of a batch, batches of a step.
    batch_size: int = 4
    accumulate: int = 2
    steps: int = 100
    learning_rate: float = 2e-5
    min_learning_rate: float = 2e-6
    warmup_steps: int = 10
    bf16: bool = False
    validate_every: int = 20
    checkpoint_every: int = 20
    threads: int = 1

    def __post_init__(self) -> None:
        at_least("candidates", self.candidates, 2)
        at_least("least_gap", self.least_gap, 0)
        if self.length_tolerance is not None:
            at_least("length_tolerance", self.length_tolerance, 0)
        in_range("held_out", self.held_out, 0, 1, ends="[)")
        known = set(self.verifiers) <= set(VERIFIERS) and bool(self.verifiers)
        require(known, "verifiers", f"some of {', '.join(VERIFIERS)}", self.verifiers)
        heard = self.verifier_words is None or "words" in self.verifiers
        require(heard, "verifier_words", "none without the verifier words", self.verifier_words)

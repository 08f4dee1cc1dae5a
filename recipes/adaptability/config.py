"""Settings of a comparison of tokenizers by the language model that is trained on their codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from codec.checks import above, at_least, one_of, require

from .tokenizers import TokenizerConfig


@dataclass
class AdaptConfig:
    """The corpus, the tokenizers, the budget and the metrics."""

    # Folder that holds manifest.jsonl.
    corpus: str = MISSING
    # Only clips of these sources, as the manifest spells them; null = all.
    sources: list[str] | None = None
    run: str = MISSING
    seed: int = 0
    # Share of every number of steps below and in the recipes of codecs that are trained on the
    # spot: 0.1 is a tenth of the training, of the language model and of the codecs alike.
    budget: float = 1.0
    # By name. A codec's codes, k-means on mels, codecs of transformers:
    # recipes/comparisons/tokenizers.py.
    tokenizers: dict[str, TokenizerConfig] = field(default_factory=dict)
    # Clips of each split at most, evenly spread; null = all. RMS they are brought to, dBFS.
    clips: int | None = None
    loudness_dbfs: float = -23.0
    # Training clips that k-means is fitted to at most.
    kmeans_clips: int = 1000
    # The LM: preset of slm/model/config.py and fields to change; it is the same for every
    # tokenizer.
    preset: str = "mini"
    overrides: dict[str, Any] = field(default_factory=dict)
    # How the model reads texts: `pieces` before all codes, of a text model with text_vocab of them;
    # or `phones`, each before its own codes, found by forced alignment (English alone), with which
    # a small model says words after minutes of training. Of the phones the next `lookahead` are
    # read ahead, and text_start names a language model whose dictionary is taken (null = learn it).
    text: str = "pieces"
    text_vocab: int = 64
    text_start: str | None = None
    lookahead: int = 1
    # Share of clips whose text is dropped.
    text_drop_probability: float = 0.5
    # Share of documents that open with another clip of the speaker, and its length in seconds.
    prompt_probability: float = 0.5
    prompt_seconds: list[float] = field(default_factory=lambda: [0.2, 0.6])
    # A step reads batch_size rows of so many seconds of speech, whatever the token rate.
    row_seconds: float = 12.0
    batch_size: int = 2
    steps: int = 600
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    min_learning_rate: float = 2e-5
    warmup_steps: int = 50
    weight_decay: float = 0.1
    bf16: bool | str = False
    validate_every: int = 50
    # Valid clips resynthesised, texts synthesized (null = all), rows of a generation batch.
    resynthesize: int | None = 40
    generate: int | None = 40
    generate_batch: int = 10
    temperature: float = 0.8
    top_p: float = 0.95
    # Metrics by name; of generated speech only those that need no recording.
    resynthesis_metrics: list[str] = field(
        default_factory=lambda: ["stoi", "estoi", "mel_l1", "pitch"]
    )
    generation_metrics: list[str] = field(default_factory=list)
    # Vocabulary of the recogniser; [] = no word errors, [any] = its US-English model.
    words: list[str] = field(default_factory=list)
    threads: int = 1
    workers: int = 0
    # Of tokenizers, of the language model and of the networks of metrics: cpu, cuda, or auto = a
    # GPU where there is one.
    device: str = "cpu"

    def __post_init__(self) -> None:
        require(bool(self.tokenizers), "tokenizers", "at least one", self.tokenizers)
        one_of("device", self.device, ("auto", "cpu", "cuda"))
        one_of("text", self.text, ("pieces", "phones"))
        at_least("lookahead", self.lookahead, 1)
        above("budget", self.budget, 0)
        require(self.sources != [], "sources", "null or at least one", self.sources)
        ends = self.prompt_seconds
        require(
            len(ends) == 2 and 0 < ends[0] <= ends[1], "prompt_seconds", "[shortest, longest]", ends
        )
        for name in ("row_seconds", "batch_size", "steps", "validate_every", "generate_batch"):
            above(name, getattr(self, name), 0)

    def within_budget(self, count: int) -> int:
        """Scale a number of steps by the budget, to at least 1."""
        return max(1, round(self.budget * count))

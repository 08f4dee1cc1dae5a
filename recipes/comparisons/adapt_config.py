"""Settings of a comparison of tokenizers by the language model that is trained on their codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from codec.checks import above, one_of, require

from .tokenizers import TokenizerConfig


@dataclass
class AdaptConfig:
    """The corpus, the tokenizers, the budget and the metrics."""

    # Folder that holds manifest.jsonl.
    corpus: str = MISSING
    run: str = MISSING
    seed: int = 0
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
    # Pieces of the text model, and share of clips whose text is dropped.
    text_vocab: int = 64
    text_drop_probability: float = 0.5
    # Share of documents that open with another clip of the speaker, and its length in seconds.
    prompt_probability: float = 0.5
    prompt_seconds: list[float] = field(default_factory=lambda: [0.2, 0.6])
    # A step reads batch_size rows of so many seconds of speech, whatever the token rate.
    row_seconds: float = 12.0
    batch_size: int = 2
    steps: int = 600
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
        ends = self.prompt_seconds
        require(
            len(ends) == 2 and 0 < ends[0] <= ends[1], "prompt_seconds", "[shortest, longest]", ends
        )
        for name in ("row_seconds", "batch_size", "steps", "validate_every", "generate_batch"):
            above(name, getattr(self, name), 0)

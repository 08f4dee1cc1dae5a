"""Settings of a run: one dataclass a section, every field with its unit and its reason.

`recipes/runner/config.py` merges YAML and the command line onto these. A field marked `runtime`
changes how fast a stage runs, never what it makes, so it takes no part in a stage's signature.
`python -m recipes.run_all --settings` prints the comments and defaults that stand here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from codec.checks import above, at_least, one_of, require

from .fields import runtime, shared_fields
from .schema_codec import CodecConfig, EncodeCorpusConfig, SourceConfig, TrainCodecConfig
from .schema_corpora import (
    CorporaConfig,
    EspeakConfig,
    KokoroConfig,
    PrepareConfig,
    StringsConfig,
)
from .schema_lm import TrainSlmConfig, TrainTextConfig

__all__ = [
    "STAGE_NAMES",
    "VERIFIERS",
    "CodecConfig",
    "Config",
    "CorporaConfig",
    "EncodeCorpusConfig",
    "EspeakConfig",
    "EvaluateConfig",
    "GenerateConfig",
    "KokoroConfig",
    "PrepareConfig",
    "SourceConfig",
    "StringsConfig",
    "TrainCodecConfig",
    "TrainSlmConfig",
    "TrainTextConfig",
    "runtime",
    "shared_fields",
]

STAGE_NAMES = (
    "prepare",
    "train_codec",
    "encode_corpus",
    "train_text",
    "train_slm",
    "generate",
    "evaluate",
)

# By recipes/verifiers.py.
VERIFIERS = ("likelihood", "words", "words_whisper", "voice")


@dataclass
class GenerateConfig:
    """Reconstructions and generated speech for the report."""

    # Clips of each of valid and test to reconstruct; null = all.
    reconstruct: int | None = None
    # Split (valid or test) whose texts are spoken.
    split: str = "valid"
    # Its texts to speak in the voice of their own speaker: those of speakers that train has, and
    # those of others (null = all).
    texts_known: int | None = None
    texts_unseen: int | None = 20
    # Recordings shorter than this prompt nobody.
    min_prompt_seconds: float = 1.0
    # Clips of valid to continue, seconds of each that are given, longest continuation.
    continuations: int = 10
    given_seconds: float = 3.0
    continue_seconds: float = 4.0
    # How codes of texts are drawn, and those of continuations (null = alike).
    temperature: float = 0.8
    top_p: float = 0.95
    continue_temperature: float | None = None
    continue_top_p: float | None = None
    # Of the durations that a model of aligned speech draws (null = as the model's config says).
    duration_temperature: float | None = None
    duration_top_p: float | None = None
    # Of texts: times as fast as a model of aligned speech speaks by itself, 0.25 to 4.
    speed: float = 1.0
    # Guidance on the text, for its words, and on the prompt, for more of its voice; 1 = none.
    guidance: float = 1.0
    prompt_guidance: float = 1.0
    # Times each text is spoken; what the verifiers find best is kept, and the first beside it.
    # 1 = the first, unranked.
    best_of: int = 1
    # What ranks them, the most important first: likelihood, words (the offline recogniser against
    # the text; verifier_words = its vocabulary, null = its model), words_whisper (the model that
    # HH_WEIGHT_WHISPER names), voice (likeness to the prompt).
    verifiers: list[str] = field(default_factory=lambda: ["likelihood"])
    verifier_words: list[str] | None = None
    # Rows generated at once.
    batch_size: int = runtime(8)
    # auto = a GPU where there is one; cpu, cuda, or cuda:N.
    device: str = runtime("auto")

    def __post_init__(self) -> None:
        above("given_seconds", self.given_seconds, 0)
        above("continue_seconds", self.continue_seconds, 0)
        one_of("split", self.split, ("valid", "test"))
        at_least("best_of", self.best_of, 1)
        require(0.25 <= self.speed <= 4, "speed", "0.25 to 4", self.speed)
        known = set(self.verifiers) <= set(VERIFIERS) and bool(self.verifiers)
        require(known, "verifiers", f"some of {', '.join(VERIFIERS)}", self.verifiers)


@dataclass
class EvaluateConfig:
    """Measurements and their report."""

    # Vocabulary of the recogniser, such as [zero, one, two]; null = its US-English model.
    words: list[str] | None = None
    # Clips of each kind in the report.
    report_clips: int = 4
    # Processes that score; 0 = in this one.
    workers: int = runtime(0)
    # Of the networks that metrics run; cpu, cuda, cuda:N, or auto = a GPU where there is one.
    device: str = runtime("cpu")


@dataclass
class Config:
    """One run: a corpus, a folder, and the settings of every stage."""

    # "espeak", "kokoro", "ljspeech", "libritts", or the path of a folder that holds manifest.jsonl.
    corpus: str = MISSING
    # Further folders that hold a manifest.jsonl each, whose clips join those of the corpus.
    further_corpora: list[str] = field(default_factory=list)
    # Folder of this run; every stage writes to run/<stage>.
    run: str = MISSING
    seed: int = 0
    # Languages to keep, as the manifest spells them; null = all.
    languages: list[str] | None = None
    # Stages that `run_all` runs, always in their own order.
    stages: list[str] = field(default_factory=lambda: list(STAGE_NAMES), metadata={"runtime": True})
    # CPU threads and worker processes; 0 = as many as this process may use.
    threads: int = runtime(0)
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    corpora: CorporaConfig = field(default_factory=CorporaConfig)
    espeak: EspeakConfig = field(default_factory=EspeakConfig)
    kokoro: KokoroConfig = field(default_factory=KokoroConfig)
    strings: StringsConfig = field(default_factory=StringsConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)
    train_codec: TrainCodecConfig = field(default_factory=TrainCodecConfig)
    encode_corpus: EncodeCorpusConfig = field(default_factory=EncodeCorpusConfig)
    train_text: TrainTextConfig = field(default_factory=TrainTextConfig)
    train_slm: TrainSlmConfig = field(default_factory=TrainSlmConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __post_init__(self) -> None:
        at_least("threads", self.threads, 0)
        at_least("seed", self.seed, 0)
        known = set(self.stages) <= set(STAGE_NAMES) and bool(self.stages)
        require(known, "stages", f"some of {', '.join(STAGE_NAMES)}", self.stages)
        require(self.languages != [], "languages", "null or at least one language", self.languages)
        share = self.train_slm.documents.transcribe_probability
        spells = self.train_text.kind == "pieces" or share == 0
        expected = "0 with train_text.kind = phones, which spell no words"
        require(spells, "train_slm.documents.transcribe_probability", expected, share)
        draws_durations = self.train_text.kind == "phones" or self.generate.speed == 1
        expected = "1 with train_text.kind = pieces, whose models draw no durations"
        require(draws_durations, "generate.speed", expected, self.generate.speed)

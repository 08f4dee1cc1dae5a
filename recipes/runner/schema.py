"""Settings of a run: one dataclass a section, every field with its unit and its reason.

`recipes/runner/config.py` merges YAML and the command line onto these. A field marked `runtime`
changes how fast a stage runs, never what it makes, so it takes no part in a stage's signature.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any

from omegaconf import MISSING

from codec.checks import above, at_least, count, one_of, require
from codec.training.config import PARTS, FitConfig, PhaseConfig, check_shares
from slm import DocumentSettings, LoraSettings, TrainingSettings

from .schema_corpora import (
    CorporaConfig,
    EspeakConfig,
    KokoroConfig,
    PrepareConfig,
    StringsConfig,
    runtime,
)

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


def shared_fields(settings: Any, kind: type) -> dict[str, Any]:
    """Collect the fields that a section has in common with a dataclass of the library.

    Args:
        settings: Section of the settings.
        kind: The dataclass.

    Returns:
        Values by name, to build or to replace an object of `kind` with.
    """
    names = {each.name for each in fields(kind)}
    return {
        each.name: getattr(settings, each.name) for each in fields(settings) if each.name in names
    }


def _some_of(field: str, values: Collection[str], choices: Collection[str]) -> None:
    """Refuse values that are not among `choices`; names the wrong ones."""
    unknown = sorted(set(values) - set(choices))
    require(not unknown, field, f"some of {', '.join(choices)}", unknown)


@dataclass
class CodecConfig:
    """The codec's sizes."""

    # One of codec.CodecConfig's presets: hh_24khz (the paper), mini (trains on a CPU), tiny.
    preset: str = "mini"
    # Fields of that preset to change, nested as in a codec's config.yaml.
    overrides: dict[str, Any] = field(default_factory=dict)
    # A trained codec to go on from instead of random weights: the name of a bundled one
    # (hh-mini-24k), a model folder or a hub repository; and which of its parts are taken.
    start: str | None = None
    start_parts: list[str] = field(default_factory=lambda: list(PARTS))
    # A published vocoder to take instead: a folder, file or hub repository of Vocos or BigVGAN-v2,
    # such as charactr/vocos-mel-24khz; its mel convention must be the preset's.
    vocoder_from: str | None = None
    # Folder of a Whisper in the transformers layout whose encoder a codec with
    # overrides.encoder.speech_layers begins with; null = that of `start`.
    speech_encoder_from: str | None = None

    def __post_init__(self) -> None:
        _some_of("start_parts", self.start_parts, PARTS)


@dataclass
class SourceConfig:
    """Recordings that training crops are read from as they are, without the prepare stage."""

    # A manifest (JSON lines with `audio`), or a folder with recordings at any depth.
    corpus: str = MISSING
    # Its share of the crops, relative to the other sources'; null = by duration, for all alike.
    share: float | None = None
    # Fields of the manifest and the values they must have, such as {split: train}.
    select: dict[str, Any] = field(default_factory=dict)


@dataclass
class TrainCodecConfig:
    """The codec's training: phases by name, in their order."""

    # What each phase trains, for how long and against which losses (codec/training/config.py).
    phases: dict[str, PhaseConfig] = field(default_factory=dict)
    # Where training crops come from, by name, in place of the prepared train split; brought to
    # prepare.loudness_dbfs too. Unreadable files are listed in train_codec/bad_files.jsonl.
    sources: dict[str, SourceConfig] | None = None
    # Lightning's names; auto = bf16-mixed where the device multiplies bfloat16 itself, else
    # 32-true, as it was when a phase was begun.
    precision: str = "auto"
    accelerator: str = runtime("auto")
    # Devices of a node, nodes, and auto or ddp (docs/guides/training_at_scale.md).
    devices: int = runtime(1)
    num_nodes: int = runtime(1)
    strategy: str = runtime("auto")
    # Only these phases, null = all: phases that train different parts may run side by side, each
    # in a process of its own; the stage is done when all are.
    only: list[str] | None = runtime(None)
    # Steps between lines of metrics.jsonl, validations and checkpoints.
    log_every: int = runtime(20)
    validate_every: int = runtime(250)
    checkpoint_every: int = runtime(250)
    # Processes that read training crops ahead; 0 = read when a step asks.
    num_workers: int = runtime(0)
    # Steps between reports of every loss term's gradient at the decoder's output; 0 = none.
    balance_every: int = runtime(0)
    # Also write curves, mel pictures and audio for TensorBoard (extra `train`).
    tensorboard: bool = runtime(False)

    def __post_init__(self) -> None:
        _some_of("only", self.only or [], self.phases)
        FitConfig(**shared_fields(self, FitConfig))
        for name, phase in self.phases.items():
            check_shares(f"phases.{name}", phase.batch_size, self.devices * self.num_nodes)


@dataclass
class EncodeCorpusConfig:
    """From waveforms to the token store."""

    # A shard is written, and safe from a crash, once it holds this many codes.
    shard_codes: int = 65536
    # Clips of train are encoded once more from each of these samples on: other codes of the same
    # sounds, for a language model of little speech. Only where the manifest has these values.
    shifts: list[int] = field(default_factory=list)
    shift_select: dict[str, Any] = field(default_factory=dict)
    # Read the corpus's own recordings as prepare would have stored them, not what it stored.
    recordings: bool = False
    # local = processes of this machine; ray = a Ray cluster (extra `ray`), one started on this
    # machine or the one at `address`, such as auto (docs/guides/encoding_at_scale.md).
    engine: str = runtime("local")
    address: str | None = runtime(None)
    # Processes that encode, with one thread or one GPU each; 0 = one a core or GPU.
    workers: int = runtime(0)
    # auto = a GPU where there is one; cpu or cuda.
    device: str = runtime("auto")
    # Audio that is encoded at once, clips of like length, and that is lost with a worker, seconds.
    batch_seconds: float = runtime(120.0)

    def __post_init__(self) -> None:
        one_of("engine", self.engine, ("local", "ray"))
        one_of("device", self.device, ("auto", "cpu", "cuda"))
        at_least("workers", self.workers, 0)
        at_least("batch_seconds", self.batch_seconds, 1)
        at_least("shard_codes", self.shard_codes, 1)
        distinct = len(set(self.shifts)) == len(self.shifts)
        positive = all(shift > 0 for shift in self.shifts)
        require(positive and distinct, "shifts", "samples > 0, each once", self.shifts)


@dataclass
class TrainTextConfig:
    """Tokens of text: SentencePiece pieces, or phones that are aligned with the speech."""

    # pieces, or phones: English alone, with the dictionary and the aligner of pocketsphinx.
    kind: str = "pieces"
    # Pieces: at most this many; a small corpus may give fewer.
    vocab_size: int = 512
    # A speech language model whose text model is taken as it is, of the same kind: a bundled name,
    # a folder or a hub repository. null = made from this corpus or dictionary.
    start: str | None = None
    # Phones: clips of these languages are aligned, as the manifest spells them; the others become
    # speech without text.
    languages: list[str] = field(default_factory=lambda: ["en"])

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("pieces", "phones"))


# Of the further training settings of a language model, before any is changed.
_TRAINING = TrainingSettings(max_steps=2000)


@dataclass
class TrainSlmConfig:
    """The speech language model and its training."""

    # tiny, mini, small, base, medium or large, and fields of its SpeechLMConfig to change.
    preset: str = "mini"
    overrides: dict[str, Any] = field(default_factory=dict)
    # A model to start from, which then gives the sizes; null = random weights. Either a speech
    # language model of this run's codec and text model (hh-mini-slm, a folder or a hub repository;
    # train_text.start names the same) or the folder of a text model (transformers: Llama 2 and 3,
    # TinyLlama, SmolLM2, Qwen3).
    start: str | None = None
    # Adapters beside the matrices, trained alone and merged at the end (extra `lora`); rank 0 = the
    # whole model is trained, but for training.freeze and training.freeze_layers.
    lora: LoraSettings = field(default_factory=LoraSettings)
    # Tokens of a packed row, rows of a batch, batches of an optimizer step.
    seq_len: int = 1024
    batch_size: int = 2
    accumulate: int = 1
    steps: int = 2000
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-5
    warmup_steps: int = 100
    weight_decay: float = 0.1
    # bfloat16 products; auto = where the device multiplies them itself, as when training was begun.
    bf16: bool | str = "auto"
    # Start the embeddings of codes from the codec's codebook, so that like sounds begin alike.
    place_codes: bool = True
    # Share of documents that open with a speaker prompt, and its length in codes.
    prompt_probability: float = 0.5
    min_prompt_codes: int = 24
    max_prompt_codes: int = 96
    # Share of transcribed clips that are trained on without their text.
    text_drop_probability: float = 0.1
    # Fields of DocumentSettings and TrainingSettings that have no key above, such as
    # documents.interleave_probability=0.3 or training.optimizer=muon.
    documents: DocumentSettings = field(default_factory=DocumentSettings)
    training: TrainingSettings = _TRAINING
    accelerator: str = runtime("auto")
    # Devices of a node, nodes, and auto, ddp or fsdp (docs/guides/training_at_scale.md).
    devices: int = runtime(1)
    num_nodes: int = runtime(1)
    strategy: str = runtime("auto")
    validate_every: int = runtime(100)
    checkpoint_every: int = runtime(100)
    # Utterances of valid whose likelihood after a prompt of their own speaker, of a stranger and
    # after none is validated as well; 0 = none.
    prompt_documents: int = runtime(64)
    # Also write curves for TensorBoard (extra `train`).
    tensorboard: bool = runtime(False)
    # Checkpoint to go on from where run/train_slm has no last.ckpt; null = begin at step 0.
    resume_from: str | None = runtime(None)

    def __post_init__(self) -> None:
        # Of a value that has a key of its own, the nested field must not be set as well.
        keys = {"max_steps": "train_slm.steps", "seed": "seed"}
        keys |= {"lookahead": "train_slm.overrides.lookahead"}
        for section, default in (("documents", DocumentSettings()), ("training", _TRAINING)):
            nested = getattr(self, section)
            own = {name: f"train_slm.{name}" for name in shared_fields(self, type(default))}
            for name, key in (own | keys).items():
                got = getattr(nested, name, None)
                expected = f"its default, since {key} sets it"
                require(got == getattr(default, name, None), f"{section}.{name}", expected, got)
        count("seq_len", self.seq_len, 1)
        count("batch_size", self.batch_size, 1)
        count("steps", self.steps, 1)
        replace(self.documents, **shared_fields(self, DocumentSettings))
        # A warm-up is compared with the steps when the stage begins.
        steps = max(self.steps, self.warmup_steps + 1)
        shared = shared_fields(self, TrainingSettings) | {"max_steps": steps}
        replace(self.training, **shared)


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
    # Guidance on the prompt of texts, for more of its voice; 1 = none.
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

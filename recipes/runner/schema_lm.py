"""Settings of the text model and of the speech language model's training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from codec.checks import at_least, count, one_of, require
from slm import DocumentSettings, LoraSettings, TrainingSettings

from .fields import runtime, shared_fields


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
    # Phones: processes that align, which change no result; 0 = in this one.
    workers: int = runtime(0)

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("pieces", "phones"))
        at_least("workers", self.workers, 0)


# Of the further training settings of a language model, before any is changed.
_TRAINING = TrainingSettings(max_steps=2000)
# Fields of DocumentSettings and TrainingSettings that have a key of their own.
_HAVE_KEYS = (
    *("prompt_probability", "min_prompt_codes", "max_prompt_codes", "text_drop_probability"),
    *("max_steps", "seed", "lookahead", "learning_rate", "min_learning_rate", "warmup_steps"),
    *("weight_decay", "accumulate", "bf16", "validate_every", "checkpoint_every"),
    *("tensorboard", "wandb"),
)


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
    # Take a `start` of another codec, too: embeddings and logits of codes are made anew from the
    # vectors of this run's codec (it needs a code_table), and its voices are left behind. For
    # codecs that were trained on from one another, whose vectors mean alike.
    start_other_codec: bool = False
    # Adapters beside the matrices, trained alone and merged at the end (extra `lora`); rank 0 = the
    # whole model is trained, but for training.freeze and training.freeze_layers.
    lora: LoraSettings = field(default_factory=LoraSettings)
    # Tokens of a packed row, rows of a batch, batches of an optimizer step.
    seq_len: int = 1024
    batch_size: int = 2
    accumulate: int = 1
    # Optimizer steps of the whole run.
    steps: int = 2000
    # Peak, and where the schedule ends; between 0 and the peak lie `warmup_steps`, a straight line.
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-5
    warmup_steps: int = 100
    # Of matrices; gains, biases and embeddings are left alone.
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
    documents: DocumentSettings = field(
        default_factory=DocumentSettings, metadata={"hidden": _HAVE_KEYS}
    )
    training: TrainingSettings = field(
        default_factory=lambda: _TRAINING, metadata={"hidden": _HAVE_KEYS}
    )
    # Lightning's names: auto, cpu, gpu.
    accelerator: str = runtime("auto")
    # Devices of a node, nodes, and auto, ddp or fsdp (docs/guides/training_at_scale.md).
    devices: int = runtime(1)
    num_nodes: int = runtime(1)
    strategy: str = runtime("auto")
    # Steps between validations and checkpoints.
    validate_every: int = runtime(100)
    checkpoint_every: int = runtime(100)
    # Utterances of valid whose likelihood after a prompt of their own speaker, of a stranger and
    # after none is validated as well; 0 = none.
    prompt_documents: int = runtime(64)
    # Also write curves and samples for TensorBoard (extra `train`), and for the project of this
    # name of Weights & Biases (extra `wandb`; kept in the run's folder for `wandb sync`, or sent at
    # once where WANDB_MODE=online); empty = none.
    tensorboard: bool = runtime(False)
    wandb: str = runtime("")
    # Texts of valid that are spoken at every validation, each in the voice of its speaker, into
    # run/train_slm/samples and the logs, with generate.temperature and generate.top_p; 0 = none.
    samples: int = runtime(0)
    # What counts their word errors: words (the offline recogniser, evaluate.words = its
    # vocabulary) or words_whisper (the model that HH_WEIGHT_WHISPER names); null = nothing.
    sample_recogniser: str | None = runtime(None)
    # Where they are spoken: cpu, cuda, cuda:N; a copy of the model's weights is made there.
    sample_device: str = runtime("cpu")
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
        count("samples", self.samples)
        if self.sample_recogniser is not None:
            one_of("sample_recogniser", self.sample_recogniser, ("words", "words_whisper"))
        replace(self.documents, **shared_fields(self, DocumentSettings))
        # A warm-up is compared with the steps when the stage begins.
        steps = max(self.steps, self.warmup_steps + 1)
        shared = shared_fields(self, TrainingSettings) | {"max_steps": steps}
        replace(self.training, **shared)

"""Configuration of a language model, its documents and its training: plain dataclasses."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from slm.data.vocabulary import Vocabulary

# Parameters with 8192 codes and 512 text pieces; a test counts them.
_PRESETS: dict[str, dict[str, Any]] = {
    # 0.1 M beside the embeddings: tests and smoke runs.
    "tiny": {"dim": 64, "num_layers": 2, "num_heads": 2, "dim_head": 32, "max_seq_len": 512},
    # 11 M: trains on two CPU cores.
    "mini": {"dim": 256, "num_layers": 8, "num_heads": 4, "dim_head": 64, "max_seq_len": 1024},
    # 41 M.
    "small": {"dim": 512, "num_layers": 10, "num_heads": 8, "dim_head": 64, "max_seq_len": 2048},
    # 98 M: one GPU.
    "base": {"dim": 768, "num_layers": 12, "num_heads": 12, "dim_head": 64, "max_seq_len": 2048},
    # 345 M.
    "medium": {
        "dim": 1024,
        "num_layers": 24,
        "num_heads": 16,
        "dim_head": 64,
        "ff_mult": 3.0,
        "max_seq_len": 2048,
    },
    # 1.0 B, grouped key and value heads: several GPUs.
    "large": {
        "dim": 2048,
        "num_layers": 20,
        "num_heads": 16,
        "num_kv_heads": 8,
        "dim_head": 128,
        "ff_mult": 2.75,
        "max_seq_len": 2048,
    },
}


def _require(condition: bool, expected: str, got: object) -> None:
    if not condition:
        raise ValueError(f"expected {expected}, got {got}")


@dataclass(frozen=True)
class SpeechLMConfig:
    """Sizes of a speech language model and the codec and text model it belongs to.

    Args:
        vocabulary: `Vocabulary.to_dict()`.
        codec_fingerprint: Of the codec whose codes it speaks.
        frame_rate: Codes a second, Hz.
        dim: Width of the residual stream.
        num_layers: Attention + feed-forward pairs.
        num_heads: Query heads.
        num_kv_heads: Key and value heads, a divisor of `num_heads`; 0 means `num_heads`.
        dim_head: Width of a head, even.
        ff_mult: Feed-forward width over `dim`, rounded up to a multiple of 32.
        dropout: On embeddings and each branch's output, in [0, 1).
        max_seq_len: Longest document in tokens.
        codes_per_character: Mean codes spoken a text character; 0 when unknown. Generation
            bounds the length of speech with it.
        duration_spread: Standard deviation of the logarithm of codes a character; 0 when unknown.
        max_prompt_codes: Longest speaker prompt in training; synthesis uses no more of one.
        qk_norm: Root-mean-square norm of queries and keys, as in Qwen3.
        rotary_theta: Base of the rotary positions.
        rotary_scaling: Empty, or how Llama 3.1 stretches them: its `rope_type`, `factor`,
            `low_freq_factor`, `high_freq_factor` and `original_max_position_embeddings`.
        norm_eps: Added to the mean square in every norm; 0 for none.
        lookahead: Units of speech that the model reads ahead of those it speaks, where it was
            trained on aligned documents of phones; 0 for a model that reads whole texts.
        code_dropout: Share of the codes a document in training that the model does not see, so
            that it leans on the text; in [0, 1).
        code_table: Hidden units of the networks that make the codes' embeddings from the codec's
            vectors (slm/model/code_embeddings.py); 0 for embeddings of their own.
        codebook_dim: Numbers in such a vector; 0 without a code table.
        temperature: At which this model says texts best; taken where none is asked for. Continued
            recordings keep the general default: a voice is lost where codes are drawn with care.
        top_p: The same.

    Raises:
        ValueError: A size is out of range or the vocabulary's layout does not verify.
    """

    vocabulary: dict[str, Any]
    codec_fingerprint: str
    frame_rate: float
    dim: int = 256
    num_layers: int = 8
    num_heads: int = 4
    num_kv_heads: int = 0
    dim_head: int = 64
    ff_mult: float = 8 / 3
    dropout: float = 0.0
    max_seq_len: int = 1024
    codes_per_character: float = 0.0
    duration_spread: float = 0.0
    max_prompt_codes: int = 96
    qk_norm: bool = False
    rotary_theta: float = 10000.0
    rotary_scaling: dict[str, Any] = field(default_factory=dict)
    norm_eps: float = 0.0
    lookahead: int = 0
    code_dropout: float = 0.0
    code_table: int = 0
    codebook_dim: int = 0
    temperature: float = 0.8
    top_p: float = 0.95

    def __post_init__(self) -> None:
        Vocabulary.from_dict(self.vocabulary)
        for name in ("dim", "num_layers", "num_heads", "max_seq_len", "max_prompt_codes"):
            _require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name))
        _require(self.frame_rate > 0, "frame_rate > 0 Hz", self.frame_rate)
        _require(self.dim_head >= 2 and self.dim_head % 2 == 0, "an even dim_head", self.dim_head)
        _require(
            self.num_kv_heads >= 0 and self.num_heads % self.kv_heads == 0,
            f"num_kv_heads dividing {self.num_heads}",
            self.num_kv_heads,
        )
        _require(self.ff_mult > 0, "ff_mult > 0", self.ff_mult)
        _require(0 <= self.dropout < 1, "dropout in [0, 1)", self.dropout)
        _require(
            self.codes_per_character >= 0, "codes_per_character >= 0", self.codes_per_character
        )
        _require(self.duration_spread >= 0, "duration_spread >= 0", self.duration_spread)
        _require(self.rotary_theta > 1, "rotary_theta > 1", self.rotary_theta)
        _require(self.norm_eps >= 0, "norm_eps >= 0", self.norm_eps)
        _require(self.lookahead >= 0, "lookahead >= 0", self.lookahead)
        _require(0 <= self.code_dropout < 1, "code_dropout in [0, 1)", self.code_dropout)
        _require(self.code_table >= 0, "code_table >= 0", self.code_table)
        _require(
            not self.code_table or self.codebook_dim > 0,
            "codebook_dim > 0 with a code_table",
            self.codebook_dim,
        )
        warm = self.temperature == 0 or 1e-3 <= self.temperature <= 100
        _require(warm, "temperature 0 or in [0.001, 100]", self.temperature)
        _require(0 < self.top_p <= 1, "top_p in (0, 1]", self.top_p)
        if self.rotary_scaling:
            kind = self.rotary_scaling.get("rope_type")
            _require(kind == "llama3", "rotary_scaling of rope_type 'llama3'", repr(kind))

    @property
    def is_aligned(self) -> bool:
        """Whether the model was trained on aligned documents of phones."""
        return self.lookahead > 0

    @property
    def kv_heads(self) -> int:
        """Key and value heads in use."""
        return self.num_kv_heads or self.num_heads

    @property
    def ff_dim(self) -> int:
        """Feed-forward width, a multiple of 32."""
        return -(-int(self.dim * self.ff_mult) // 32) * 32

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> "SpeechLMConfig":
        """One of the named sizes, with `vocabulary`, `codec_fingerprint`, `frame_rate` and more.

        Raises:
            ValueError: No preset of that name, or an override that is no field.
        """
        if name not in _PRESETS:
            raise ValueError(f"expected a preset of {sorted(_PRESETS)}, got {name!r}")
        unknown = set(overrides) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"expected fields of SpeechLMConfig, got {sorted(unknown)}")
        return cls(**{**_PRESETS[name], **overrides})

    def save(self, path: Path) -> None:
        """Write as YAML."""
        OmegaConf.save(OmegaConf.create(asdict(self)), path)

    @classmethod
    def load(cls, path: Path) -> "SpeechLMConfig":
        """Read what `save` wrote.

        Raises:
            ValueError: A key is misspelt, missing or of a wrong type, or a check fails.
        """
        try:
            merged = OmegaConf.merge(OmegaConf.structured(cls), OmegaConf.load(path))
            loaded = OmegaConf.to_object(merged)
        except OmegaConfBaseException as error:
            raise ValueError(f"cannot read {path}: {error}") from error
        assert isinstance(loaded, cls)
        return loaded


@dataclass(frozen=True)
class DocumentSettings:
    """How store items become training documents.

    Args:
        prompt_probability: Chance that a document opens with a prompt from another utterance of
            its speaker (no prompt when the speaker has one utterance only).
        min_prompt_codes: Shortest prompt, in codes.
        max_prompt_codes: Longest prompt, in codes; its length is drawn uniformly up to what the
            utterance holds.
        text_drop_probability: Chance that a transcribed item becomes a speech-only document, so
            that the model also continues recordings without a transcript.
        text_loss_weight: Loss weight of text tokens; speech codes and the end weigh 1.
        prompt_text_probability: Chance that a prompt is a whole utterance that comes with its
            transcript, where both are transcribed and it has at most `max_prompt_codes`.
        interleave_probability: Chance that text and speech of a transcribed item take turns.
        interleave_text: Text tokens of a turn.
        interleave_codes: Codes of a turn.
        lookahead: Units read ahead in the aligned documents of rows that have an alignment; 0
            where no row has one.
        duration_loss_weight: Loss weight of the durations in them.
        shares: Share of the rows of a `source` that an epoch takes, drawn anew for each; all of a
            source that is not named.
    """

    prompt_probability: float = 0.5
    min_prompt_codes: int = 24
    max_prompt_codes: int = 96
    text_drop_probability: float = 0.1
    text_loss_weight: float = 0.0
    prompt_text_probability: float = 0.0
    interleave_probability: float = 0.0
    interleave_text: int = 5
    interleave_codes: int = 30
    lookahead: int = 0
    duration_loss_weight: float = 1.0
    shares: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (
            "prompt_probability",
            "text_drop_probability",
            "prompt_text_probability",
            "interleave_probability",
        ):
            _require(0 <= getattr(self, name) <= 1, f"{name} in [0, 1]", getattr(self, name))
        for name in ("interleave_text", "interleave_codes"):
            _require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name))
        for name in ("text_loss_weight", "duration_loss_weight", "lookahead"):
            _require(getattr(self, name) >= 0, f"{name} >= 0", getattr(self, name))
        for source, share in self.shares.items():
            _require(0 <= share <= 1, f"a share in [0, 1] of {source!r}", share)
        _require(
            1 <= self.min_prompt_codes <= self.max_prompt_codes,
            "1 <= min_prompt_codes <= max_prompt_codes",
            (self.min_prompt_codes, self.max_prompt_codes),
        )

    def without_augmentation(self) -> "DocumentSettings":
        """The same with nothing drawn at random: every item as it is, for validation."""
        return replace(
            self,
            prompt_probability=0.0,
            text_drop_probability=0.0,
            prompt_text_probability=0.0,
            interleave_probability=0.0,
            shares={},
        )


@dataclass(frozen=True)
class TrainingSettings:
    """How a speech language model is trained.

    Args:
        max_steps: Optimizer steps of the whole run.
        learning_rate: Peak.
        min_learning_rate: At the end of the schedule.
        warmup_steps: Linear warm-up from 0, below `max_steps`.
        weight_decay: On matrices only; gains, biases and embeddings are left alone.
        betas: Of AdamW.
        gradient_clip: Largest gradient norm.
        accumulate: Batches an optimizer step.
        validate_every: Steps between validations.
        checkpoint_every: Steps between checkpoints.
        seed: Seeds dropout, step by step.
        bf16: bfloat16 autocast; the loss stays in float32.
        optimizer: "adamw", or "muon" for the matrices between embedding and head.
        schedule: "cosine", or "wsd": warm up, stay, decay at the end.
        decay_fraction: Share of the steps in which "wsd" decays, in (0, 1].
        attention: How packed rows are attended to (see slm/model/packed_attention.py).
        recompute: Make activations again in the backward pass instead of keeping them.
        compile: Compile the blocks; shapes are fixed, so that it happens once.
    """

    max_steps: int
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-4
    warmup_steps: int = 50
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    gradient_clip: float = 1.0
    accumulate: int = 1
    validate_every: int = 200
    checkpoint_every: int = 200
    seed: int = 0
    bf16: bool = False
    optimizer: str = "adamw"
    schedule: str = "cosine"
    decay_fraction: float = 0.2
    attention: str = "auto"
    recompute: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        _require(self.optimizer in ("adamw", "muon"), "adamw or muon", repr(self.optimizer))
        _require(self.schedule in ("cosine", "wsd"), "schedule cosine or wsd", repr(self.schedule))
        _require(0 < self.decay_fraction <= 1, "decay_fraction in (0, 1]", self.decay_fraction)
        for name in ("max_steps", "accumulate", "validate_every", "checkpoint_every"):
            _require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name))
        for name in ("learning_rate", "gradient_clip"):
            _require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name))
        _require(
            0 <= self.warmup_steps < self.max_steps,
            f"warmup_steps in [0, max_steps = {self.max_steps})",
            self.warmup_steps,
        )


@dataclass(frozen=True)
class Machines:
    """What a training run is spread over; its outcome is the same but for float rounding.

    Args:
        accelerator: Lightning's name of the device kind.
        devices: Devices of each node; more than one trains the same steps on shares of each.
        num_nodes: Nodes.
        strategy: "ddp" keeps the model whole on every device, "fsdp" spreads its weights,
            gradients and optimizer state over them; "auto" is one device, or "ddp".
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"

    def __post_init__(self) -> None:
        for name in ("devices", "num_nodes"):
            _require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name))
        kinds = ("auto", "ddp", "fsdp")
        _require(self.strategy in kinds, f"strategy of {kinds}", repr(self.strategy))

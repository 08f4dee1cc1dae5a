"""What a language model, its documents, its training and its sampling are: plain dataclasses."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .vocabulary import Vocabulary

_PRESETS: dict[str, dict[str, Any]] = {
    # Tests and smoke runs: under 100 k parameters beside the embeddings.
    "tiny": {"dim": 64, "num_layers": 2, "num_heads": 2, "dim_head": 32, "max_seq_len": 512},
    # About 11 M parameters with 8192 codes: trains on two CPU cores.
    "mini": {"dim": 256, "num_layers": 8, "num_heads": 4, "dim_head": 64, "max_seq_len": 1024},
    # 124 M parameters: one GPU.
    "base": {"dim": 768, "num_layers": 12, "num_heads": 12, "dim_head": 64, "max_seq_len": 2048},
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
        max_prompt_codes: Longest speaker prompt in training; synthesis uses no more of one.

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
    max_prompt_codes: int = 96

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
    """

    prompt_probability: float = 0.5
    min_prompt_codes: int = 24
    max_prompt_codes: int = 96
    text_drop_probability: float = 0.1
    text_loss_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("prompt_probability", "text_drop_probability"):
            _require(0 <= getattr(self, name) <= 1, f"{name} in [0, 1]", getattr(self, name))
        _require(self.text_loss_weight >= 0, "text_loss_weight >= 0", self.text_loss_weight)
        _require(
            1 <= self.min_prompt_codes <= self.max_prompt_codes,
            "1 <= min_prompt_codes <= max_prompt_codes",
            (self.min_prompt_codes, self.max_prompt_codes),
        )

    def without_augmentation(self) -> "DocumentSettings":
        """The same with nothing drawn at random: every item as it is, for validation."""
        return replace(self, prompt_probability=0.0, text_drop_probability=0.0)


@dataclass(frozen=True)
class TrainingSettings:
    """How a speech language model is trained.

    Args:
        max_steps: Optimizer steps of the whole run.
        learning_rate: Peak.
        min_learning_rate: At the end of the cosine.
        warmup_steps: Linear warm-up from 0, below `max_steps`.
        weight_decay: On matrices only; gains, biases and embeddings are left alone.
        betas: Of AdamW.
        gradient_clip: Largest gradient norm.
        accumulate: Batches an optimizer step.
        validate_every: Steps between validations.
        checkpoint_every: Steps between checkpoints.
        seed: Seeds dropout, step by step.
        bf16: bfloat16 autocast; the loss stays in float32.
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

    def __post_init__(self) -> None:
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
class GenerationSettings:
    """How tokens are drawn.

    Args:
        temperature: Divides the logits; 0 takes the likeliest token.
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

    def __post_init__(self) -> None:
        _require(self.temperature >= 0, "temperature >= 0", self.temperature)
        _require(self.top_k >= 0, "top_k >= 0", self.top_k)
        _require(0 < self.top_p <= 1, "top_p in (0, 1]", self.top_p)
        _require(0 <= self.min_p <= 1, "min_p in [0, 1]", self.min_p)
        _require(self.repetition_window >= 0, "repetition_window >= 0", self.repetition_window)
        ratio = self.repetition_ratio
        _require(0 < ratio <= 1, "repetition_ratio in (0, 1]", ratio)
        _require(self.guidance >= 0, "guidance >= 0", self.guidance)
        kinds = ("exact", "bf16", "int8")
        _require(self.weights in kinds, f"weights of {kinds}", repr(self.weights))

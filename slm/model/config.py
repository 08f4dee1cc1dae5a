"""Configuration of a speech language model, stored beside its weights."""

from __future__ import annotations

import functools
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from codec.checks import above, all_finite, at_least, in_range, one_of, require
from codec.error_text import reason_of
from codec.files.reading import read_file
from slm.data.vocabulary import Vocabulary

_SIZES = ("dim", "num_layers", "num_heads", "num_kv_heads", "dim_head", "ff_mult", "max_seq_len")
# Least and most factor of durations.
DURATION_SCALES = (0.25, 4.0)
# Largest scale of classifier-free guidance.
MOST_GUIDANCE = 100
# Parameters with 8192 codes and 512 text pieces; a test counts them.
_PRESETS = {
    # 0.1 M beside the embeddings: tests and smoke runs.
    "tiny": (64, 2, 2, 0, 32, 8 / 3, 512),
    # 11 M: trains on two CPU cores.
    "mini": (256, 8, 4, 0, 64, 8 / 3, 1024),
    # 41 M.
    "small": (512, 10, 8, 0, 64, 8 / 3, 2048),
    # 98 M: one GPU.
    "base": (768, 12, 12, 0, 64, 8 / 3, 2048),
    # 345 M.
    "medium": (1024, 24, 16, 0, 64, 3.0, 2048),
    # 1.0 B, grouped key and value heads: several GPUs.
    "large": (2048, 20, 16, 8, 128, 2.75, 2048),
}


def check_temperature(name: str, value: float | None) -> None:
    """Raise `ValueError` for a temperature so near to 0 that it would overflow the logits."""
    warm = value is None or value == 0 or 1e-3 <= value <= 100
    require(warm, name, "0 or a number in [0.001, 100]", value)


@dataclass(frozen=True)
class SpeechLMConfig:
    """Sizes of a speech language model and the codec and text model it belongs to.

    Args:
        vocabulary: `Vocabulary.to_dict()`.
        codec_fingerprint: Of the codec whose codes it predicts.
        frame_rate: Codes a second, Hz.
        dim: Width of the residual stream.
        num_layers: Attention + feed-forward pairs.
        num_heads: Query heads.
        num_kv_heads: Key and value heads, a divisor of `num_heads`; 0 means `num_heads`.
        dim_head: Width of a head, even.
        ff_mult: Feed-forward width over `dim`, rounded up to a multiple of 32.
        dropout: On embeddings and each branch's output, in [0, 1).
        max_seq_len: Longest document in tokens.
        codes_per_character: Mean codes a text character; 0 when unknown. Generation bounds the
            length of speech with it.
        duration_spread: Standard deviation of the logarithm of codes a character; 0 when unknown.
        max_prompt_codes: Longest speaker prompt in training; synthesis uses no more of one.
        qk_norm: Root-mean-square norm of queries and keys, as in Qwen3.
        rotary_theta: Base of the rotary positions.
        rotary_scaling: Empty, or how Llama 3.1 stretches them: its `rope_type`, `factor`,
            `low_freq_factor`, `high_freq_factor` and `original_max_position_embeddings`.
        norm_eps: Added to the mean square in every norm; 0 for none.
        lookahead: Units of text that lie ahead of the speech in the aligned documents of phones
            that the model was trained on; 0 for a model of whole texts.
        code_dropout: Share of a document's codes that are masked in training, so that the model
            relies on the text; in [0, 1).
        code_table: Hidden units of the networks that make the codes' embeddings from the codec's
            vectors (slm/model/code_embeddings.py); 0 for embeddings of their own.
        codebook_dim: Numbers in such a vector; 0 without a code table.
        temperature: Default for synthesis of texts, as evaluated best. Continuations of recordings
            keep the general default: low temperatures lose the voice.
        top_p: The same.
        duration_temperature: Default for the durations of aligned speech; None draws them as the
            codes.
        duration_top_p: The same.
        guidance: Default guidance on the text, for synthesis of texts; see `GenerationSettings`.
        prompt_guidance: The same, on the prompt.
        duration_scale: Durations of aligned speech, as drawn, are multiplied by it, in
            `DURATION_SCALES`: set where they add up to less or more than people's.
        interleave_text: Text tokens of a turn of the interleaved documents that the model was
            trained on; 0 for none.
        interleave_codes: Codes of such a turn; 0 for none.
        transcribes: Whether the model was trained on transcriptions, text after its speech.

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
    duration_temperature: float | None = None
    duration_top_p: float | None = None
    guidance: float = 1.0
    prompt_guidance: float = 1.0
    duration_scale: float = 1.0
    interleave_text: int = 0
    interleave_codes: int = 0
    transcribes: bool = False

    def __post_init__(self) -> None:
        all_finite("", self)
        Vocabulary.from_dict(self.vocabulary)
        for name in ("dim", "num_layers", "num_heads", "max_seq_len", "max_prompt_codes"):
            at_least(name, getattr(self, name), 1)
        for name in ("codes_per_character", "duration_spread", "norm_eps", "lookahead"):
            at_least(name, getattr(self, name), 0)
        at_least("code_table", self.code_table, 0)
        for name in ("frame_rate", "ff_mult"):
            above(name, getattr(self, name), 0)
        above("rotary_theta", self.rotary_theta, 1)
        for name in ("dropout", "code_dropout"):
            in_range(name, getattr(self, name), 0, 1, ends="[)")
        even = self.dim_head >= 2 and self.dim_head % 2 == 0
        require(even, "dim_head", "an even number >= 2", self.dim_head)
        divides = self.num_kv_heads >= 0 and self.num_heads % self.kv_heads == 0
        require(divides, "num_kv_heads", f"a divisor of {self.num_heads}", self.num_kv_heads)
        require(self.codebook_dim >= 0, "codebook_dim", "a size >= 0", self.codebook_dim)
        has_vectors = not self.code_table or self.codebook_dim > 0
        require(has_vectors, "codebook_dim", "a size > 0 with a code_table", self.codebook_dim)
        check_temperature("temperature", self.temperature)
        check_temperature("duration_temperature", self.duration_temperature)
        in_range("top_p", self.top_p, 0, 1, ends="(]")
        if self.duration_top_p is not None:
            in_range("duration_top_p", self.duration_top_p, 0, 1, ends="(]")
        for name in ("guidance", "prompt_guidance"):
            in_range(name, getattr(self, name), 0, MOST_GUIDANCE)
        in_range("duration_scale", self.duration_scale, *DURATION_SCALES)
        turns = self.interleave_text, self.interleave_codes
        both = turns == (0, 0) or min(turns) >= 1
        require(both, "interleave_text, interleave_codes", "both 0 or both >= 1", turns)
        if self.rotary_scaling:
            one_of("rotary_scaling.rope_type", self.rotary_scaling.get("rope_type"), ("llama3",))

    @property
    def is_interleaved(self) -> bool:
        """True if the model was trained on text and speech that take turns."""
        return self.interleave_text > 0

    @property
    def is_aligned(self) -> bool:
        """True if the model was trained on aligned documents of phones."""
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
    def preset(cls, name: str, **overrides: Any) -> SpeechLMConfig:
        """One of the named sizes, with `vocabulary`, `codec_fingerprint`, `frame_rate` and more.

        Raises:
            ValueError: No preset of that name, or an override that is no field.
        """
        if name not in _PRESETS:
            raise ValueError(f"expected a preset of {sorted(_PRESETS)}, got {name!r}")
        unknown = set(overrides) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"expected fields of SpeechLMConfig, got {sorted(unknown)}")
        return cls(**{**dict(zip(_SIZES, _PRESETS[name], strict=True)), **overrides})

    def save(self, path: Path) -> None:
        """Write as YAML."""
        OmegaConf.save(OmegaConf.create(asdict(self)), path)

    @classmethod
    def load(cls, path: Path) -> SpeechLMConfig:
        """Read what `save` wrote.

        Raises:
            ValueError: A key is misspelt, missing or of a wrong type, or a check fails.
        """
        try:
            loaded = OmegaConf.to_object(_merged(read_file(path).decode()))
        except (
            *(OmegaConfBaseException, YAMLError, ValueError, TypeError, ArithmeticError),
            *(AttributeError, RecursionError),
            OSError,  # a number or a text in place of a mapping
        ) as error:
            raise ValueError(
                f"cannot read {path}: {' '.join(reason_of(error, path).split())}"
            ) from error
        assert isinstance(loaded, cls)
        return loaded


@functools.lru_cache(maxsize=64)
def _merged(text: str) -> Any:
    """The values of a config's YAML over the defaults; never changed, so given again."""
    values = OmegaConf.load(io.StringIO(text))
    # Resolved, a stored config would depend on the machine that reads it.
    if "${" in str(OmegaConf.to_container(values)):
        raise ValueError("expected values without ${...}")
    return OmegaConf.merge(_schema(), values)


@functools.cache
def _schema() -> DictConfig:
    """Types and defaults of `SpeechLMConfig`, built once: to be copied, never changed."""
    return OmegaConf.structured(SpeechLMConfig)

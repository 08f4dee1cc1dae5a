"""Configuration of a codec: dataclasses that round-trip through `config.yaml`, and presets."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from codec.error_text import reason_of
from codec.interface.fingerprint import FIRST_FIELDS, identifying_fields

from .part_configs import (
    GRIDS,
    CodecConfigError,
    DecoderConfig,
    EncoderConfig,
    MelConfig,
    QuantizerConfig,
    check_counts,
    check_finite,
    require_size,
)
from .voice_config import VoiceConfig

__all__ = [
    "BIGVGAN_MEL",
    "GRIDS",
    "PARTS",
    "PRESETS",
    "VOCODERS",
    "CodecConfig",
    "CodecConfigError",
    "DecoderConfig",
    "EncoderConfig",
    "MelConfig",
    "QuantizerConfig",
    "VocoderConfig",
    "VoiceConfig",
]

PARTS = ("mel", "encoder", "quantizer", "decoder", "vocoder")
# Fields that are configs; a fingerprint hashes the last one where there is a voice.
_NODES = (*PARTS, "voice")
VOCODERS = ("vocos", "harmonic", "bigvgan")
# Sample rate, n_fft, n_mels and filters of the mels that become a Whisper's input.
WHISPER_MEL = (24_000, 1024, 100, "htk")


def _check_plain(value: object, name: str = "") -> None:
    """Refuse `${...}`: resolved, a stored config would depend on the machine that reads it."""
    if isinstance(value, dict):
        for key, each in value.items():
            _check_plain(key, name)
            _check_plain(each, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            _check_plain(each, f"{name}[{index}]")
    elif isinstance(value, str):
        require_size("${" not in value, name, "a value without ${...}", value)


@dataclass(frozen=True)
class VocoderConfig:
    """Log-mel (B, M, F) to waveform.

    Attributes:
        dim: Width of the ConvNeXt backbone ("vocos", "harmonic").
        intermediate_dim: Hidden width of its blocks ("vocos", "harmonic").
        num_layers: Number of blocks ("vocos", "harmonic").
        kind: "vocos" (ConvNeXt at the mel rate and an inverse STFT), "harmonic" (the same
            backbone gives filters for a pulse train at the pitch that it reads off the mel, and
            for noise) or "bigvgan" (BigVGAN-v2: transposed and periodic convolutions up to the
            sample rate, about a hundred times the arithmetic).
        channels: Width before the first upsampling, halved by each ("bigvgan").
        ratios: Upsampling factors; their product is the mel's hop length ("bigvgan").
        kernels: Of the residual blocks after every upsampling ("bigvgan").
        pitch_dim: Width of the pitch network ("harmonic").
        pitch_layers: Its ConvNeXt blocks ("harmonic").
    """

    dim: int = 512
    intermediate_dim: int = 1536
    num_layers: int = 8
    kind: str = "vocos"
    channels: int = 1536
    ratios: tuple[int, ...] = (4, 4, 2, 2, 2, 2)
    kernels: tuple[int, ...] = (3, 7, 11)
    pitch_dim: int = 128
    pitch_layers: int = 3

    def __post_init__(self) -> None:
        check_finite("vocoder", self)
        check_counts("vocoder", self, dim=1, intermediate_dim=1, num_layers=0, channels=1)
        check_counts("vocoder", self, pitch_dim=1, pitch_layers=0)
        for name in ("ratios", "kernels"):
            sizes = getattr(self, name)
            fits = bool(sizes) and min(sizes) > 0
            require_size(fits, f"vocoder.{name}", "whole numbers > 0", sizes)
        kind, halvings = self.kind, 2 ** len(self.ratios)
        require_size(kind in VOCODERS, "vocoder.kind", f"one of {', '.join(VOCODERS)}", kind)
        fits = kind != "bigvgan" or self.channels % halvings == 0
        require_size(fits, "vocoder.channels", f"a multiple of {halvings}", self.channels)

    def check_mel(self, mel: MelConfig) -> None:
        """Refuse a mel convention for which this vocoder cannot be built.

        Raises:
            CodecConfigError: Names the field, what was expected and what was given.
        """
        fits = self.kind != "bigvgan" or math.prod(self.ratios) == mel.hop_length
        require_size(fits, "vocoder.ratios", f"product {mel.hop_length}", self.ratios)
        fits = self.kind == "vocos" or mel.padding == "same"
        require_size(fits, "mel.padding", f"same for {self.kind}", mel.padding)


@dataclass(frozen=True)
class CodecConfig:
    """A whole codec.

    Attributes:
        name: Preset or model name, for people.
        hop_length: Samples per code.
        loudness_dbfs: `encode` scales every clip to this RMS level (dB relative to full scale),
            so that codes do not spend bits on recording level; None leaves clips as they are.
        voice: Tokens of a whole recording beside its codes; none by default.
    """

    name: str = "hh_24khz"
    hop_length: int = 1024
    loudness_dbfs: float | None = None
    mel: MelConfig = field(default_factory=MelConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    vocoder: VocoderConfig = field(default_factory=VocoderConfig)
    voice: VoiceConfig = field(default_factory=VoiceConfig)

    def __post_init__(self) -> None:
        self.vocoder.check_mel(self.mel)
        fits = self.voice.tokens == 0 or self.decoder.num_layers > 0
        layers = self.decoder.num_layers
        require_size(fits, "decoder.num_layers", "1 or more to be modulated by a voice", layers)
        hop, ratios, mel_hop = self.hop_length, self.encoder.ratios, self.mel.hop_length
        require_size(all(ratio > 0 for ratio in ratios), "encoder.ratios", "factors > 0", ratios)
        require_size(math.prod(ratios) == hop, "encoder.ratios", f"product {hop}", ratios)
        mel = self.mel
        got = (mel.sample_rate, mel.n_fft, mel.n_mels, mel.filters)
        expected = f"0 but for mels of {WHISPER_MEL} (sample rate, n_fft, n_mels, filters)"
        fits = self.encoder.speech_layers == 0 or got == WHISPER_MEL
        require_size(fits, "encoder.speech_layers", expected, got)
        level = self.loudness_dbfs
        # Beyond it, gains would leave what float32 holds.
        fits = level is None or abs(level) <= 120
        require_size(fits, "loudness_dbfs", "a level in [-120, 120] dBFS", level)
        require_size(hop % mel_hop == 0, "mel.hop_length", f"a divisor of {hop}", mel_hop)

    @property
    def upsampling(self) -> int:
        """Mel frames per code."""
        return self.hop_length // self.mel.hop_length

    @property
    def fingerprint_values(self) -> dict[str, Any]:
        """The fields that a codec's fingerprint hashes: see FIRST_FIELDS."""
        parts = {
            name: identifying_fields(getattr(self, name), FIRST_FIELDS[name]) for name in PARTS
        }
        if self.voice.tokens:  # fields added later count where they differ from their defaults
            parts["voice"] = identifying_fields(self.voice, "tokens levels dim entropy")
        return {**identifying_fields(self, FIRST_FIELDS[""], without=_NODES), **parts}

    def to_dict(self) -> dict[str, Any]:
        """Nested plain containers, ready for YAML or JSON."""
        return json.loads(json.dumps(asdict(self)))  # tuples become lists

    def save(self, path: Path) -> None:
        """Write the config as YAML."""
        text = OmegaConf.to_yaml(OmegaConf.create(self.to_dict()))
        path.write_text(text, encoding="utf-8", newline="\n")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CodecConfig:
        """Build from nested containers.

        Raises:
            CodecConfigError: For an unknown key, a wrong type or parts that do not fit.
        """
        _check_plain(values)
        try:
            return _built(json.dumps(values))
        except OmegaConfBaseException as error:
            what = str(error).splitlines()[0]
            raise CodecConfigError(f"codec config {error.full_key or ''}: {what}") from error
        except (TypeError, ArithmeticError, AttributeError, RecursionError) as error:
            raise CodecConfigError(
                f"codec config: expected sizes that fit together ({error})"
            ) from error

    @classmethod
    def load(cls, path: Path) -> CodecConfig:
        """Read `save`'s YAML.

        Raises:
            CodecConfigError: When the file is missing or does not describe a codec.
        """
        if not path.is_file():
            raise CodecConfigError(f"no codec config at {path}: expected a model folder")
        try:
            values = OmegaConf.to_container(OmegaConf.load(path))
        except (
            *(OmegaConfBaseException, YAMLError, ValueError, TypeError, RecursionError),
            OSError,  # a number or a text in place of a mapping
        ) as error:
            reason = " ".join(reason_of(error, path).split())
            raise CodecConfigError(f"{path}: expected YAML that can be read; {reason}") from error
        if not isinstance(values, dict):
            raise CodecConfigError(f"{path}: expected a mapping, got {type(values).__name__}")
        return cls.from_dict(values)  # type: ignore[arg-type]

    @classmethod
    def preset(cls, name: str) -> CodecConfig:
        """A built-in size.

        "hh_24khz" is the paper's with Vocos, "hh_24khz_bigvgan" with the paper's own vocoder,
        "mini" is for a CPU, "tiny" for tests. All bring clips to the level that corpora are
        prepared at.

        Raises:
            CodecConfigError: For another name.
        """
        require_size(name in PRESETS, "preset", f"one of {list(PRESETS)}", name)
        return PRESETS[name]


@functools.lru_cache(maxsize=64)
def _built(values: str) -> CodecConfig:
    """The config of JSON; one that was built before is given again, as nothing changes it."""
    return OmegaConf.to_object(OmegaConf.merge(_schema(), json.loads(values)))  # type: ignore


@functools.cache
def _schema() -> DictConfig:
    """Types and defaults of `CodecConfig`: a misspelt key or a wrong type is an error in merging.

    Built once, as that takes most of the time of reading a config: to be copied, never changed.
    """
    schema = OmegaConf.structured(CodecConfig)
    for node in (schema, *(schema[name] for name in _NODES)):
        OmegaConf.set_readonly(node, False)  # frozen dataclasses make read-only nodes
    return schema


# What recipes bring every corpus to: recordings to encode, such as the prompts of a language model,
# come at the level of those that a codec was trained on.
_LEVEL = -23.0

# A floor of ln 0.01: below it speech has only noise, which costs bits.
_SPEECH_MEL = MelConfig(floor=1e-2, padding="same")

_MINI = CodecConfig(
    name="mini",
    loudness_dbfs=_LEVEL,
    mel=_SPEECH_MEL,
    encoder=EncoderConfig(
        kind="mel", channels=160, dim=256, num_mel_blocks=2, num_blocks=4, num_lstm_layers=0
    ),
    quantizer=QuantizerConfig(dim=32, hidden_dim=512),
    decoder=DecoderConfig(dim=256, num_layers=6, dropout=0.0, num_refine_layers=3, refine_dim=160),
    vocoder=VocoderConfig(dim=256, intermediate_dim=768, num_layers=6),
)

# What nvidia/bigvgan_v2_24khz_100band_256x was trained on.
BIGVGAN_MEL = MelConfig(floor=1e-5, padding="same", filters="slaney", power_offset=1e-9)

# The built-in sizes.
PRESETS: dict[str, CodecConfig] = {
    "hh_24khz": CodecConfig(loudness_dbfs=_LEVEL, mel=MelConfig(padding="center")),
    "hh_24khz_bigvgan": CodecConfig(
        name="hh_24khz_bigvgan",
        loudness_dbfs=_LEVEL,
        mel=BIGVGAN_MEL,
        vocoder=VocoderConfig(kind="bigvgan"),
    ),
    "mini": _MINI,
    "tiny": replace(
        _MINI,
        name="tiny",
        encoder=replace(_MINI.encoder, channels=32, dim=64, num_mel_blocks=1, num_blocks=1),
        quantizer=QuantizerConfig(codebook_size=64, dim=8, hidden_dim=16),
        decoder=replace(_MINI.decoder, dim=64, num_layers=1, num_refine_layers=1, refine_dim=32),
        vocoder=VocoderConfig(dim=32, intermediate_dim=64, num_layers=1),
    ),
}

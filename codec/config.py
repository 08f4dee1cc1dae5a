"""What a codec is made of, as plain dataclasses that round-trip through `config.yaml`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

PARTS = ("mel", "encoder", "quantizer", "decoder", "vocoder")


class CodecConfigError(ValueError):
    """A codec configuration that cannot be built; the message names the field."""


@dataclass(frozen=True)
class MelConfig:
    """The log-mel convention that decoder and vocoder share.

    Attributes:
        sample_rate: samples per second, Hz.
        n_fft: transform and window length, samples.
        hop_length: samples per mel frame.
        n_mels: mel bands (HTK scale, no area normalisation, 0 Hz to half the sample rate).
        floor: magnitudes are clamped to at least this before the natural logarithm.
        padding: "same" gives T / hop frames centred between samples, "center" gives
            T / hop + 1 frames centred on samples (the convention of published Vocos weights).
    """

    sample_rate: int = 24_000
    n_fft: int = 1024
    hop_length: int = 256
    n_mels: int = 100
    floor: float = 1e-7
    padding: str = "same"

    @property
    def fingerprint(self) -> str:
        """Hex digest of the convention: two parts may meet only when theirs are equal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class EncoderConfig:
    """Waveform (B, T) to latents (B, D, L).

    Attributes:
        kind: "seanet" (strided convolutions on samples and a BiLSTM, the paper's encoder) or
            "mel" (ConvNeXt on the log-mel of the waveform: a fixed filter bank in place of the
            full-rate convolutions that dominate the cost of training on a CPU).
        ratios: downsampling factors in the order they are applied ("seanet"); their product is
            the codec's hop length.
        channels: width after the first convolution ("seanet") or at the mel rate ("mel").
        dim: width at the code rate ("mel").
        num_lstm_layers: bidirectional LSTM layers ("seanet").
        num_mel_blocks: ConvNeXt blocks at the mel rate ("mel").
        num_blocks: ConvNeXt blocks at the code rate ("mel").
    """

    kind: str = "seanet"
    ratios: tuple[int, ...] = (4, 4, 8, 8)
    channels: int = 32
    dim: int = 512
    num_lstm_layers: int = 2
    num_mel_blocks: int = 3
    num_blocks: int = 6


@dataclass(frozen=True)
class QuantizerConfig:
    """SLM-VQ: a frozen codebook behind a learnt transform, and a second stage that only trains.

    Attributes:
        codebook_size: entries of a codebook.
        dim: width D of latents and codebook entries.
        hidden_dim: width of the codebook transform's hidden layer; at least 2 * dim, so that the
            transform can start at the identity.
        num_stages: residual stages in training; only the first is coded.
        shared_transform: whether the stages share one transform.
        commitment: weight of the latents' share in the loss, against 1 for the codebook's.
        normalize_latents: standardise every latent channel by running statistics, which are
            frozen when the codebook is filled from data.
    """

    codebook_size: int = 8192
    dim: int = 512
    hidden_dim: int = 1024
    num_stages: int = 2
    shared_transform: bool = False
    commitment: float = 0.25
    normalize_latents: bool = True


@dataclass(frozen=True)
class DecoderConfig:
    """Quantized latents (B, D, L) to log-mel (B, M, 4L).

    Attributes:
        dim: width of the backbone at the code rate.
        num_layers: ConvNeXt blocks at the code rate.
        mlp_ratio: hidden width of a ConvNeXt block over its width.
        dropout: dropout of the residual convolution blocks.
        num_refine_layers: ConvNeXt blocks at the mel rate after the upsampling (0: none).
        refine_dim: their width.
    """

    dim: int = 768
    num_layers: int = 12
    mlp_ratio: int = 3
    dropout: float = 0.1
    num_refine_layers: int = 0
    refine_dim: int = 192


@dataclass(frozen=True)
class VocoderConfig:
    """Vocos: log-mel (B, M, F) to waveform.

    Attributes:
        dim: width of the ConvNeXt backbone.
        intermediate_dim: hidden width of its blocks.
        num_layers: number of blocks.
    """

    dim: int = 512
    intermediate_dim: int = 1536
    num_layers: int = 8


@dataclass(frozen=True)
class CodecConfig:
    """A whole codec.

    Attributes:
        name: preset or model name, for people.
        hop_length: samples per code.
        loudness_dbfs: `encode` scales every clip to this RMS level (dB relative to full scale),
            so that codes do not spend bits on recording level; None leaves clips as they are.
    """

    name: str = "hh_24khz"
    hop_length: int = 1024
    loudness_dbfs: float | None = None
    mel: MelConfig = field(default_factory=MelConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    vocoder: VocoderConfig = field(default_factory=VocoderConfig)

    @property
    def upsampling(self) -> int:
        """Mel frames per code."""
        return self.hop_length // self.mel.hop_length

    def check(self) -> CodecConfig:
        """Return self when the parts fit together.

        Raises:
            CodecConfigError: naming the field, what was expected and what came.
        """
        product = 1
        for ratio in self.encoder.ratios:
            product *= ratio
        checks = [
            (self.encoder.kind in ("seanet", "mel"), "encoder.kind", "seanet or mel"),
            (product == self.hop_length, "encoder.ratios", f"product {self.hop_length}"),
            (self.hop_length % self.mel.hop_length == 0, "mel.hop_length", "a divisor of the hop"),
            (self.mel.padding in ("same", "center"), "mel.padding", "same or center"),
            (self.mel.floor > 0, "mel.floor", "a positive number"),
            (2 <= self.quantizer.codebook_size <= 65536, "quantizer.codebook_size", "2..65536"),
            (
                self.quantizer.hidden_dim >= 2 * self.quantizer.dim,
                "quantizer.hidden_dim",
                f"at least {2 * self.quantizer.dim}",
            ),
            (1 <= self.quantizer.num_stages <= 2, "quantizer.num_stages", "1 or 2"),
        ]
        for passed, name, expected in checks:
            if not passed:
                value: Any = self
                for part in name.split("."):
                    value = getattr(value, part)
                raise CodecConfigError(f"codec config {name}: expected {expected}, got {value!r}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Nested plain containers, ready for YAML or JSON."""
        return json.loads(json.dumps(asdict(self)))

    def save(self, path: Path) -> None:
        """Write the config as YAML."""
        path.write_text(OmegaConf.to_yaml(OmegaConf.create(self.to_dict())), encoding="utf-8")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CodecConfig:
        """Build from nested containers.

        Raises:
            CodecConfigError: for an unknown key, a wrong type or parts that do not fit.
        """
        schema = OmegaConf.structured(cls)
        for node in (schema, *(schema[name] for name in PARTS)):
            OmegaConf.set_readonly(node, False)  # frozen dataclasses make read-only nodes
        try:
            return OmegaConf.to_object(OmegaConf.merge(schema, values)).check()  # type: ignore
        except OmegaConfBaseException as error:
            what = str(error).splitlines()[0]
            raise CodecConfigError(f"codec config {error.full_key or ''}: {what}") from error

    @classmethod
    def load(cls, path: Path) -> CodecConfig:
        """Read `save`'s YAML.

        Raises:
            CodecConfigError: when the file is missing or does not describe a codec.
        """
        if not path.is_file():
            raise CodecConfigError(f"no codec config at {path}: expected a model folder")
        return cls.from_dict(OmegaConf.to_container(OmegaConf.load(path)))  # type: ignore[arg-type]

    @classmethod
    def preset(cls, name: str) -> CodecConfig:
        """One of the built-in sizes: "hh_24khz" (the paper's), "mini" (CPU), "tiny" (tests).

        Raises:
            CodecConfigError: for another name.
        """
        if name not in PRESETS:
            raise CodecConfigError(
                f"unknown codec preset {name!r}: expected one of {list(PRESETS)}"
            )
        return PRESETS[name].check()


_SPEECH_MEL = MelConfig(floor=1e-2, padding="same")

_MINI = CodecConfig(
    name="mini",
    loudness_dbfs=-23.0,
    mel=_SPEECH_MEL,
    encoder=EncoderConfig(
        kind="mel", channels=160, dim=256, num_mel_blocks=2, num_blocks=4, num_lstm_layers=0
    ),
    quantizer=QuantizerConfig(dim=32, hidden_dim=512),
    decoder=DecoderConfig(dim=256, num_layers=6, dropout=0.0, num_refine_layers=3, refine_dim=160),
    vocoder=VocoderConfig(dim=256, intermediate_dim=768, num_layers=6),
)

PRESETS: dict[str, CodecConfig] = {
    "hh_24khz": CodecConfig(mel=MelConfig(padding="center")),
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

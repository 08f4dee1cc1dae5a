"""Configuration of the parts of a codec before its vocoder: mel, encoder, quantizer, decoder."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from codec.checks import all_finite, count, in_range, require
from codec.interface.fingerprint import FIRST_FIELDS, identifying_fields

# Quantizers whose codes are cells.
GRIDS = ("fsq", "bsq")


class CodecConfigError(ValueError):
    """A codec configuration that cannot be built; the message names the field."""


def require_size(holds: bool, name: str, expected: str, got: object) -> None:
    """Refuse a value of the field `name` of a codec's config.

    Raises:
        CodecConfigError: `codec config NAME: expected EXPECTED, got GOT`.
    """
    require(holds, f"codec config {name}", expected, got, error=CodecConfigError)


def check_finite(part: str, sizes: object) -> None:
    """Refuse NaN and infinity in the config of a part."""
    all_finite(f"codec config {part}", sizes, error=CodecConfigError)


def check_counts(part: str, sizes: object, **least: int) -> None:
    """Refuse what is no whole number of at least so many in the config of a part, by field."""
    for name, fewest in least.items():
        field = f"codec config {part}.{name}"
        count(field, getattr(sizes, name), fewest, error=CodecConfigError)


def _check_attention(part: str, size: Any, width: int) -> None:
    """Refuse blocks of attention whose heads do not fit the width of an encoder or decoder."""
    layers, heads, window = size.attention_layers, size.attention_heads, size.attention_window
    require_size(layers >= 0, f"{part}.attention_layers", "0 or more", layers)
    require_size(window >= 0, f"{part}.attention_window", "0 or more", window)
    fits = layers == 0 or (heads > 0 and width % (2 * heads) == 0)
    require_size(fits, f"{part}.attention_heads", f"heads of an even share of {width}", heads)


@dataclass(frozen=True)
class MelConfig:
    """The log-mel convention that decoder and vocoder share.

    Attributes:
        sample_rate: Samples per second, Hz.
        n_fft: Transform and window length, samples.
        hop_length: Samples per mel frame.
        n_mels: Mel bands, 0 Hz to half the sample rate.
        floor: Magnitudes are clamped to at least this before the natural logarithm.
        padding: "same" gives T / hop frames centred between samples, "center" gives
            T / hop + 1 frames centred on samples (the convention of published Vocos weights).
        filters: "htk" (HTK scale, filters of peak 1) or "slaney" (Slaney's scale, filters of
            area 1 / Hz; the convention of BigVGAN).
        power_offset: Added to the squared magnitude under the square root.
    """

    sample_rate: int = 24_000
    n_fft: int = 1024
    hop_length: int = 256
    n_mels: int = 100
    floor: float = 1e-7
    padding: str = "same"
    filters: str = "htk"
    power_offset: float = 0.0

    def __post_init__(self) -> None:
        check_finite("mel", self)
        padding, filters = self.padding, self.filters
        require_size(padding in ("same", "center"), "mel.padding", "same or center", padding)
        require_size(self.floor > 0, "mel.floor", "a positive number", self.floor)
        require_size(filters in ("htk", "slaney"), "mel.filters", "htk or slaney", filters)
        require_size(self.power_offset >= 0, "mel.power_offset", "zero or more", self.power_offset)
        # No weights have these sizes, so that a file of them bounds none.
        bounds = {"sample_rate": 768_000, "n_fft": 65_536, "hop_length": self.n_fft, "n_mels": 4096}
        for name, most in bounds.items():
            size = getattr(self, name)
            require_size(1 <= size <= most, f"mel.{name}", f"1..{most}", size)

    @property
    def fingerprint(self) -> str:
        """Hex digest of the convention: two parts may meet only when theirs are equal."""
        values = identifying_fields(self, FIRST_FIELDS["mel"])
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class EncoderConfig:
    """Waveform (B, T) to latents (B, D, L).

    Attributes:
        kind: "seanet" (strided convolutions on samples and a BiLSTM, the paper's encoder) or
            "mel" (ConvNeXt on the log-mel of the waveform: a fixed filter bank in place of the
            full-rate convolutions that dominate the cost of training on a CPU).
        ratios: Downsampling factors in the order they are applied ("seanet"); their product is
            the codec's hop length.
        channels: Width after the first convolution ("seanet") or at the mel rate ("mel").
        dim: Width at the code rate ("mel").
        num_lstm_layers: Bidirectional LSTM layers ("seanet").
        num_mel_blocks: ConvNeXt blocks at the mel rate ("mel").
        num_blocks: ConvNeXt blocks at the code rate ("mel").
        speech_layers: Layers of a frozen Whisper encoder whose states enter at the code rate
            ("mel"); 0 for none. Its weights are part of the codec.
        speech_dim: Its width; 384 for Whisper tiny.
        speech_heads: Its attention heads; 6 for Whisper tiny.
        attention_layers: Transformer blocks with rotary positions at the code rate, behind the
            convolutions ("seanet": before the LSTM, of its width; "mel": behind all blocks).
        attention_heads: Their heads.
        attention_window: Codes that a code sees on either side in them; 0 for all.
    """

    kind: str = "seanet"
    ratios: tuple[int, ...] = (4, 4, 8, 8)
    channels: int = 32
    dim: int = 512
    num_lstm_layers: int = 2
    num_mel_blocks: int = 3
    num_blocks: int = 6
    speech_layers: int = 0
    speech_dim: int = 384
    speech_heads: int = 6
    attention_layers: int = 0
    attention_heads: int = 8
    attention_window: int = 0

    def __post_init__(self) -> None:
        check_finite("encoder", self)
        require_size(self.kind in ("seanet", "mel"), "encoder.kind", "seanet or mel", self.kind)
        if self.kind == "mel":
            # A block of attention normalises its channels in 32 groups.
            fits = self.dim > 0 and self.dim % 32 == 0
            require_size(fits, "encoder.dim", "a multiple of 32", self.dim)
            check_counts("encoder", self, channels=1, num_mel_blocks=0, num_blocks=0)
        else:
            # Its blocks work at half their width.
            fits = self.channels > 0 and self.channels % 2 == 0
            require_size(fits, "encoder.channels", "an even number >= 2", self.channels)
            check_counts("encoder", self, num_lstm_layers=1)
        self._check_speech()
        _check_attention("encoder", self, self.code_dim)

    def _check_speech(self) -> None:
        """Refuse a Whisper encoder that cannot be, or where none can enter."""
        layers, width, heads = self.speech_layers, self.speech_dim, self.speech_heads
        fits = layers == 0 or (layers > 0 and self.kind == "mel")
        require_size(fits, "encoder.speech_layers", "0, or a count for encoder.kind mel", layers)
        if layers:
            # Sines and cosines of its positions are half of the width each.
            fits = width >= 4 and width % 2 == 0
            require_size(fits, "encoder.speech_dim", "an even number >= 4", width)
            fits = heads > 0 and width % heads == 0
            require_size(fits, "encoder.speech_heads", f"a divisor of {width}", heads)

    @property
    def code_dim(self) -> int:
        """Width of the blocks at the code rate."""
        return self.dim if self.kind == "mel" else self.channels * 2 ** len(self.ratios)

    @property
    def state_dim(self) -> int:
        """Width of the states that latents are read off: of a BiLSTM those of both directions."""
        return self.code_dim if self.kind == "mel" else 2 * self.code_dim


@dataclass(frozen=True)
class QuantizerConfig:
    """SLM-VQ: a frozen codebook behind a learnt transform, and a second stage that only trains.

    Attributes:
        codebook_size: Entries of a codebook.
        dim: Width D of latents and codebook entries.
        hidden_dim: Width of the hidden layer of an "mlp" transform; at least 2 * dim, so that the
            transform can start at the identity.
        num_stages: Residual stages in training; only the first is coded.
        shared_transform: Whether the stages share one transform.
        commitment: Weight of the latents' share in the loss, against 1 for the codebook's.
        normalize_latents: Standardise every latent channel: by the statistics of the batch while
            the encoder trains, else by those that are stored.
        kind: "simvq"; "ema" for classic vector quantisation, whose entries are moving averages of
            latents; "fsq", a grid of `levels` behind a linear map; or "bsq", the corners of a
            sphere behind one. The last two have one stage and no learnt entries.
        transform: Of a "simvq" codebook: "mlp" (linear, ReLU, linear), "linear", or "none",
            which leaves the codebook as it was filled.
        ema_decay: Of the averages of "ema", a training step.
        ema_dead_share: An entry of "ema" whose averaged count falls below this share of an even
            one is moved onto a latent; 0 leaves dead entries where they are.
        levels: Of each channel of an "fsq", the most first; their product is the codebook's size.
        entropy: Weight, in the loss of "fsq" and "bsq", of the entropy of each frame's choice of
            levels less that of the mean choice; 0 leaves it out.
    """

    codebook_size: int = 8192
    dim: int = 512
    hidden_dim: int = 1024
    num_stages: int = 2
    shared_transform: bool = False
    commitment: float = 0.25
    normalize_latents: bool = True
    kind: str = "simvq"
    transform: str = "mlp"
    ema_decay: float = 0.99
    ema_dead_share: float = 0.1
    levels: tuple[int, ...] = (8, 8, 8, 4, 4)
    entropy: float = 0.0

    def __post_init__(self) -> None:
        check_finite("quantizer", self)
        check_counts("quantizer", self, dim=1)
        size, least, transform = self.codebook_size, 2 * self.dim, self.transform
        require_size(2 <= size <= 65536, "quantizer.codebook_size", "2..65536", size)
        fits = transform != "mlp" or self.hidden_dim >= least or self.kind in GRIDS
        require_size(fits, "quantizer.hidden_dim", f"at least {least}", self.hidden_dim)
        require_size(1 <= self.num_stages <= 2, "quantizer.num_stages", "1 or 2", self.num_stages)
        kinds = ("simvq", "ema", *GRIDS)
        require_size(self.kind in kinds, "quantizer.kind", f"one of {', '.join(kinds)}", self.kind)
        known = transform in ("mlp", "linear", "none")
        require_size(known, "quantizer.transform", "mlp, linear or none", transform)
        decay = self.ema_decay
        require_size(0 <= decay < 1, "quantizer.ema_decay", "a number in [0, 1)", decay)
        for name in ("entropy", "commitment", "ema_dead_share"):
            number = getattr(self, name)
            require_size(number >= 0, f"quantizer.{name}", "0 or more", number)
        if self.kind in GRIDS:
            self._check_grid()

    def _check_grid(self) -> None:
        """Refuse a grid whose cells are not the codes."""
        size, levels, stages = self.codebook_size, self.levels, self.num_stages
        require_size(stages == 1, "quantizer.num_stages", f"1 for {self.kind}", stages)
        fits = min(levels, default=0) >= 2 and math.prod(levels) == size
        require_size(fits or self.kind != "fsq", "quantizer.levels", f"product {size}", levels)
        fits = size & (size - 1) == 0 or self.kind != "bsq"
        require_size(fits, "quantizer.codebook_size", "a power of two for bsq", size)
        least = len(self.grid)
        require_size(self.dim >= least, "quantizer.dim", f"at least {least}", self.dim)

    @property
    def grid(self) -> tuple[int, ...]:
        """Levels of every channel of a quantizer of cells."""
        bits = (self.codebook_size - 1).bit_length()
        return (2,) * bits if self.kind == "bsq" else tuple(self.levels)


@dataclass(frozen=True)
class DecoderConfig:
    """Quantized latents (B, D, L) to log-mel (B, M, 4L).

    Attributes:
        dim: Width of the backbone at the code rate.
        num_layers: ConvNeXt blocks at the code rate.
        mlp_ratio: Hidden width of a ConvNeXt block over its width.
        dropout: Dropout of the residual convolution blocks.
        num_refine_layers: ConvNeXt blocks at the mel rate after the upsampling (0: none).
        refine_dim: Their width.
        attention_layers: Transformer blocks with rotary positions at the code rate, behind the
            ConvNeXt blocks.
        attention_heads: Their heads.
        attention_window: Codes that a code sees on either side in them; 0 for all.
    """

    dim: int = 768
    num_layers: int = 12
    mlp_ratio: int = 3
    dropout: float = 0.1
    num_refine_layers: int = 0
    refine_dim: int = 192
    attention_layers: int = 0
    attention_heads: int = 8
    attention_window: int = 0

    def __post_init__(self) -> None:
        check_finite("decoder", self)
        # Its residual blocks normalise channels in 32 groups.
        fits = self.dim > 0 and self.dim % 32 == 0
        require_size(fits, "decoder.dim", "a multiple of 32", self.dim)
        check_counts("decoder", self, num_layers=0, mlp_ratio=1, num_refine_layers=0)
        if self.num_refine_layers:
            check_counts("decoder", self, refine_dim=1)
        field = "codec config decoder.dropout"
        in_range(field, self.dropout, 0, 1, ends="[)", error=CodecConfigError)
        _check_attention("decoder", self, self.dim)

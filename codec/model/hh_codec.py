"""HHCodec: 24 kHz speech to one stream of 23.4 codes a second, and back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from codec.activity import SILENT_DBFS, Level, measure_level, silence_weights, speech_frames
from codec.devices import exact_float32
from codec.files import whole_file
from codec.weights import bounded_build, check_finite

from .config import CodecConfig, CodecConfigError
from .decoder import MelDecoder
from .encoder import build_encoder
from .fingerprint import CODES, SAME_CODES, CodecFingerprint
from .mel import band_weights
from .pretrained import find_model
from .quantizer import SLMVQ
from .vocoder import Vocoder
from .weight_norm import remove_weight_norm, weight_normed

FILES = CONFIG, WEIGHTS = "config.yaml", "model.safetensors"
# The second stage's names for a transform that it shares with the first.
SHARED_COPY = "quantizer.stages.1.code_transform."
# Share of silence in what is decoded up to which the decoder counts all frames alike.
DECODED_SILENCE = 0.3


_INTEGERS = (
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)


@contextmanager
def _inference(codec: nn.Module, device: torch.device | None = None) -> Iterator[None]:
    """Run a codec in eval mode, without gradients, and on a given device in float32 itself."""
    full_precision = exact = nullcontext()
    if device is not None:
        exact = exact_float32(device)
        if torch.amp.is_autocast_available(device.type):
            full_precision = torch.autocast(device.type, enabled=False)
    training = [module for module in codec.modules() if module.training]
    if training:
        codec.eval()
    try:
        with torch.no_grad(), full_precision, exact:
            yield
    finally:
        for module in training:  # parts may be in different modes, and stay so
            module.training = True


class HHCodec(nn.Module):
    """HH-Codec (https://arxiv.org/abs/2507.18897) with a Vocos, harmonic or BigVGAN vocoder.

    waveform (B, T) -> encoder -> latents (B, D, L) -> quantizer -> codes (B, L)
    -> decoder -> log-mel (B, M, 4L) -> vocoder -> waveform (B, T); L = ceil(T / hop_length).

    In eval mode the effective codebook and the fingerprints are computed once and kept: whoever
    then writes into weights calls `weights_changed`. Loading a state dict, moving or converting the
    codec and switching its mode do that by themselves.

    Args:
        config: Sizes of every part.
    """

    num_codebooks = 1

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)  # (B, T) to (B, D, L)
        self.quantizer = SLMVQ(config.quantizer)  # (B, D, L) to (B, L) and back
        self.decoder = MelDecoder(config)  # (B, D, L) to (B, M, 4L)
        self.vocoder = Vocoder(config.mel, config.vocoder)  # (B, M, 4L) to (B, T)
        self._is_folded = False  # weight norm was there and was removed
        self._fingerprint: CodecFingerprint | None = None
        # further names of codes, by the code fingerprint that they stand for
        self._aliases: dict[str, tuple[str, ...]] = {}

    @property
    def sample_rate(self) -> int:
        """Samples per second, Hz."""
        return self.config.mel.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per code."""
        return self.config.hop_length

    @property
    def frame_rate(self) -> float:
        """Codes per second, Hz."""
        return self.sample_rate / self.hop_length

    @property
    def codebook_size(self) -> int:
        """Number of different codes."""
        return self.config.quantizer.codebook_size

    @property
    def codebook(self) -> Tensor:
        """(codebook_size, D) vectors of the codes; near each other where the sounds are alike."""
        return self.quantizer.codebook.detach()

    @property
    def bitrate(self) -> float:
        """Bits per second of the fixed-width code stream."""
        return self.frame_rate * (self.codebook_size - 1).bit_length()

    @property
    def fingerprint(self) -> str:
        """16 hex digits of config and weights: decoded audio belongs to exactly one codec.

        The weights are those with weight norm, as they are stored. Config fields newer than the
        first release count where they differ from their default (`codec/model/fingerprint.py`).
        """
        return self._fingerprints().whole

    @property
    def code_fingerprint(self) -> str:
        """16 hex digits of what decides on the codes: encoder, quantizer and their config.

        Tokens belong to it: codecs that share it give the same codes bit for bit, however they
        differ in decoder and vocoder.
        """
        return self._fingerprints().codes

    @property
    def code_fingerprints(self) -> tuple[str, ...]:
        """Every name under which codes of this codec may have been stored.

        They are `code_fingerprint`; `fingerprint`, which the oldest stores and language models
        hold; and the names of the codecs that were given to `keep_codes_of`.
        """
        now = self._fingerprints()
        return tuple(dict.fromkeys((now.codes, now.whole, *self._aliases.get(now.codes, ()))))

    def keep_codes_of(self, earlier: HHCodec) -> None:
        """Accept tokens that were stored by an earlier codec with the same codes.

        For a codec that got another decoder or vocoder. The names are saved with the weights, and
        hold as long as encoder and quantizer stay as they are.

        Raises:
            ValueError: Encoder, quantizer or their config differ.
        """
        if self.code_fingerprint != earlier.code_fingerprint:
            raise ValueError(
                f"expected a codec of the same encoder and quantizer ({self.code_fingerprint}), "
                f"got {earlier.code_fingerprint}, whose codes are others"
            )
        now, names = self._fingerprints(), (*self.code_fingerprints, *earlier.code_fingerprints)
        self._aliases = {now.codes: tuple(n for n in dict.fromkeys(names) if n not in now)}

    def _fingerprints(self) -> CodecFingerprint:
        """The fingerprints, which a codec in training computes at every call."""
        if self._fingerprint is not None:
            return self._fingerprint
        found = CodecFingerprint.of(self.config.fingerprint_values, self.state_dict())
        if not self.training:
            self._fingerprint = found
        return found

    def weights_changed(self) -> None:
        """Drop what was computed from the weights."""
        self.quantizer.clear_cache()
        if not self._is_folded:  # whose fingerprints are those of the weights before
            self._fingerprint = None

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.weights_changed()
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> HHCodec:
        """Move or convert the weights."""
        self.weights_changed()
        return super()._apply(*args, **kwargs)

    def remove_weight_norm(self) -> HHCodec:
        """Remove weight norm for inference, and return self in eval mode.

        Codes, waveforms and fingerprints stay the same. A codec that had weight norm can then
        neither train nor be saved.
        """
        self.eval()
        if weight_normed(self):
            self._fingerprints()  # kept from here on: they are of the weights with weight norm
            remove_weight_norm(self)
            self._is_folded = True
        return self

    def train(self, mode: bool = True) -> HHCodec:
        """Switch mode.

        Raises:
            ValueError: Training without the weight norm that the codec had.
        """
        if mode:
            self._check_not_folded("trained")
        self.weights_changed()
        return super().train(mode)

    def replace_vocoder(self, vocoder: Vocoder) -> None:
        """Take another vocoder of the same mel convention, such as published weights.

        Codes and their fingerprint stay as they are; `fingerprint`, which covers decoding too,
        changes.

        Raises:
            ValueError: It expects mels of another convention, or one of the two is folded.
        """
        vocoder.check_mel(self.config.mel)
        self._check_not_folded("given another vocoder")
        if vocoder.is_folded:
            raise ValueError("expected a vocoder with weight norm: load it with fold=False")
        self.config = replace(self.config, vocoder=vocoder.config)
        self.vocoder = vocoder
        self.weights_changed()

    def _check_not_folded(self, what: str) -> None:
        if self._is_folded:
            raise ValueError(f"a folded codec cannot be {what}: load it with fold=False")

    def encode(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Waveforms to codes; a clip's codes do not depend on its batch mates or padding.

        Clips with the same number of codes are computed together and nothing is padded beyond
        a clip's own last code; on a CPU, where batches gain nothing, every clip is computed
        alone, so that its codes are the same bit for bit in any batch. A clip is encoded whole
        however long it is; recordings beyond 43.7 s go through `encode_clip` or
        `encode_stream` of `codec.streaming.long_form`, as on the command line, which bound the
        memory and, up to there, give the same codes.

        Args:
            waveform: (B, T) float in [-1, 1] at `sample_rate`.
            lengths: (B,) int64 valid samples of each clip; None means T.

        Returns:
            Codes (B, L) int64, L = ceil(max(lengths) / hop_length), zero past a clip's end, and
            code_lengths (B,) int64, ceil(lengths / hop_length).

        Raises:
            ValueError: Wrong shape, lengths outside 1..T, or samples that are not finite.
        """
        lengths = self._check_waveform(waveform, lengths)
        code_lengths = -(-lengths // self.hop_length)
        codes = torch.zeros(
            len(waveform), int(code_lengths.max()), dtype=torch.int64, device=waveform.device
        )
        with _inference(self, waveform.device):
            for rows in self._groups(code_lengths, waveform.device):
                frames = int(code_lengths[rows[0]])
                clips = waveform.new_zeros(len(rows), frames * self.hop_length)
                for clip, row in zip(clips, rows, strict=True):
                    clip[: lengths[row]] = self.scaled(waveform[row : row + 1, : lengths[row]])[0]
                latents = self.encoder(clips)  # (rows, D, frames)
                codes[rows, :frames] = self.quantizer.encode(latents)
        return codes, code_lengths

    def encode_scaled(self, waveform: Tensor) -> Tensor:
        """(B, L * hop_length) samples, already at the wanted level, to codes (B, L)."""
        with _inference(self, waveform.device):
            return self.quantizer.encode(self.encoder(waveform))

    def decode(
        self,
        codes: Tensor,
        code_lengths: Tensor | None = None,
        lengths: Tensor | None = None,
        *,
        levels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Codes to waveforms.

        Args:
            codes: (B, L) integers of any width.
            code_lengths: (B,) valid codes of each row; None means L.
            lengths: (B,) samples wanted of each row, at most code_lengths * hop_length, which
                is also what None gives.
            levels: (B,) dBFS that the rows get, as `levels` measures them in recordings; None
                leaves them at `config.loudness_dbfs`. A codec without one has no use for them.

        Returns:
            Waveform (B, max(lengths)) float32, zero past a clip's end, and lengths (B,) int64.

        Raises:
            ValueError: Wrong shapes, lengths that the codes do not cover, levels that are not
                finite, or unknown codes.
        """
        codes, code_lengths, lengths = self._check_codes(codes, code_lengths, lengths)
        gains = self._gains(levels, len(codes))
        waveform = torch.zeros(len(codes), int(lengths.max()), device=codes.device)
        with _inference(self):
            for rows in self._groups(code_lengths, codes.device):
                valid = codes[rows, : int(code_lengths[rows[0]])]
                mel = self._mel(valid)  # (rows, M, 4L)
                for row, decoded in zip(rows, self.vocoder(mel), strict=True):
                    waveform[row, : lengths[row]] = decoded[: lengths[row]] * gains[row]
        return waveform, lengths

    def decode_mel(self, codes: Tensor) -> Tensor:
        """Codes (B, L) to the decoder's log-mel (B, M, 4L)."""
        with _inference(self):
            return self._mel(codes)

    def _mel(self, codes: Tensor) -> Tensor:
        """`decode_mel` in the present mode.

        What is mostly silence is decoded a second time, with the silence counted as in an ordinary
        clip: normalisation and attention over all frames would be led by it.
        """
        quantized = self.quantizer.decode(codes)  # (B, D, L)
        mel = self.decoder(quantized)
        # bounded, so that no sum of untrained weights overflows
        squares = (2.0 * mel.float().clamp(max=40.0)).exp()
        bands = torch.from_numpy(band_weights(self.config.mel)).to(squares)  # (M,)
        powers = (bands @ squares).double().cpu().numpy()  # (B, 4L)
        rate = self.frame_rate * self.config.upsampling
        for row, power in enumerate(powers):
            active = speech_frames(power, rate).reshape(-1, self.config.upsampling)
            # A code is active where any of its frames is.
            weights = silence_weights(active.max(axis=1), DECODED_SILENCE)
            if weights is not None:
                counted = torch.from_numpy(weights)[None].to(mel.device)
                mel[row] = self.decoder(quantized[row : row + 1], counted)[0]
        return mel

    def levels(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Levels at which clips were recorded, of their speech alone (`codec.activity.Level`).

        Args:
            waveform: (B, T) float at `sample_rate`.
            lengths: (B,) int64 valid samples of each clip; None means T.

        Returns:
            (B,) float64 on the CPU, dBFS, -120 for silence: what `decode` takes to give them back.

        Raises:
            ValueError: As `encode`.
        """
        lengths = self._check_waveform(waveform, lengths)
        rows = zip(waveform, lengths.tolist(), strict=True)
        found = [self._level(row[:length]).dbfs for row, length in rows]
        return torch.tensor(found, dtype=torch.float64)

    def _level(self, waveform: Tensor) -> Level:
        return measure_level([waveform.detach().double().cpu().numpy()], self.sample_rate)

    def _gains(self, levels: Tensor | None, rows: int) -> list[float]:
        """Factors from the codec's own level to those asked for."""
        if levels is None or self.config.loudness_dbfs is None:
            return [1.0] * rows
        given = torch.as_tensor(levels).double().cpu()
        if given.shape != (rows,) or not given.isfinite().all():
            raise ValueError(f"expected {rows} finite levels in dBFS, got {given.tolist()}")
        return [self.decoding_gain(level) for level in given.tolist()]

    def decoding_gain(self, level_dbfs: float | None) -> float:
        """Compute the factor from the codec's level to a recording's, dBFS; None keeps the first.

        It is 0 at -120 dBFS: digital silence comes back as that.
        """
        if self.config.loudness_dbfs is None or level_dbfs is None:
            return 1.0
        is_silent = level_dbfs <= SILENT_DBFS
        return 0.0 if is_silent else 10.0 ** ((level_dbfs - self.config.loudness_dbfs) / 20.0)

    def scaled(self, waveform: Tensor) -> Tensor:
        """(B, T) to the level of `config.loudness_dbfs` without offset, silence unchanged.

        It is the RMS level; where more than half of a clip is silence, that of its speech.
        """
        if self.config.loudness_dbfs is None:
            return waveform
        rms = waveform.square().mean(dim=-1, keepdim=True).sqrt()
        if not torch.isfinite(rms).all():  # squares beyond the precision
            return self.scaled(waveform.double()).to(waveform.dtype)
        levels = [self._level(row) for row in waveform]
        if any(level.offset for level in levels):
            waveform = waveform - waveform.new_tensor([[level.offset] for level in levels])
        rms = rms * rms.new_tensor([[level.ratio] for level in levels])
        gain = 10.0 ** (self.config.loudness_dbfs / 20.0) / rms  # (B, 1)
        return torch.where(rms > 1e-6, waveform * gain, waveform)

    def _groups(self, code_lengths: Tensor, device: torch.device) -> list[list[int]]:
        """Row numbers that are computed together."""
        # A CPU gains nothing by batches, and alone a clip gets the same codes bit for bit.
        if device.type == "cpu":
            return [[row] for row in range(len(code_lengths))]
        groups: dict[int, list[int]] = {}
        for row, length in enumerate(code_lengths.tolist()):
            groups.setdefault(length, []).append(row)
        return list(groups.values())

    def _check_waveform(self, waveform: Tensor, lengths: Tensor | None) -> Tensor:
        self._check_precision()
        if not isinstance(waveform, Tensor):
            raise ValueError(f"expected a float tensor (B, T), got {type(waveform).__name__}")
        if waveform.ndim != 2 or not waveform.is_floating_point() or waveform.numel() == 0:
            raise ValueError(
                f"expected a float waveform (B, T), got {waveform.dtype} {tuple(waveform.shape)}"
            )
        if not torch.isfinite(waveform).all():
            raise ValueError("expected finite samples, got NaN or infinity in the waveform")
        samples = waveform.shape[1]
        lengths = _lengths(lengths, len(waveform), samples, "lengths")
        if not 1 <= int(lengths.min()) <= int(lengths.max()) <= samples:
            raise ValueError(f"expected lengths in 1..{samples}, got {lengths.tolist()}")
        return lengths

    def _check_codes(
        self, codes: Tensor, code_lengths: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        self._check_precision()
        if not isinstance(codes, Tensor):
            raise ValueError(f"expected an integer tensor (B, L), got {type(codes).__name__}")
        if codes.ndim != 2 or codes.dtype not in _INTEGERS or codes.numel() == 0:
            raise ValueError(
                f"expected integer codes (B, L), got {codes.dtype} {tuple(codes.shape)}"
            )
        code_lengths = _lengths(code_lengths, len(codes), codes.shape[1], "code_lengths")
        if not 1 <= int(code_lengths.min()) <= int(code_lengths.max()) <= codes.shape[1]:
            raise ValueError(
                f"expected code_lengths in 1..{codes.shape[1]}, got {code_lengths.tolist()}"
            )
        if lengths is None:
            return codes.long(), code_lengths, code_lengths * self.hop_length
        lengths = _lengths(lengths, len(codes), 0, "lengths")
        if int(lengths.min()) < 1 or (lengths > code_lengths * self.hop_length).any():
            raise ValueError(
                f"expected lengths in 1..{(code_lengths * self.hop_length).tolist()}, "
                f"got {lengths.tolist()}"
            )
        return codes.long(), code_lengths, lengths

    def _check_precision(self) -> None:
        dtype = next(self.parameters()).dtype
        if dtype != torch.float32:
            raise ValueError(f"expected a codec in float32, got one in {dtype}; convert it back")

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.yaml` and `model.safetensors`; each file appears only when whole.

        Raises:
            ValueError: The codec is folded.
        """
        self._check_not_folded("saved")
        folder = Path(folder)
        tensors = {name: value.contiguous() for name, value in self.state_dict().items()}
        if self.config.quantizer.shared_transform:
            tensors = {k: v for k, v in tensors.items() if not k.startswith(SHARED_COPY)}
        # Under the codes they are of: weights in half precision have other bytes, and are compared
        # when they are loaded, in fp32.
        names = next((each for each in self._aliases.items() if each[1]), None)
        header = {CODES: names[0], SAME_CODES: " ".join(names[1])} if names else None
        with whole_file(folder / CONFIG) as config, whole_file(folder / WEIGHTS) as weights:
            save_file(tensors, weights, metadata=header)
            self.config.save(config)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], *, fold: bool = True) -> HHCodec:
        """Load a codec in eval mode, in fp32.

        Args:
            source: A model folder, the name of a model that comes with the package
                ("hh-mini-24k"), or a Hugging Face hub repository of the same shape.
            fold: Fold weight norm for inference; False keeps it, to train or save the codec.

        Raises:
            CodecConfigError: Nothing is there, or it is not a codec.
        """
        folder = find_model(source, FILES, "model")
        config = CodecConfig.load(folder / CONFIG)
        path = folder / WEIGHTS
        if not path.is_file():
            raise CodecConfigError(f"no codec weights at {path}")
        try:
            with safe_open(path, "pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            check_finite(path, tensors, error=CodecConfigError)
            with bounded_build(folder, tensors, error=CodecConfigError):
                codec = cls(config)
            # A transform that the stages share is stored once, so one name of it is missing.
            missing, unexpected = codec.load_state_dict(tensors, strict=False)
        except (SafetensorError, RuntimeError) as error:
            raise CodecConfigError(
                f"{path}: damaged, or of another size than in {CONFIG}; {error}"
            ) from error
        if SAME_CODES in header:
            codec._aliases = {header[CODES]: tuple(header[SAME_CODES].split())}
        missing = [name for name in missing if not name.startswith(SHARED_COPY)]
        if missing or unexpected:
            raise CodecConfigError(
                f"{folder}: weights do not fit the config, missing {missing[:3]}, "
                f"unexpected {unexpected[:3]}"
            )
        return codec.remove_weight_norm() if fold else codec.eval()


def _lengths(lengths: Tensor | None, rows: int, default: int, name: str) -> Tensor:
    """Lengths as (rows,) int64 on the CPU, where they steer slicing."""
    if lengths is None:
        return torch.full((rows,), default, dtype=torch.int64)
    try:
        given = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"expected integer {name} ({rows},), got {lengths!r}") from error
    # Fractions of a sample would be cut off, and truth values taken for numbers.
    if given.dtype not in _INTEGERS:
        raise ValueError(f"expected integer {name} ({rows},), got {given.dtype}")
    lengths = given.long().cpu()
    if lengths.shape != (rows,):
        raise ValueError(f"expected {name} of shape ({rows},), got {tuple(lengths.shape)}")
    return lengths

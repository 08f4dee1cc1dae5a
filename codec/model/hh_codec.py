"""HHCodec: 24 kHz speech to one stream of 23.4 codes a second, and back."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from codec.files import whole_file

from .config import CodecConfig, CodecConfigError
from .decoder import MelDecoder
from .encoder import build_encoder
from .fingerprint import Digests, Identity
from .pretrained import download
from .quantizer import SLMVQ
from .vocoder import Vocoder
from .weight_norm import fold_weight_norm, weight_normed

FILES = CONFIG, WEIGHTS = "config.yaml", "model.safetensors"
# Models that come with the package, by name.
BUNDLED = Path(__file__).resolve().parent.parent / "pretrained"

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _inferring(
    method: Callable[Concatenate[HHCodec, Arguments], Result],
) -> Callable[Concatenate[HHCodec, Arguments], Result]:
    """Run a method of a codec in eval mode and without gradients, whatever mode it is in."""

    @wraps(method)
    def run(codec: HHCodec, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        training = [module for module in codec.modules() if module.training]
        if training:
            codec.eval()
        try:
            with torch.no_grad():
                return method(codec, *args, **kwargs)
        finally:
            for module in training:  # parts may be in different modes, and stay so
                module.training = True

    return run


class HHCodec(nn.Module):
    """The codec of https://arxiv.org/abs/2507.18897 with a Vocos vocoder.

    waveform (B, T) -> encoder -> latents (B, D, L) -> quantizer -> codes (B, L)
    -> decoder -> log-mel (B, M, 4L) -> vocoder -> waveform (B, T); L = ceil(T / hop_length).

    Args:
        config: sizes of every part.
    """

    num_codebooks = 1

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config.check()
        self.encoder = build_encoder(config)
        self.quantizer = SLMVQ(config.quantizer)
        self.decoder = MelDecoder(config)
        self.vocoder = Vocoder(config.mel, config.vocoder)
        self._identity = Identity()

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
        """16 hex digits of config and weights: what is decoded belongs to exactly one codec.

        The weights are those with weight norm, as they are stored; folding, which gives the same
        codes bit for bit, keeps the fingerprint. Config fields newer than the first release count
        where they differ from their default (`codec/model/fields.py`). Weights are hashed anew only
        after they were written to.
        """
        return self._digests().whole

    @property
    def code_fingerprint(self) -> str:
        """16 hex digits of what decides on the codes: encoder, quantizer and their config.

        Tokens belong to it: codecs that share it give the same codes bit for bit, however they
        differ in decoder and vocoder.
        """
        return self._digests().codes

    @property
    def code_fingerprints(self) -> tuple[str, ...]:
        """Every name under which codes of this codec may have been stored, today's first.

        They are `code_fingerprint`; `fingerprint`, which stores and language models held before
        there was the other; and the names of the codecs that were given to `keep_codes_of`.
        """
        return self._identity.names(self._digests())

    def keep_codes_of(self, earlier: HHCodec) -> None:
        """Take what was stored by an earlier codec that makes the same codes, as this codec's own.

        For a codec that got another decoder or vocoder. It is saved with the weights, and holds
        as long as encoder and quantizer stay as they are.

        Raises:
            ValueError: encoder, quantizer or their config differ.
        """
        if self.code_fingerprint != earlier.code_fingerprint:
            raise ValueError(
                f"expected a codec of the same encoder and quantizer ({self.code_fingerprint}), "
                f"got {earlier.code_fingerprint}, whose codes are others"
            )
        self._identity.keep(self._digests(), earlier.code_fingerprints)

    def _digests(self) -> Digests:
        return self._identity.digests(self.config.fingerprint_values, self.state_dict())

    def _apply(self, *args: Any, **kwargs: Any) -> HHCodec:
        """Move or convert the weights: torch may put the new ones where the old ones lay."""
        self._identity.forget()
        return super()._apply(*args, **kwargs)

    def fold(self) -> HHCodec:
        """Fold weight norm for inference, and return self in eval mode.

        A folded codec gives the same codes and waveforms and has the same fingerprints, which are
        taken now; it can neither train nor be saved.
        """
        if weight_normed(self):
            digests = self._digests()
            fold_weight_norm(self)
            self._identity.frozen = digests
        return self.eval()

    def train(self, mode: bool = True) -> HHCodec:
        """Switch mode.

        Raises:
            ValueError: training of a folded codec.
        """
        if mode:
            self._check_not_folded("trained")
        return super().train(mode)

    def replace_vocoder(self, vocoder: Vocoder) -> None:
        """Take another vocoder of the same mel convention, such as published weights.

        Codes and their fingerprint stay as they are; `fingerprint`, which covers decoding too,
        changes.

        Raises:
            ValueError: it expects mels of another convention, or one of the two is folded.
        """
        vocoder.check_mel(self.config.mel)
        self._check_not_folded("given another vocoder")
        if vocoder.is_folded:
            raise ValueError("expected a vocoder with weight norm: load it with fold=False")
        self.config = replace(self.config, vocoder=vocoder.config).check()
        self.vocoder = vocoder
        self._identity.forget()

    def _check_not_folded(self, what: str) -> None:
        if self._identity.frozen is not None:
            raise ValueError(f"a folded codec cannot be {what}: load it with fold=False")

    @_inferring
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
            codes (B, L) int64, L = ceil(max(lengths) / hop_length), zero past a clip's end, and
            code_lengths (B,) int64, ceil(lengths / hop_length).

        Raises:
            ValueError: wrong shape, lengths outside 1..T, or samples that are not finite.
        """
        lengths = self._check_waveform(waveform, lengths)
        code_lengths = -(-lengths // self.hop_length)
        codes = torch.zeros(
            len(waveform), int(code_lengths.max()), dtype=torch.int64, device=waveform.device
        )
        for rows in self._groups(code_lengths, waveform.device):
            frames = int(code_lengths[rows[0]])
            clips = torch.stack([self._prepared(waveform[r, : lengths[r]], frames) for r in rows])
            codes[rows, :frames] = self.encode_scaled(clips)
        return codes, code_lengths

    @_inferring
    def encode_scaled(self, waveform: Tensor) -> Tensor:
        """(B, L * hop_length) samples, already at the wanted level, to codes (B, L)."""
        return self.quantizer.encode(self.encoder(waveform))

    @_inferring
    def decode(
        self, codes: Tensor, code_lengths: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Codes to waveforms.

        Args:
            codes: (B, L) int64.
            code_lengths: (B,) valid codes of each row; None means L.
            lengths: (B,) samples wanted of each row, at most code_lengths * hop_length, which
                is also what None gives.

        Returns:
            waveform (B, max(lengths)) float32, zero past a clip's end, and lengths (B,) int64.

        Raises:
            ValueError: wrong shapes, lengths that the codes do not cover, or unknown codes.
        """
        code_lengths, lengths = self._check_codes(codes, code_lengths, lengths)
        waveform = torch.zeros(len(codes), int(lengths.max()), device=codes.device)
        for rows in self._groups(code_lengths, codes.device):
            mel = self.decoder(self.quantizer.decode(codes[rows, : int(code_lengths[rows[0]])]))
            for row, decoded in zip(rows, self.vocoder(mel, self.config.mel), strict=True):
                waveform[row, : lengths[row]] = decoded[: lengths[row]]
        return waveform, lengths

    @_inferring
    def decode_mel(self, codes: Tensor) -> Tensor:
        """Codes (B, L) to the decoder's log-mel (B, M, 4L)."""
        return self.decoder(self.quantizer.decode(codes))

    def scaled(self, waveform: Tensor) -> Tensor:
        """(B, T) to the RMS level of `config.loudness_dbfs`, silence unchanged."""
        if self.config.loudness_dbfs is None:
            return waveform
        rms = waveform.square().mean(dim=-1, keepdim=True).sqrt()
        gain = 10.0 ** (self.config.loudness_dbfs / 20.0) / rms
        return torch.where(rms > 1e-6, waveform * gain, waveform)

    def _prepared(self, clip: Tensor, frames: int) -> Tensor:
        """(T,) to (frames * hop_length,): scaled, zero-padded to whole codes."""
        clip = self.scaled(clip[None])[0]
        return F.pad(clip, (0, frames * self.hop_length - len(clip)))

    def _groups(self, code_lengths: Tensor, device: torch.device) -> list[list[int]]:
        """Row numbers that are computed together."""
        if device.type == "cpu":
            return [[row] for row in range(len(code_lengths))]
        groups: dict[int, list[int]] = {}
        for row, length in enumerate(code_lengths.tolist()):
            groups.setdefault(length, []).append(row)
        return list(groups.values())

    def _check_waveform(self, waveform: Tensor, lengths: Tensor | None) -> Tensor:
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
    ) -> tuple[Tensor, Tensor]:
        if codes.ndim != 2 or codes.is_floating_point() or codes.numel() == 0:
            raise ValueError(
                f"expected integer codes (B, L), got {codes.dtype} {tuple(codes.shape)}"
            )
        code_lengths = _lengths(code_lengths, len(codes), codes.shape[1], "code_lengths")
        if not 1 <= int(code_lengths.min()) <= int(code_lengths.max()) <= codes.shape[1]:
            raise ValueError(
                f"expected code_lengths in 1..{codes.shape[1]}, got {code_lengths.tolist()}"
            )
        if lengths is None:
            return code_lengths, code_lengths * self.hop_length
        lengths = _lengths(lengths, len(codes), 0, "lengths")
        if int(lengths.min()) < 1 or (lengths > code_lengths * self.hop_length).any():
            raise ValueError(
                f"expected lengths in 1..{(code_lengths * self.hop_length).tolist()}, "
                f"got {lengths.tolist()}"
            )
        return code_lengths, lengths

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.yaml` and `model.safetensors`; each file appears only when whole.

        Raises:
            ValueError: the codec is folded.
        """
        self._check_not_folded("saved")
        folder = Path(folder)
        tensors = {name: value.contiguous() for name, value in self.state_dict().items()}
        if self.config.quantizer.shared_transform:
            tensors = {k: v for k, v in tensors.items() if not _is_shared_copy(k)}
        with whole_file(folder / CONFIG) as config, whole_file(folder / WEIGHTS) as weights:
            save_file(tensors, weights, metadata=self._identity.to_header())
            self.config.save(config)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], *, fold: bool = True) -> HHCodec:
        """Load a codec in eval mode, in fp32.

        Args:
            source: a model folder, the name of a model that comes with the package
                ("hh-mini-24k"), or a Hugging Face hub repository of the same shape.
            fold: fold weight norm for inference; False keeps it, to train or save the codec.

        Raises:
            CodecConfigError: nothing is there, or it is not a codec.
        """
        folder = Path(source)
        if not folder.is_dir():
            bundled = BUNDLED / str(source)
            folder = bundled if bundled.is_dir() else download(str(source), FILES, "model")
        codec = cls(CodecConfig.load(folder / CONFIG))
        if not (folder / WEIGHTS).is_file():
            raise CodecConfigError(f"no codec weights at {folder / WEIGHTS}")
        try:
            tensors = load_file(folder / WEIGHTS)
            codec._identity.read_header(_header(folder / WEIGHTS))
            missing, unexpected = codec.load_state_dict(tensors, strict=False)
        except (SafetensorError, RuntimeError) as error:
            raise CodecConfigError(
                f"{folder / WEIGHTS}: damaged, or of another size than {CONFIG} says; {error}"
            ) from error
        missing = [name for name in missing if not _is_shared_copy(name)]
        if missing or unexpected:
            raise CodecConfigError(
                f"{folder}: weights do not fit the config, missing {missing[:3]}, "
                f"unexpected {unexpected[:3]}"
            )
        return codec.fold() if fold else codec.eval()


def _header(path: Path) -> dict[str, str]:
    """What a safetensors file says beside its tensors."""
    with safe_open(path, "numpy") as file:
        return file.metadata() or {}


def _is_shared_copy(name: str) -> bool:
    """Whether a weight is the second stage's name for the first stage's transform."""
    return name.startswith("quantizer.stages.1.code_transform.")


def _lengths(lengths: Tensor | None, rows: int, default: int, name: str) -> Tensor:
    """Lengths as (rows,) int64 on the CPU, where they steer slicing."""
    if lengths is None:
        return torch.full((rows,), default, dtype=torch.int64)
    lengths = torch.as_tensor(lengths, dtype=torch.int64).cpu()
    if lengths.shape != (rows,):
        raise ValueError(f"expected {name} of shape ({rows},), got {tuple(lengths.shape)}")
    return lengths

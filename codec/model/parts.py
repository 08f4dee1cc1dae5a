"""The parts of a codec: their rates and names, their modes, and where they are stored."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from codec.devices import usable_device
from codec.hub import HubOptions, upload
from codec.interface.card import codec_card
from codec.interface.fingerprint import CodecFingerprint, CodeNames, code_fingerprint
from codec.interface.precision import decoding_dtype
from codec.layers.weight_norm import FoldedWeight, fold_weight_norm, unfolded_state, weight_normed

from .config import CodecConfig
from .decoder import MelDecoder
from .encoder import build_encoder
from .model_folder import FILES, read_codec, write_codec
from .pretrained import find_model
from .quantizer import SLMVQ
from .vocoder import Vocoder

if TYPE_CHECKING:
    from typing_extensions import Self


class CodecParts(nn.Module):
    """Encoder, quantizer, decoder and vocoder, as they are named, converted, saved and loaded.

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
        # Weights whose weight norm was removed, by module; empty where there was none.
        self._folded: dict[str, FoldedWeight] = {}
        self._fingerprint: CodecFingerprint | None = None
        self._code_fingerprint: str | None = None
        self._code_names = CodeNames()

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of decoding; encoding is always in float32."""
        return next(self.decoder.parameters()).dtype

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
        first release count where they differ from their default (`codec/interface/fingerprint.py`).
        """
        return self._fingerprints().whole

    @property
    def code_fingerprint(self) -> str:
        """16 hex digits of what decides on the codes: encoder, quantizer and their config.

        Tokens belong to it: codecs that share it give the same codes bit for bit, however they
        differ in decoder and vocoder.
        """
        if self._code_fingerprint is not None:
            return self._code_fingerprint
        found = code_fingerprint(self.config.fingerprint_values, self._stored_tensors())
        if not self.training:
            self._code_fingerprint = found
        return found

    @property
    def code_fingerprints(self) -> tuple[str, ...]:
        """Every name under which codes of this codec may have been stored.

        They are `code_fingerprint`; `fingerprint`, which the oldest stores and language models
        hold; and the names of the codecs that were given to `keep_codes_of`.
        """
        return self._code_names.all_of(self._fingerprints())

    def has_codes_of(self, fingerprint: str) -> bool:
        """True if `code_fingerprints` has a name; all of the weights are read only where it must.

        Args:
            fingerprint: That codes were stored under, 16 hex digits.
        """
        return fingerprint == self.code_fingerprint or fingerprint in self.code_fingerprints

    def keep_codes_of(self, earlier: CodecParts) -> None:
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
        names = *self.code_fingerprints, *earlier.code_fingerprints
        self._code_names = CodeNames.of(self._fingerprints(), names)

    def _fingerprints(self) -> CodecFingerprint:
        """The fingerprints, which a codec in training computes at every call."""
        if self._fingerprint is not None:
            return self._fingerprint
        found = CodecFingerprint.of(self.config.fingerprint_values, self._stored_tensors())
        if not self.training:
            self._fingerprint = found
        return found

    def weights_changed(self) -> None:
        """Drop what was computed from the weights."""
        self.quantizer.clear_cache()
        self._fingerprint = self._code_fingerprint = None

    def _stored_tensors(self) -> dict[str, Tensor]:
        """The state dict with weight norm, whether it is folded or not."""
        return unfolded_state(self, self._folded)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.weights_changed()
        super()._load_from_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        """Move or convert the weights."""
        self.weights_changed()
        return super()._apply(*args, **kwargs)

    def remove_weight_norm(self) -> Self:
        """Remove weight norm for inference, and return self in eval mode.

        Codes, waveforms and fingerprints stay the same, and so does what is saved. A codec that had
        weight norm can then not train.
        """
        self.eval()
        if weight_normed(self):
            self._folded = {**self._folded, **fold_weight_norm(self)}
            self.weights_changed()
        return self

    def train(self, mode: bool = True) -> Self:
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

        Codes and their fingerprint stay as they are; `fingerprint` changes.

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
        if self._folded:
            raise ValueError(f"a folded codec cannot be {what}: load it with fold=False")

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.yaml` and `model.safetensors`, which appear together.

        Weights are stored in the precision that they have, with weight norm where there was any.
        """
        write_codec(Path(folder), self.config, self._stored_tensors(), self._code_names.header())

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        fold: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a codec in eval mode, in fp32 unless another precision is asked for.

        Args:
            source: A model folder, the name of a model that comes with the package
                ("hh-mini-24k"), or a Hugging Face hub repository of the same shape.
            fold: Fold weight norm for inference; False keeps it, to train the codec.
            device: Such as "cuda"; "auto" is a GPU where there is one; None is the CPU.
            dtype: float32, float16 or bfloat16 for decoding; encoding stays in float32.
            revision: Branch, tag or commit of a repository.
            token: Access token of a private repository.
            cache_dir: Folder of the hub's cache, where it is not the usual one.
            local_files_only: Ask no server, take what the cache has.

        Raises:
            CodecConfigError: Nothing is there, or it is not a codec.
            ValueError: Another precision, or a device that is not here.
        """
        # Before anything is loaded, so that a wrong call costs nothing.
        precision = None if dtype is None else decoding_dtype(dtype)
        place = None if device is None else usable_device(str(device))
        hub = HubOptions(revision, token, cache_dir, local_files_only)
        codec, header = read_codec(find_model(source, FILES, "model", hub), cls)
        codec._code_names = CodeNames.from_header(header)
        codec = codec.remove_weight_norm() if fold else codec.eval()
        if precision in (None, torch.float32):
            return codec.to(place)
        # Codes stay, and so do their names, one of which covers the parts that are rounded now.
        names = codec.code_fingerprints
        codec._code_names = CodeNames.of(codec.to(place, precision)._fingerprints(), names)
        return codec

    def push_to_hub(
        self,
        repository: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
        message: str = "Upload codec",
        license: str | None = None,  # noqa: A002 - as cards name it
    ) -> str:
        """Save to a hub repository, which is created where it is missing, with a model card.

        Args:
            repository: Name, such as "me/my-codec".
            private: Of a new repository; None leaves it to the account.
            token: Access token that may write; None is the stored one.
            revision: Branch; None is the main one.
            message: Of the commit.
            license: Identifier for the card's header, such as "apache-2.0".

        Returns:
            URL of the commit.

        Raises:
            ValueError: The hub refused, or cannot be reached.
        """
        card = codec_card(self, repository, license=license)
        options: dict[str, Any] = {"private": private, "token": token, "revision": revision}
        return upload(repository, self.save_pretrained, card, message=message, **options)

"""HHCodec for users of transformers: model, config and feature extractor of its conventions.

Importing this module registers them, so that `AutoModel`, `AutoConfig` and `AutoFeatureExtractor`
load a folder of `HHCodecModel.save_pretrained`, which `HHCodec.from_pretrained` loads too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from codec.files import replaced_files
from codec.model.config import CodecConfig
from codec.model.hh_codec import HHCodec
from codec.model.model_folder import WEIGHTS, write_codec
from codec.requirements import install_command

try:
    from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, PreTrainedModel

    from .feature_extractor import HHCodecFeatureExtractor
    from .transformers_config import HHCodecConfig
    from .transformers_outputs import HHCodecDecoderOutput, HHCodecEncoderOutput, HHCodecOutput
except ImportError as error:
    raise ImportError(
        f"HHCodecModel needs the package transformers: {install_command('transformers')} ({error})"
    ) from error

__all__ = [
    "HHCodecConfig",
    "HHCodecDecoderOutput",
    "HHCodecEncoderOutput",
    "HHCodecFeatureExtractor",
    "HHCodecModel",
    "HHCodecOutput",
]

# Arguments of a download, which `HHCodec.from_pretrained` takes too.
_HUB = "revision", "token", "cache_dir", "local_files_only"
# Arguments that `AutoModel.from_pretrained` hands on, and others without a meaning here.
_IDLE = frozenset(
    ["trust_remote_code", "use_safetensors", "low_cpu_mem_usage", "code_revision", "adapter_kwargs"]
)


class HHCodecModel(PreTrainedModel):
    """`HHCodec` with the shapes and names of codecs in transformers.

    Args:
        config: Of the codec.
        codec: With its weights; None builds one with fresh weights.

    Attributes:
        codec: The `HHCodec`, whose weights these are.
    """

    config_class = HHCodecConfig
    base_model_prefix = "codec"
    main_input_name = "input_values"
    input_modalities = "audio"

    def __init__(self, config: HHCodecConfig, codec: HHCodec | None = None) -> None:
        super().__init__(config)
        sizes = CodecConfig.from_dict(config.codec) if codec is None else codec.config
        sizes.voice.refuse("a model of transformers, whose codes have none beside them")
        self.codec = HHCodec(sizes) if codec is None else codec
        self.post_init()

    @classmethod
    def of(cls, codec: HHCodec) -> HHCodecModel:
        """Wrap a codec; its weights are shared, not copied."""
        model = cls(HHCodecConfig(codec.config.to_dict()), codec)
        model.training = codec.training  # of the shell alone: parts stay as they are
        return model

    @property
    def dtype(self) -> torch.dtype:
        """Precision of decoding; see `HHCodec.dtype`."""
        return self.codec.dtype

    def _init_weights(self, module: nn.Module) -> None:
        """Leave weights as the codec initialises them."""

    def encode(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        num_quantizers: int | None = None,
        return_dict: bool | None = None,
    ) -> HHCodecEncoderOutput | tuple[Tensor, ...]:
        """Waveforms to codes, without gradients; see `HHCodec.encode`.

        Args:
            input_values: (B, 1, T) float at `config.sampling_rate`.
            padding_mask: (B, T) or (B, 1, T), 1 for samples, 0 for padding on the right.
            num_quantizers: 1 or None.
            return_dict: False gives a tuple.

        Raises:
            ValueError: As `HHCodec.encode`, or padding that is not on the right.
        """
        if num_quantizers not in (None, 1):
            raise ValueError(f"expected num_quantizers 1, got {num_quantizers}")
        lengths = None if padding_mask is None else _lengths(padding_mask)
        codes, code_lengths = self.codec.encode(input_values, lengths)
        places = torch.arange(codes.shape[1])
        mask = (places < code_lengths[:, None]).long().to(codes.device)  # (B, L)
        found = HHCodecEncoderOutput(codes[:, None], mask)
        return found.to_tuple() if return_dict is False else found

    def decode(
        self,
        audio_codes: Tensor,
        padding_mask: Tensor | None = None,
        audio_codes_mask: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> HHCodecDecoderOutput | tuple[Tensor, ...]:
        """Codes to waveforms, without gradients; see `HHCodec.decode`.

        Args:
            audio_codes: (B, 1, L) integers.
            padding_mask: That of the recordings, (B, T) or (B, 1, T): waveforms end with them.
            audio_codes_mask: (B, L) of `encode`.
            return_dict: False gives a tuple.

        Raises:
            ValueError: As `HHCodec.decode`.
        """
        code_lengths = None if audio_codes_mask is None else _lengths(audio_codes_mask)
        lengths = None if padding_mask is None else _lengths(padding_mask)
        if lengths is not None and code_lengths is None:
            code_lengths = -(-lengths // self.codec.hop_length)
        waveform, _ = self.codec.decode(audio_codes, code_lengths, lengths)
        found = HHCodecDecoderOutput(waveform[:, None])
        return found.to_tuple() if return_dict is False else found

    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        num_quantizers: int | None = None,
        audio_codes: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> HHCodecOutput | tuple[Tensor, ...]:
        """Reconstruct waveforms: with gradients where all clips are of one length.

        Args:
            input_values: As of `encode`.
            padding_mask: As of `encode`.
            num_quantizers: As of `encode`.
            audio_codes: (B, 1, L) to be decoded in place of those of the waveforms.
            return_dict: False gives a tuple.

        Returns:
            Waveforms at the level of the codec (without gradients) or the input (with them).
        """
        is_whole = padding_mask is None or bool(padding_mask.all())
        if audio_codes is None and is_whole and num_quantizers in (None, 1):
            made = self.codec.reconstruct(input_values)
            found = HHCodecOutput(made.codes[:, None], made.waveform[:, None])
            return found.to_tuple() if return_dict is False else found
        mask = None
        if audio_codes is None:
            coded = self.encode(input_values, padding_mask, num_quantizers)
            assert isinstance(coded, HHCodecEncoderOutput)
            audio_codes, mask = coded.audio_codes, coded.audio_codes_mask
        assert audio_codes is not None
        decoded = self.decode(audio_codes, padding_mask, mask)
        assert isinstance(decoded, HHCodecDecoderOutput)
        found = HHCodecOutput(audio_codes, decoded.audio_values)
        return found.to_tuple() if return_dict is False else found

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        state_dict: Mapping[str, Tensor] | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """Write a folder for `AutoModel`, `AutoFeatureExtractor` and `HHCodec.from_pretrained`.

        Args:
            save_directory: The folder.
            state_dict: Weights in place of the model's own, by its names.
            push_to_hub: Refused: `HHCodec.push_to_hub`, or `push_to_hub` of this model.
            kwargs: Of `PreTrainedModel.save_pretrained`, without a meaning here.

        Raises:
            ValueError: `push_to_hub`.
        """
        if push_to_hub:
            raise ValueError("expected push_to_hub to be called, got it as an argument of saving")
        self.config.architectures = [type(self).__name__]
        rate, hop = self.codec.sample_rate, self.codec.hop_length
        extractor = HHCodecFeatureExtractor(sampling_rate=rate, hop_length=hop)
        with replaced_files(save_directory, WEIGHTS) as partial:
            if state_dict is None:
                self.codec.save_pretrained(partial)
            else:
                own = {name.removeprefix("codec."): value for name, value in state_dict.items()}
                write_codec(partial, self.codec.config, own)
            self.config.save_pretrained(partial)
            extractor.save_pretrained(partial)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        config: HHCodecConfig | None = None,
        dtype: torch.dtype | str | None = None,
        device_map: torch.device | str | None = None,
        **kwargs: Any,
    ) -> HHCodecModel:
        """Load a codec; see `HHCodec.from_pretrained`, whose names and folders serve too.

        Args:
            pretrained_model_name_or_path: Folder, bundled name or hub repository.
            config: Of that folder, as `AutoModel` hands it on.
            dtype: float32, float16 or bfloat16 for decoding; "auto" is float32.
            device_map: One device.
            kwargs: `revision`, `token`, `cache_dir`, `local_files_only`; `torch_dtype` as `dtype`,
                `fold` as of `HHCodec.from_pretrained`.

        Raises:
            ValueError: No codec is there, or an argument that has no meaning here.
        """
        dtype = kwargs.pop("torch_dtype", dtype)
        hub = {name: kwargs.pop(name) for name in _HUB if name in kwargs}
        fold = kwargs.pop("fold", True)
        unknown = {name for name, value in kwargs.items() if value} - _IDLE
        if unknown:
            raise ValueError(
                f"expected arguments of HHCodec.from_pretrained, got {sorted(unknown)}"
            )
        codec = HHCodec.from_pretrained(
            pretrained_model_name_or_path,
            fold=fold,
            dtype=None if dtype == "auto" else dtype,
            device=device_map,
            **hub,
        )
        return cls.of(codec)


def _lengths(mask: Tensor) -> Tensor:
    """Samples or codes of each row (B,) of a mask (B, N) or (B, 1, N).

    Raises:
        ValueError: A mask of another shape, or padding that is not on the right.
    """
    rows = mask[:, 0] if mask.ndim == 3 and mask.shape[1] == 1 else mask
    if rows.ndim != 2:
        raise ValueError(f"expected a mask (B, N) or (B, 1, N), got {tuple(mask.shape)}")
    valid = rows.bool().cpu()
    if (valid[:, 1:] & ~valid[:, :-1]).any():
        raise ValueError("expected padding on the right of every clip, got some before samples")
    return valid.sum(dim=1)


AutoConfig.register(HHCodecConfig.model_type, HHCodecConfig, exist_ok=True)
AutoModel.register(HHCodecConfig, HHCodecModel, exist_ok=True)
AutoFeatureExtractor.register(HHCodecConfig, HHCodecFeatureExtractor, exist_ok=True)

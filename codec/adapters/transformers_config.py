"""The configuration of an `HHCodecModel`, by the names of transformers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.configuration_utils import PreTrainedConfig

from codec.model import pretrained
from codec.model.config import CodecConfig
from codec.model.model_folder import CONFIG


def bare_codec(source: str | os.PathLike[str]) -> CodecConfig | None:
    """Read the config of a bundled codec, or of a folder without the files of transformers.

    Args:
        source: Folder, bundled name or hub repository.

    Returns:
        None where there is no such folder.
    """
    for folder in (Path(source), pretrained.BUNDLED / source):
        if (folder / CONFIG).is_file() and not (folder / "config.json").is_file():
            return CodecConfig.load(folder / CONFIG)
    return None


class HHCodecConfig(PreTrainedConfig):
    """Configuration of an `HHCodecModel`.

    Args:
        codec: Sections of `CodecConfig` as nested dicts; None for its defaults.
        kwargs: Of `PreTrainedConfig`.

    Attributes:
        sampling_rate: Hz.
        hop_length: Samples a code.
        codebook_size: Number of different codes.
        num_quantizers: 1, the size K of codes (B, K, L).
        audio_channels: 1.
        frame_rate: Codes a second.

    Raises:
        ValueError: Sections that are no codec's, or an attribute that these do not give.
    """

    model_type = "hh_codec"

    def __init__(self, codec: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        config = CodecConfig() if codec is None else CodecConfig.from_dict(dict(codec))
        self.codec = config.to_dict()
        derived = {
            "sampling_rate": config.mel.sample_rate,
            "hop_length": config.hop_length,
            "codebook_size": config.quantizer.codebook_size,
            "num_quantizers": 1,
            "audio_channels": 1,
        }
        for name, value in derived.items():
            given = kwargs.pop(name, value)
            if given != value:
                raise ValueError(f"{name}: expected {value}, which the codec has, got {given}")
            setattr(self, name, value)
        super().__init__(**kwargs)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read the dict of a config: of a codec of ours, too, that has no `config.json`.

        Args:
            pretrained_model_name_or_path: Folder, bundled name or hub repository.
            kwargs: Of `PreTrainedConfig.get_config_dict`.
        """
        config = bare_codec(pretrained_model_name_or_path)
        if config is None:
            return super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        return {"codec": config.to_dict(), "model_type": cls.model_type}, kwargs

    @property
    def frame_rate(self) -> float:
        """Codes a second."""
        return self.sampling_rate / self.hop_length

    def to_diff_dict(self) -> dict[str, Any]:
        """All fields: defaults of a later version may be others."""
        return self.to_dict()

"""The feature extractor of an `HHCodecModel`: recordings to padded batches."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature

from codec.interface.inputs import waveform_batch

from .transformers_config import bare_codec


class HHCodecFeatureExtractor(SequenceFeatureExtractor):
    """Recordings to padded batches for `HHCodecModel`.

    Args:
        feature_size: 1, mono.
        sampling_rate: Hz that recordings must have.
        padding_value: Of what is appended to shorter recordings.
        hop_length: Batches are padded to a multiple of it.
        kwargs: Of `SequenceFeatureExtractor`.
    """

    model_input_names = ["input_values", "padding_mask"]  # noqa: RUF012 - of the base class

    def __init__(
        self,
        feature_size: int = 1,
        sampling_rate: int = 24_000,
        padding_value: float = 0.0,
        hop_length: int = 1024,
        **kwargs: Any,
    ) -> None:
        super().__init__(feature_size, sampling_rate, padding_value, **kwargs)
        self.hop_length = hop_length

    @classmethod
    def get_feature_extractor_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read the dict of an extractor: of a codec of ours, too, that has no file of it.

        Args:
            pretrained_model_name_or_path: Folder, bundled name or hub repository.
            kwargs: Of `FeatureExtractionMixin.get_feature_extractor_dict`.
        """
        config = bare_codec(pretrained_model_name_or_path)
        if config is None:
            return super().get_feature_extractor_dict(pretrained_model_name_or_path, **kwargs)
        return {"sampling_rate": config.mel.sample_rate, "hop_length": config.hop_length}, kwargs

    def __call__(
        self,
        raw_audio: Any,
        padding: bool | str | None = None,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        sampling_rate: int | None = None,
    ) -> BatchFeature:
        """Pad recordings to one length.

        Args:
            raw_audio: Samples (T,) or a list of them, as `HHCodec.encode` takes them.
            padding: True or "longest" (the default), or "max_length".
            truncation: Cut to `max_length`.
            max_length: Samples.
            return_tensors: "pt" or "np".
            sampling_rate: Of the recordings, Hz; refused where it is not the codec's.

        Returns:
            `input_values` (B, 1, T) float32 and `padding_mask` (B, T), 1 for samples.

        Raises:
            ValueError: Another rate, or what is no recording.
        """
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            raise ValueError(
                f"expected recordings at {self.sampling_rate} Hz, got {sampling_rate} Hz; "
                "resample them"
            )
        samples, lengths = waveform_batch(raw_audio, None)
        clips = [row[:n].float().cpu().numpy() for row, n in zip(samples, lengths, strict=True)]
        padded = self.pad(
            BatchFeature({"input_values": clips}),
            padding=True if padding is None else padding,
            max_length=max_length,
            truncation=truncation,
            pad_to_multiple_of=self.hop_length,
            return_attention_mask=True,
            return_tensors="np",
        )
        values = np.asarray(padded["input_values"], dtype=np.float32)[:, None]  # (B, 1, T)
        mask = np.asarray(padded["attention_mask"], dtype=np.int64)  # (B, T)
        found = BatchFeature({"input_values": values, "padding_mask": mask})
        return found.convert_to_tensors(return_tensors)

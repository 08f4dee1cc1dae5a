"""Words in a codec's decoded log-mels: what is kept of them before a vocoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from codec import HHCodec
from codec.model.whisper_encoder import WhisperInput
from eval.metrics.wer import WerMetric
from eval.protocols import MetricInfo, Part, Transcript
from eval.recognition.whisper import WhisperRecognizer
from eval.recognition.whisper_ctranslate2 import whisper_recognizer
from eval.sound import resampled

FAMILY = "wer_mel"


class DecodedMelRecognizer:
    """Recording to the words that Whisper reads in the log-mel a codec decodes of it.

    The log-mel goes to Whisper's input by the fixed map of `WhisperInput`, so that codecs whose
    vocoders differ, or are not trained yet, are told apart by what their codes hold.

    Args:
        codec: Its log-mels are of the convention that `WhisperInput` maps.
        recognizer: A Whisper of 80 bands.

    Raises:
        ValueError: Log-mels of another convention.
    """

    def __init__(self, codec: HHCodec, recognizer: WhisperRecognizer) -> None:
        self.codec, self.recognizer = codec, recognizer
        self.packages, self.weights = recognizer.packages, recognizer.weights
        self._to_input = WhisperInput(codec.config.mel)

    @property
    def id(self) -> str:
        """Of the recogniser, and what it reads."""
        return f"decoded_{self.recognizer.id}"

    def prepare(self) -> None:
        """Load the recogniser."""
        self.recognizer.prepare()

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> str:
        """Code a recording (T,), decode its log-mel, read the words; see `Recognizer`."""
        return self.transcribe_in_detail(waveform, sample_rate).text

    def transcribe_in_detail(self, waveform: np.ndarray, sample_rate: int) -> Transcript:
        """As `transcribe`, with what tells of invented words.

        Raises:
            ValueError: A recording of more than 30 s.
        """
        own: Any = resampled(np.asarray(waveform, np.float32), sample_rate, self.codec.sample_rate)
        recording = torch.from_numpy(np.ascontiguousarray(own, np.float32))[None]  # (1, T)
        codes, _ = self.codec.encode(recording)
        mel = self.codec.decode_mel(codes, self.codec.encode_voice(recording))
        # The last code's frames beyond the recording's end hold no speech.
        frames = -(-recording.shape[1] // self.codec.config.mel.hop_length)
        features, _ = self._to_input(mel[..., :frames].cpu())
        return self.recognizer.transcribe_features(features[0].numpy())


@dataclass(frozen=True)
class DecodedMelWer(WerMetric):
    """Word error rate of a codec's decoded log-mels, which it makes of the recordings itself."""

    recognizer: DecodedMelRecognizer
    part: Part = "reference"
    family: str = FAMILY

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        info = super().info
        name = info.id.partition(".")[2]  # the words are the codec's and not the recording's
        definition = info.definition.replace("on the reference", "on the log-mel decoded of it")
        return replace(info, id=f"{self.family}.{name}", definition=definition)


def decoded_mel_metric(codec: HHCodec) -> DecodedMelWer:
    """Make the metric of a codec, by the weight `whisper`."""
    return DecodedMelWer(DecodedMelRecognizer(codec, whisper_recognizer()))

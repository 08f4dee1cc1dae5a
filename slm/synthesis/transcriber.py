"""The transcriber: recordings, their waveforms or their codes in, text out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codec import HHCodec
from codec.audio import audio_info, read_audio, resampled_length
from codec.bitstream.format import SUFFIX, CodedRecording
from codec.checks import require
from codec.devices import usable_device
from slm.generation.config import TranscriptionSettings
from slm.generation.transcription import (
    MAX_ROWS,
    Transcript,
    check_transcribes,
    most_codes,
    transcribe_codes,
)
from slm.model.speech_lm import SpeechLM, pretrained_folder
from slm.text.tokenizer import Tokenizer, load_tokenizer

from .models import check_text_model
from .requests import not_one

# A file (sound, or codes as .hhc), a waveform (T,) of floats at the codec's rate, or codes (L,) of
# integers.
Spoken = Path | str | NDArray[Any]


@dataclass(frozen=True)
class Transcription:
    """Text of a recording.

    Attributes:
        text: As the text model spells it: lower case, numbers in words.
        text_ids: Its ids.
        log_likelihood: Of the text and its end, nats; see `Transcript`.
        log_likelihood_per_token: Mean of them.
        truncated: Whether the text was cut at its maximum.
        num_codes: Codes of the recording.
        duration: Seconds of them.
    """

    text: str
    text_ids: tuple[int, ...]
    log_likelihood: float
    log_likelihood_per_token: float
    truncated: bool
    num_codes: int
    duration: float


class Transcriber:
    """Speech to text by a language model that was trained to transcribe.

    Args:
        lm: Such a model, of this codec's codes.
        tokenizer: The text model it was trained with.
        codec: Encodes recordings; None where codes alone are given.

    Attributes:
        codec_names: Fingerprints of the codec whose codes are read.

    Raises:
        ValueError: A model that was not trained to transcribe, or parts that do not belong
            together.
    """

    def __init__(self, lm: SpeechLM, tokenizer: Tokenizer, codec: HHCodec | None = None) -> None:
        # A model without such documents in training would generate any text.
        check_transcribes(lm.config)
        check_text_model(lm, tokenizer)
        expected = lm.config.codec_fingerprint
        self.codec_names = (expected,) if codec is None else codec.code_fingerprints
        if expected not in self.codec_names:
            raise ValueError(
                f"expected codec {expected}, whose codes this language model reads, got codec "
                f"{self.codec_names[0]}"
            )
        self.lm = lm.eval()
        self.tokenizer = tokenizer
        self.codec = codec

    @classmethod
    def from_pretrained(cls, lm: Path | str, codec: Path | str | None = None) -> Transcriber:
        """Load a language model folder with its text model, and a codec folder where named."""
        folder = pretrained_folder(lm)
        loaded = None if codec is None else HHCodec.from_pretrained(codec).eval()
        return cls(SpeechLM.from_pretrained(folder), load_tokenizer(folder), loaded)

    def to(self, device: torch.device | str) -> Transcriber:
        """Move the models to a device, such as "cuda", and return self.

        Raises:
            ValueError: No such device here.
        """
        place = usable_device(str(device))
        self.lm.to(place)
        if self.codec is not None:
            self.codec.to(place)
        return self

    def transcribe(
        self,
        recordings: Sequence[Spoken],
        settings: TranscriptionSettings | None = None,
        *,
        seeds: Sequence[int] | None = None,
        max_rows: int = MAX_ROWS,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Transcription]:
        """Find the text of some recordings at once.

        Args:
            recordings: See `Spoken`.
            settings: Of the search.
            seeds: See `transcribe_codes`, as for the next two.
            max_rows: See there.
            on_progress: See there.

        Returns:
            One transcription a recording, in order.

        Raises:
            ValueError: As `codes_of` and `transcribe_codes`.
        """
        not_one(recordings, "recordings")
        codes = [self.codes_of(each) for each in recordings]
        options: dict[str, Any] = {"max_rows": max_rows, "on_progress": on_progress}
        found = transcribe_codes(self.lm, codes, settings, seeds=seeds, **options)
        return [self._described(*each) for each in zip(codes, found, strict=True)]

    def codes_of(self, recording: Spoken) -> NDArray[np.int64]:
        """Codes (L,) of a recording.

        Raises:
            ValueError: A file that cannot be read or is of another codec, sound without a codec to
                encode it, or a recording that does not fit the model's context.
        """
        if isinstance(recording, np.ndarray):
            if np.issubdtype(recording.dtype, np.integer):
                return self._checked(recording)
            require(
                np.issubdtype(recording.dtype, np.floating),
                "recording",
                "a waveform of floats or codes of integers",
                recording.dtype,
            )
            return self._encoded(recording)
        # Codes go in as they are, of whatever codec of the same codes.
        if Path(recording).suffix.lower() == SUFFIX:
            coded = CodedRecording.load(recording)
            coded.header.check_codec(self.codec_names)
            return self._checked(coded.codes)
        rate = self._needed_codec().sample_rate
        # Refused by its header, before any of it is decoded.
        self._check_length(resampled_length(*audio_info(recording), rate) / rate)
        return self._encoded(read_audio(recording, rate))

    def _encoded(self, waveform: NDArray[np.float32]) -> NDArray[np.int64]:
        codec = self._needed_codec()
        # Encoding hours that fit no context would be work lost.
        self._check_length(len(waveform) / codec.sample_rate)
        codes, _ = codec.encode(np.asarray(waveform, dtype=np.float32)[None])  # (1, L)
        return codes[0].cpu().numpy()

    def _needed_codec(self) -> HHCodec:
        if self.codec is None:
            raise ValueError("expected codes or .hhc files where no codec is loaded, got sound")
        return self.codec

    def _checked(self, codes: NDArray[Any]) -> NDArray[np.int64]:
        size = self.lm.vocabulary.codebook_size
        is_list = codes.ndim == 1 and len(codes) > 0
        require(is_list, "codes", "(L,) with L >= 1", codes.shape)
        span = int(codes.min()), int(codes.max())
        require(span[0] >= 0 and span[1] < size, "codes", f"integers in [0, {size})", span)
        self._check_length(len(codes) / self.lm.config.frame_rate)
        return codes.astype(np.int64)

    def _check_length(self, seconds: float) -> None:
        """Raise `ValueError` for a recording that cannot fit the context, before it is encoded."""
        longest = most_codes(self.lm.config) / self.lm.config.frame_rate
        if seconds > longest:
            raise ValueError(
                f"expected a recording within the model's {longest:.1f} s, got {seconds:.1f} s; "
                "cut it in pauses"
            )

    def _described(self, codes: NDArray[np.int64], found: Transcript) -> Transcription:
        return Transcription(
            text=self.tokenizer.decode(found.text_ids).strip(),
            text_ids=found.text_ids,
            log_likelihood=found.log_likelihood,
            log_likelihood_per_token=found.log_likelihood_per_token,
            truncated=found.truncated,
            num_codes=len(codes),
            duration=len(codes) / self.lm.config.frame_rate,
        )

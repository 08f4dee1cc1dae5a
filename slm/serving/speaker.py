"""Answers of a server: the speech of a request as bytes, whole or piece by piece."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slm.synthesis.long_stream import stream_long
from slm.synthesis.long_text import join, speak_long
from slm.synthesis.result import pcm_bytes
from slm.synthesis.synthesizer import Synthesizer

from .formats import STREAMED, encoded, wav_header
from .worker import Check


@dataclass(frozen=True)
class Asked:
    """A request that was checked against the models.

    Attributes:
        text: One sentence or more.
        voice: Name of a voice; None leaves it to the model.
        seed: Of the draws.
        language: Of the text.
        format: One of `writable_formats`.
        speed: Times as fast as the model speaks by itself.
        delivery: "whole", or while it is being spoken as "audio", raw bytes, or "sse", events.
    """

    text: str
    voice: str | None = None
    seed: int = 0
    language: str = "en"
    format: str = "wav"
    delivery: str = "whole"
    speed: float = 1.0

    @property
    def is_streamed(self) -> bool:
        """True if bytes are sent before the speech is over."""
        return self.delivery != "whole" and self.format in STREAMED


class Speaker:
    """A synthesizer that answers requests, one at a time.

    Args:
        synthesizer: Of the models.
        default_voice: Name of the voice of requests that leave it open; None leaves it to the
            model.
    """

    def __init__(self, synthesizer: Synthesizer, default_voice: str | None = None) -> None:
        self.synthesizer, self.default_voice = synthesizer, default_voice

    @property
    def sample_rate(self) -> int:
        """Of all speech, Hz."""
        return self.synthesizer.codec.sample_rate

    @property
    def has_speeds(self) -> bool:
        """True if the model draws durations, which can be scaled."""
        return self.synthesizer.lm.config.is_aligned

    @property
    def voices(self) -> list[str]:
        """Names of the voices."""
        return list(self.synthesizer.voices)

    def warm_up(self) -> None:
        """Speak a word, so that the first request waits for no compiler and no timing."""
        # A text model may have been trained without its letters.
        with suppress(ValueError):
            list(self.answer(Asked("one", self.default_voice), lambda: None))

    def answer(self, asked: Asked, check: Check) -> Iterator[bytes]:
        """Speak a text.

        Whole, it is one file: that of `hh-slm tts --long` with the same seed. In pieces, the
        samples of a sentence are those of `hh-slm tts --stream`.

        Args:
            asked: The request.
            check: Called all along; what it raises ends the work.

        Yields:
            Bytes of the answer, in order.

        Raises:
            ValueError: A text that cannot be spoken; before anything is yielded.
        """
        num_samples, as_events = 0, asked.delivery == "sse"
        for waveform in (self._pieces if asked.is_streamed else self._whole)(asked, check):
            if asked.is_streamed:
                # The header of a WAV of unknown length, before the first samples.
                is_headed = asked.format == "wav" and num_samples == 0
                header = wav_header(self.sample_rate) if is_headed else b""
                data = header + pcm_bytes(waveform)
            else:
                data = encoded(waveform, self.sample_rate, asked.format)
            num_samples += len(waveform)
            yield _delta(data) if as_events else data
        if as_events:
            yield self._done(asked, num_samples)

    def _whole(self, asked: Asked, check: Check) -> Iterator[NDArray[np.float32]]:
        """The waveform of all sentences."""
        parts = speak_long(
            self.synthesizer,
            asked.text,
            voice=asked.voice,
            seed=asked.seed,
            language=asked.language,
            speed=asked.speed,
            # A client that has left ends the work between two tokens.
            on_progress=lambda done, total: check(),
        )
        yield join(parts, seed=asked.seed).waveform

    def _pieces(self, asked: Asked, check: Check) -> Iterator[NDArray[np.float32]]:
        """Waveforms of a few codes each, while the next are generated."""
        pieces = stream_long(
            self.synthesizer,
            asked.text,
            voice=asked.voice,
            seed=asked.seed,
            language=asked.language,
            speed=asked.speed,
        )
        for piece in pieces:
            check()
            yield piece

    def _done(self, asked: Asked, num_samples: int) -> bytes:
        """The last event, with tokens of the text and codes of the speech."""
        given = len(self.synthesizer.tokenizer.encode(asked.text, asked.language))
        # Pauses between sentences are counted as if they had codes.
        # ceil(T / hop_length)
        made = -(-num_samples // self.synthesizer.codec.hop_length)
        usage = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
        return _event({"type": "speech.audio.done", "usage": usage})


def _delta(data: bytes) -> bytes:
    audio = base64.b64encode(data).decode("ascii")
    return _event({"type": "speech.audio.delta", "audio": audio})


def _event(content: dict[str, object]) -> bytes:
    return f"data: {json.dumps(content)}\n\n".encode()

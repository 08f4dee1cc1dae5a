"""Texts of any length as a stream: sentence by sentence, while they are being generated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from slm.generation.config import GenerationSettings

from .long_text import PAUSE, sentence_requests
from .streaming import StreamWindow
from .synthesizer import Synthesizer


def stream_long(
    synthesizer: Synthesizer,
    text: str,
    *,
    voice: str | None = None,
    seed: int = 0,
    language: str = "en",
    speed: float = 1.0,
    settings: GenerationSettings | None = None,
    window: StreamWindow | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Speak a text of any length and yield the waveform while it is being generated.

    Sentences, seeds and pauses are those of `speak_long` and `join`; a single sentence is that of
    `Synthesizer.stream`. Without a voice the first of several sentences is spoken whole before it
    is yielded, since its codes are the voice of the others.

    Args:
        synthesizer: Of the models.
        text: Any number of sentences.
        voice: A named voice.
        seed: Of the first sentence; the others' are derived from it.
        language: Of the text, see `SpeechRequest`.
        speed: See there.
        settings: How codes are drawn; as suits the model when None.
        window: Sizes of the stream.

    Yields:
        (T,) float32, T > 0.

    Raises:
        ValueError: As `speak_long`.
    """
    requests = sentence_requests(synthesizer, text, None, voice, seed, language, speed)
    gap = np.zeros(round(PAUSE * synthesizer.codec.sample_rate), dtype=np.float32)
    if voice is None and len(requests) > 1:
        first = synthesizer.synthesize(requests[:1], settings=settings)[0]
        requests = [replace(request, voice=first.codes) for request in requests[1:]]
        yield first.waveform
        yield gap
    for number, request in enumerate(requests):
        if number:
            yield gap
        yield from synthesizer.stream(**vars(request), settings=settings, window=window)

"""Speech as bytes: whole files in memory, and the header of a WAV that is streamed."""

from __future__ import annotations

import io
import struct

import numpy as np
import soundfile
from numpy.typing import NDArray

MEDIA_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "pcm": "audio/pcm",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
}
# Those whose bytes can be sent before the length of the speech is known.
STREAMED = ("pcm", "wav")
# libsndfile's names of container and coding.
_CODINGS = {
    "pcm": ("RAW", "PCM_16"),
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
}
# Rates that a coding has, Hz; the others take any.
_RATES = {
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "opus": (8000, 12000, 16000, 24000, 48000),
}
_UNKNOWN = 0xFFFFFFFF  # bytes, where a header cannot know them


def writable_formats(sample_rate: int) -> tuple[str, ...]:
    """Names of the formats that the installed libsndfile writes at a rate, Hz."""
    found = []
    for name, (container, coding) in _CODINGS.items():
        has_rate = name not in _RATES or sample_rate in _RATES[name]
        # An older libsndfile has no MP3.
        if container in soundfile.available_formats() and has_rate:
            found += [name] * soundfile.check_format(container, coding)
    return tuple(found)


def encoded(waveform: NDArray[np.float32], sample_rate: int, name: str) -> bytes:
    """Encode a whole waveform (T,).

    Args:
        waveform: In [-1, 1]; values beyond are clipped.
        sample_rate: Hz.
        name: One of `writable_formats`.
    """
    container, coding = _CODINGS[name]
    buffer = io.BytesIO()
    samples = np.clip(waveform, -1.0, 1.0)
    endian = "LITTLE" if name == "pcm" else "FILE"
    soundfile.write(buffer, samples, sample_rate, coding, endian, container)
    return buffer.getvalue()


def wav_header(sample_rate: int) -> bytes:
    """Build the 44 bytes before the samples of a mono 16-bit WAV of unknown length."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", _UNKNOWN, b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", _UNKNOWN)

"""Everything the page can do, as plain functions from inputs to results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from codec import HHCodec
from codec.bitstream.convert import stream_header
from codec.bitstream.format import CodedRecording, stated_level
from eval.reporting.media import mel_peak, mel_picture_uri
from slm import Synthesis, Synthesizer
from slm.generation.config import GenerationSettings
from slm.synthesis.long_text import join, sentence_requests

from .uploads import Upload


@dataclass(frozen=True, eq=False)
class Coded:
    """A recording, what a codec makes of it, and the codes between.

    Attributes:
        recording: (T,) mono, at the codec's rate.
        reconstruction: (T,) decoded from the codes, at the level of the recording.
        sample_rate: Hz.
        codes: (L,) integers.
        stream: The `.hhc` file.
        codebook_size: Of the codec.
    """

    recording: NDArray[np.float32]
    reconstruction: NDArray[np.float32]
    sample_rate: int
    codes: NDArray[np.uint16]
    stream: bytes
    codebook_size: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.recording) / self.sample_rate

    @property
    def bitrate(self) -> float:
        """Bits of the codes a second, without what the file says beside them."""
        bits = (self.codebook_size - 1).bit_length()
        return len(self.codes) * bits / self.duration

    def summary(self) -> str:
        """State codes, bit rate and size in a sentence."""
        pcm = 2 * len(self.recording)  # bytes
        return (
            f"{self.duration:.2f} s, {len(self.codes):,} codes out of {self.codebook_size:,} "
            f"({len(np.unique(self.codes)):,} different): {self.bitrate:.0f} bit/s. The .hhc file "
            f"has {len(self.stream):,} bytes; as 16-bit samples it would be {pcm:,}."
        )

    def pictures(self) -> tuple[str, str]:
        """Draw the mels of recording and reconstruction in one scale, as data URIs."""
        peak = mel_peak(self.recording, self.sample_rate)
        first, second = (
            mel_picture_uri(each, self.sample_rate, loudest=peak)
            for each in (self.recording, self.reconstruction)
        )
        return first, second


def reconstruct(codec: HHCodec, upload: Upload | None) -> Coded:
    """Encode a recording and decode it, as `hh-codec reconstruct` does.

    Raises:
        ValueError: There is no recording.
    """
    waveform = _given(upload).at(codec.sample_rate)
    batch = torch.from_numpy(waveform)[None].to(next(codec.parameters()).device)  # (1, T)
    codes, code_lengths = codec.encode(batch)  # (1, L)
    level = stated_level(float(codec.levels(batch)[0]))
    lengths = torch.tensor([len(waveform)])
    levels, voices = torch.tensor([level]), codec.encode_voice(batch)
    decoded, _ = codec.decode(codes, code_lengths, lengths, levels=levels, voice=voices)
    row = codes[0].cpu().numpy().astype(np.uint16)
    voice = None if voices is None else voices[0].cpu().numpy()
    stream = CodedRecording(stream_header(codec, level, voice), row, len(waveform)).to_bytes()
    return Coded(
        waveform,
        decoded[0].cpu().numpy(),
        codec.sample_rate,
        row,
        stream,
        codec.codebook_size,
    )


@dataclass(frozen=True)
class Progress:
    """Speech so far.

    Attributes:
        done: Sentences that are spoken.
        total: All of them.
        speech: Of those that are spoken, joined.
    """

    done: int
    total: int
    speech: Synthesis


def speak(
    synthesizer: Synthesizer,
    text: str,
    *,
    voice: str | None = None,
    prompt: Upload | None = None,
    seed: int = 0,
    temperature: float | None = None,
    speed: float = 1.0,
    most_characters: int = 2000,
) -> Iterator[Progress]:
    """Speak a text sentence by sentence; whoever takes no more results has cancelled it.

    Args:
        synthesizer: Of the models.
        text: Any number of sentences.
        voice: A named voice; with neither it nor a prompt the model draws one.
        prompt: Recording of a voice, which takes the place of the named one.
        seed: Of the first sentence; the others' are derived from it.
        temperature: Of the draws; None for the model's own.
        speed: Times as fast as the model speaks by itself; see `SpeechRequest`.
        most_characters: Of the text.

    Yields:
        The state after each sentence.

    Raises:
        ValueError: A text that is empty, too long or cannot be spoken, or a speed that the model
            cannot have.
    """
    if not text.strip():
        raise ValueError("expected a text, got none: write a sentence")
    if len(text) > most_characters:
        raise ValueError(f"expected at most {most_characters:,} characters, got {len(text):,}")
    own = GenerationSettings.for_model(synthesizer.lm.config)
    settings = own if temperature is None else replace(own, temperature=temperature)
    recording = None if prompt is None else prompt.at(synthesizer.codec.sample_rate)
    named = None if prompt is not None else voice
    requests = sentence_requests(synthesizer, text, recording, named, seed, speed=speed)
    parts: list[Synthesis] = []
    for request in requests:
        # A voice that the model drew is kept: its codes are the prompt of what follows.
        if parts and recording is None and named is None:
            request = replace(request, voice=parts[0].codes)
        parts += synthesizer.synthesize([request], settings=settings)
        yield Progress(len(parts), len(requests), join(parts, seed=seed))


def go_on(
    synthesizer: Synthesizer,
    upload: Upload | None,
    seconds: float,
    *,
    seed: int = 0,
    temperature: float | None = None,
) -> Synthesis:
    """Continue a recording by at most so many seconds; the result begins with it, as coded.

    Raises:
        ValueError: There is no recording, or it and the continuation are too long for the model.
    """
    settings = GenerationSettings()
    if temperature is not None:
        settings = replace(settings, temperature=temperature)
    waveform = _given(upload).at(synthesizer.codec.sample_rate)
    return synthesizer.continue_speech(waveform, seconds, seed=seed, settings=settings)


def described(speech: Synthesis, frame_rate: float) -> str:
    """State length, likelihood and end of speech in a sentence."""
    new = len(speech.codes) - speech.num_given_codes
    ends = {"end": "ended by itself", "limit": "cut at the longest"}
    given = speech.num_given_codes
    start = f", of which {given / frame_rate:.2f} s were given" if given else ""
    return (
        f"{speech.duration:.2f} s, {len(speech.codes):,} codes{start}. Log-likelihood "
        f"{speech.log_likelihood / max(1, new):.2f} nats a code; "
        f"{ends.get(speech.stopped, f'cut for {speech.stopped}')}; seed {speech.seed}."
    )


def _given(upload: Upload | None) -> Upload:
    if upload is None:
        raise ValueError("expected a recording, got none: record or upload one")
    return upload

"""Vocoding of a log-mel that comes in pieces, and decoding of codes that do."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.model.harmonic_vocoder import (
    HarmonicGenerator,
    continued_pulse_train,
    noise_generator,
)
from codec.model.hh_codec import HHCodec
from codec.model.vocoder import Vocoder

# Mel frames on either side of a sample that it depends on, and some more: with 8 layers, 29 of the
# backbone and its inverse transform, 3 of the source, 12 of the pitch network.
CONTEXT = 64
# Of a `StreamDecoder`, codes: emitted together, decoded again before them, waited for behind them.
CHUNK, BEFORE, AFTER = 6, 96, 6


class StreamingVocoder:
    """A vocoder that continues one waveform over consecutive pieces of a mel.

    Whatever decides on a waveform beside its mel is kept from piece to piece: predicted pitch and
    voicing, the phase of the pulses, the place in the noise. With a lookahead of `CONTEXT` frames,
    the pieces end to end are the waveform of the whole mel up to float rounding. With less, the
    last frames of a piece were filtered without all that follows: the next piece begins with a
    cross-fade of one frame from what was computed for it then.

    Args:
        vocoder: In eval mode.
    """

    def __init__(self, vocoder: Vocoder) -> None:
        self._vocoder, self._hop = vocoder, vocoder.mel_config.hop_length
        self._source: _Source | None = None
        if isinstance(vocoder.generator, HarmonicGenerator):
            self._source = _Source(vocoder.generator)
        self._left_context: Tensor | None = None  # (1, M, K) frames emitted last
        self._overlap: Tensor | None = None  # (n,) samples of the last piece's first lookahead

    @torch.no_grad()
    def push(self, mel: Tensor, lookahead: Tensor) -> Tensor:
        """Log-mel (1, M, F) to waveform (F * hop_length,) float32.

        Args:
            mel: The next frames.
            lookahead: (1, M, A) those after them as far as is known; they may still change, and
                are given again. A = 0 where the mel ends.
        """
        window = torch.cat([mel, lookahead], dim=-1)
        if self._left_context is not None:
            window = torch.cat([self._left_context, window], dim=-1)
        # window: left context, frames start..stop to be emitted, lookahead
        stop = window.shape[-1] - lookahead.shape[-1]
        start = stop - mel.shape[-1]
        keep = max(0, stop - CONTEXT)
        if self._source is None:
            waveform = self._vocoder(window)[0]
        else:
            waveform = self._source.waveform(window, start, stop, keep)
        self._left_context = window[..., keep:stop]
        emitted = self._faded_in(waveform[start * self._hop : stop * self._hop])
        self._overlap = waveform[stop * self._hop :][: self._hop]
        return emitted

    def _faded_in(self, samples: Tensor) -> Tensor:
        """Samples (n,), of which the first are mixed with the overlap of the last piece."""
        if self._overlap is None:
            return samples
        count = min(len(self._overlap), len(samples))
        before = self._overlap[:count]
        rising = torch.linspace(0.0, 1.0, count + 2, dtype=torch.float32, device=samples.device)[
            1:-1
        ]
        return torch.cat([before + rising * (samples[:count] - before), samples[count:]])


class _Source:
    """Pitch, pulses and noise of a harmonic vocoder, kept for the frames that were emitted last."""

    def __init__(self, generator: HarmonicGenerator) -> None:
        self._generator = generator
        self._random = noise_generator()
        self._noise = torch.zeros(1, 0, dtype=torch.float32)
        # (1, K) or (1, K + 1): the first frame of the lookahead is settled too
        self._pitch: Tensor | None = None
        self._voiced = self._pulses = self._phase = torch.zeros(0, dtype=torch.float32)

    def waveform(self, mel: Tensor, start: int, stop: int, keep: int) -> Tensor:
        """Waveform (F * hop_length,) of a mel (1, M, F) whose frames before `start` were emitted.

        Frames up to `stop` are emitted now, and the source is kept from frame `keep` on.
        """
        generator, hop = self._generator, self._generator.hop_length
        octaves, voicing = generator.pitch(mel)
        pitch, voiced = octaves.exp2(), voicing > 0
        if self._pitch is None:
            pulses, phase = self._pulse_train(pitch, voiced, None)
        else:
            # Settled frames keep their pitch; pulses go on from the last emitted frame.
            settled = self._pitch.shape[-1]
            pitch = torch.cat([self._pitch, pitch[:, settled:]], dim=-1)
            voiced = torch.cat([self._voiced, voiced[:, settled:]], dim=-1)
            last = start - 1
            more, phase = self._pulse_train(pitch[:, last:], voiced[:, last:], self._phase)
            pulses = torch.cat([self._pulses, more], dim=-1)
        # Noise is drawn once for each sample, as for the whole waveform.
        missing = pulses.shape[-1] - self._noise.shape[-1]
        if missing > 0:
            drawn = torch.randn(1, missing, dtype=torch.float32, generator=self._random)
            self._noise = torch.cat([self._noise, drawn], dim=-1)
        noise = self._noise[:, : pulses.shape[-1]].to(pulses)
        # Pitch runs from centre to centre, so a frame's last half depends on the next frame's.
        self._pitch, self._voiced = pitch[:, keep : stop + 1], voiced[:, keep : stop + 1]
        self._pulses, self._noise = pulses[:, keep * hop : stop * hop], self._noise[:, keep * hop :]
        self._phase = phase[:, (stop - start) * hop - 1]
        return generator.filtered(mel, voiced, pulses, noise)[0]

    def _pulse_train(
        self, pitch: Tensor, voiced: Tensor, phase: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        hop_length, sample_rate = self._generator.hop_length, self._generator.sample_rate
        return continued_pulse_train(pitch, voiced, hop_length, sample_rate, phase)


class StreamDecoder:
    """Codes that come a few at a time to the waveform of all of them, as far as it can be known.

    What the mel decoder makes of a code depends on all others, so that a stream cannot equal the
    whole to the sample: emitted frames stay, later ones are decoded with all codes so far, and the
    vocoder runs on over both. Where `before` and `after` reach over all codes, the stream is the
    whole up to float rounding.

    Args:
        codec: In eval mode.
        chunk: Codes whose waveform is emitted together, at least.
        before: Codes decoded again to the left, as the mel decoder's context.
        after: Codes waited for to the right.
        voice: (K,) tokens of a voice, which must be known before the first sound; None for a codec
            without a voice code.

    Raises:
        ValueError: No chunk, a negative context, or a voice as `HHCodec.decode` refuses it.
    """

    def __init__(
        self,
        codec: HHCodec,
        *,
        chunk: int = CHUNK,
        before: int = BEFORE,
        after: int = AFTER,
        voice: Any = None,
    ) -> None:
        if chunk < 1 or min(before, after) < 0:
            raise ValueError(
                f"expected chunk >= 1 and contexts >= 0 codes, got {chunk}, {before} and {after}"
            )
        self._codec, self._vocoder = codec, StreamingVocoder(codec.vocoder)
        self._chunk, self._before, self._after = chunk, before, after
        self._voice = codec.voice_tokens(voice)
        self._codes = torch.zeros(1, 0, dtype=torch.int64)
        self._emitted = 0  # of `_codes`

    def push(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Take the next codes (n,) and return what is ready, (m * hop_length,), m >= 0."""
        more = torch.from_numpy(np.asarray(codes, dtype=np.int64))[None]
        self._codes = torch.cat([self._codes, more], dim=-1)
        stop = self._codes.shape[1] - self._after
        return self._emit(stop if stop - self._emitted >= self._chunk else self._emitted)

    def finish(self) -> NDArray[np.float32]:
        """Return the rest, after the last code; nothing may be pushed any more."""
        return self._emit(self._codes.shape[1])

    def _emit(self, stop: int) -> NDArray[np.float32]:
        """The waveform of the codes up to `stop` that were not emitted yet."""
        if stop <= self._emitted:
            return np.zeros(0, dtype=np.float32)
        factor, device = self._codec.config.upsampling, next(self._codec.parameters()).device
        mel = self._codec.decode_mel(self._codes.to(device), self._voice)
        first, last = self._emitted * factor, stop * factor
        waveform = self._vocoder.push(mel[..., first:last], mel[..., last:])
        left = max(0, stop - self._before)  # older codes are beyond the decoder's context
        self._codes, self._emitted = self._codes[:, left:], stop - left
        return waveform.cpu().numpy()

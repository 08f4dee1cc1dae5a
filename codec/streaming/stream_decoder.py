"""A vocoder that runs on over a log-mel that comes in pieces, and a decoder of codes that do."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.model.harmonic_vocoder import HarmonicGenerator, noise_generator, running_pulse_train
from codec.model.hh_codec import HHCodec
from codec.model.vocoder import Vocoder

# Mel frames on either side of a sample that can be heard in it, and some more: with 8 layers, 29
# of the backbone and its inverse transform, 3 of the source, 12 of the pitch network.
CONTEXT = 64


class RunningVocoder:
    """A vocoder whose waveform of one piece of a mel goes on where that of the piece before ended.

    Whatever decides on a waveform beside its mel is kept from piece to piece: the pitch and
    voicing that were found, the phase of the pulses, the place in the noise. With `CONTEXT`
    frames ahead of every piece, the pieces end to end are the waveform of the whole mel up to
    float rounding. With fewer, the frames at the end of a piece were filtered without all that
    follows; over one frame the waveform fades from what they promised to what came.

    Args:
        vocoder: in eval mode.
    """

    def __init__(self, vocoder: Vocoder) -> None:
        self._vocoder, self._hop = vocoder, vocoder.mel_config.hop_length
        self._source: _Source | None = None
        if isinstance(vocoder.generator, HarmonicGenerator):
            self._source = _Source(vocoder.generator)
        self._kept: Tensor | None = None  # (1, M, K) frames said last
        self._promised: Tensor | None = None  # (n,) of the frames ahead of the last piece

    @torch.no_grad()
    def advance(self, mel: Tensor, ahead: Tensor) -> Tensor:
        """Log-mel (1, M, F) to waveform (F * hop_length,) float32.

        Args:
            mel: the next frames.
            ahead: (1, M, A) those after them as far as is known; they may still change, and are
                given again. None (A = 0) where the mel ends.
        """
        known = torch.cat([mel, ahead], dim=-1)
        window = known if self._kept is None else torch.cat([self._kept, known], dim=-1)
        stop = window.shape[-1] - ahead.shape[-1]
        start = stop - mel.shape[-1]
        keep = max(0, stop - CONTEXT)
        if self._source is None:
            waveform = self._vocoder(window)[0]
        else:
            waveform = self._source.waveform(window, start, stop, keep)
        self._kept = window[..., keep:stop]
        said = self._faded(waveform[start * self._hop : stop * self._hop])
        self._promised = waveform[stop * self._hop :][: self._hop]
        return said

    def _faded(self, said: Tensor) -> Tensor:
        if self._promised is None:
            return said
        count = min(len(self._promised), len(said))
        promised = self._promised[:count]
        rising = torch.linspace(0.0, 1.0, count + 2, device=said.device)[1:-1]
        return torch.cat([promised + rising * (said[:count] - promised), said[count:]])


class _Source:
    """Pitch, pulses and noise of a harmonic vocoder, kept for the frames that were said last."""

    def __init__(self, generator: HarmonicGenerator) -> None:
        self._generator = generator
        self._random = noise_generator()
        self._noise = torch.zeros(1, 0)
        self._pitch: Tensor | None = None  # (1, K) or (1, K + 1): the frame ahead is settled too
        self._voiced = self._pulses = self._phase = torch.zeros(0)

    def waveform(self, mel: Tensor, start: int, stop: int, keep: int) -> Tensor:
        """Waveform (F * hop_length,) of a mel (1, M, F) whose frames before `start` were said.

        After it those before `stop` are, and those from `keep` on are kept.
        """
        generator, hop = self._generator, self._generator.hop_length
        octaves, voicing = generator.pitch(mel)
        pitch, voiced = octaves.exp2(), voicing > 0
        if self._pitch is None:
            pulses, phase = self._run(pitch, voiced, None)
        else:
            settled = self._pitch.shape[-1]
            pitch = torch.cat([self._pitch, pitch[:, settled:]], dim=-1)
            voiced = torch.cat([self._voiced, voiced[:, settled:]], dim=-1)
            more, phase = self._run(pitch[:, start - 1 :], voiced[:, start - 1 :], self._phase)
            pulses = torch.cat([self._pulses, more], dim=-1)
        missing = pulses.shape[-1] - self._noise.shape[-1]
        if missing > 0:
            drawn = torch.randn(1, missing, generator=self._random)
            self._noise = torch.cat([self._noise, drawn], dim=-1)
        noise = self._noise[:, : pulses.shape[-1]].to(pulses)
        # Pitch runs from centre to centre, so a frame's last half depends on the next frame's.
        self._pitch, self._voiced = pitch[:, keep : stop + 1], voiced[:, keep : stop + 1]
        self._pulses, self._noise = pulses[:, keep * hop : stop * hop], self._noise[:, keep * hop :]
        self._phase = phase[:, (stop - start) * hop - 1]
        return generator.filtered(mel, voiced, pulses, noise)[0]

    def _run(self, pitch: Tensor, voiced: Tensor, phase: Tensor | None) -> tuple[Tensor, Tensor]:
        generator = self._generator
        return running_pulse_train(
            pitch, voiced, generator.hop_length, generator.sample_rate, phase
        )


class StreamDecoder:
    """Codes that come a few at a time to the waveform of all of them, as far as it can be known.

    What the mel decoder makes of a code depends on all others, so that a stream cannot be the
    whole to the sample: frames that were said stay, later ones are decoded with what has come
    since, and the vocoder runs on over both. Where `before` and `after` reach over all codes, the
    stream is the whole up to float rounding.

    Args:
        codec: in eval mode.
        chunk: codes whose waveform is handed out together, at least.
        before: codes decoded again to the left, for the decoder to hear.
        after: codes waited for to the right.

    Raises:
        ValueError: no chunk, or a negative context.
    """

    def __init__(self, codec: HHCodec, *, chunk: int = 6, before: int = 96, after: int = 6) -> None:
        if chunk < 1 or min(before, after) < 0:
            raise ValueError(
                f"expected chunk >= 1 and contexts >= 0 codes, got {chunk}, {before} and {after}"
            )
        self._codec, self._vocoder = codec, RunningVocoder(codec.vocoder)
        self._chunk, self._before, self._after = chunk, before, after
        self._codes = torch.zeros(1, 0, dtype=torch.int64)
        self._said = 0  # of `_codes`

    def push(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Take the next codes (n,) and give what can be said now, (m * hop_length,), m >= 0."""
        more = torch.from_numpy(np.asarray(codes, dtype=np.int64))[None]
        self._codes = torch.cat([self._codes, more], dim=-1)
        ready = self._codes.shape[1] - self._after - self._said
        return self._say(self._said + ready) if ready >= self._chunk else self._nothing()

    def finish(self) -> NDArray[np.float32]:
        """The rest, after the last code; nothing may be pushed any more."""
        count = self._codes.shape[1]
        return self._say(count) if count > self._said else self._nothing()

    def _nothing(self) -> NDArray[np.float32]:
        return np.zeros(0, dtype=np.float32)

    def _say(self, stop: int) -> NDArray[np.float32]:
        factor, device = self._codec.config.upsampling, next(self._codec.parameters()).device
        mel = self._codec.decode_mel(self._codes.to(device))
        first, last = self._said * factor, stop * factor
        waveform = self._vocoder.advance(mel[..., first:last], mel[..., last:])
        left = max(0, stop - self._before)
        self._codes, self._said = self._codes[:, left:], stop - left
        return waveform.cpu().numpy()

"""HHCodec: 24 kHz speech to one stream of 23.4 codes a second, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from codec.checks import count
from codec.interface.inputs import code_batch, length_column, waveform_batch
from codec.interface.levels import clip_level, decoding_gain, decoding_gains, level_change
from codec.interface.precision import inference

from .clip_coding import ClipCoding, Reconstruction
from .mel import silent_rows
from .model_folder import CONFIG, FILES, WEIGHTS

__all__ = ["CONFIG", "FILES", "WEIGHTS", "HHCodec", "Reconstruction"]


class HHCodec(ClipCoding):
    """HH-Codec (https://arxiv.org/abs/2507.18897) with a Vocos, harmonic or BigVGAN vocoder.

    waveform (B, T) -> encoder -> latents (B, D, L) -> quantizer -> codes (B, L)
    -> decoder -> log-mel (B, M, 4L) -> vocoder -> waveform (B, T); L = ceil(T / hop_length).

    With `config.voice.tokens`, a recording also has a voice code, tokens (B, K) that `encode_voice`
    makes and `decode` needs.

    `encode` and `decode` compute without gradients; calling the codec, and `reconstruct`, with.

    In eval mode the effective codebook and the fingerprints are computed once and kept: whoever
    then writes into weights calls `weights_changed`. Loading a state dict, moving or converting the
    codec and switching its mode do that by themselves.

    Converted to float16 or bfloat16, a codec decodes in that precision, with spectra, pitch and
    waveforms in float32, and encodes in float32 as before: codes stay the same bit for bit.

    Args:
        config: Sizes of every part.
    """

    def forward(self, waveform: Any) -> Tensor:
        """Reconstruct waveforms, with gradients; see `reconstruct`.

        Args:
            waveform: As of `reconstruct`.

        Returns:
            Waveforms float32 of the same shape, (T,), (B, T) or (B, 1, T); (B, T) of a list.
        """
        made = self.reconstruct(waveform).waveform
        is_array = isinstance(waveform, (Tensor, np.ndarray)) and waveform.dtype != object
        return made.reshape(tuple(waveform.shape)) if is_array else made

    def reconstruct(self, waveform: Any) -> Reconstruction:
        """Send waveforms of one length through the codec, with gradients to them and the weights.

        At the quantizer the gradient of the vectors passes to the latents: straight through (EMA
        and grids of cells), or turned and scaled as the vector is to its latent (SimVQ); see
        `codec.model.vector_quantization`. The choice of codes has no gradient, the level that is
        taken off and given back counts as a constant, and so does the pitch that a harmonic vocoder
        reads off the mel.

        In eval mode the codes are those of `encode` up to ties, and the waveform is that of
        `decode`. In train mode parts do as in training: dropout, statistics of the batch, moving
        averages of entries.

        Args:
            waveform: (T,), (B, T) or (B, 1, T) as `encode` takes it; clips of one length.

        Raises:
            ValueError: As `encode`, or clips of different lengths.
        """
        self._check_precision()
        samples, lengths = waveform_batch(waveform, None, self.device)
        length = samples.shape[1]
        if int(lengths.min()) < length:
            raise ValueError(f"expected clips of one length, got {lengths.tolist()}")
        scaled, factor = samples, None
        if self.config.loudness_dbfs is not None:
            factor, offset = level_change(samples, self.config)
            scaled = ((samples - offset) * factor).to(samples.dtype)
        padding = -length % self.hop_length
        latents, voice = self._encoded(nn.functional.pad(scaled.float(), (0, padding)))
        found = self.quantizer(latents)
        # Exactly the vectors of the codes, which rotating latents onto them misses by rounding.
        quantized = found.quantized
        if self.quantizer.quantizes and not self.training:
            exact = self.quantizer.vectors(found.codes)
            quantized = exact + (quantized - quantized.detach())
        mel = self._mel(quantized, None if voice is None else voice.vectors)
        made = self.vocoder(mel)[:, :length]
        if factor is not None:
            made = (made / factor).to(made.dtype)
        loss, tokens = found.loss, None
        if voice is not None:
            loss, tokens = loss + voice.loss, voice.tokens
        return Reconstruction(made, found.codes, latents, quantized, mel, loss, tokens)

    def encode(
        self, waveform: Any, lengths: Any = None, *, search: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Waveforms to codes; a clip's codes do not depend on its batch mates or padding.

        Clips with the same number of codes are computed together and nothing is padded beyond
        a clip's own last code; on a CPU, where batches gain nothing, every clip is computed
        alone, so that its codes are the same bit for bit in any batch. A clip is encoded whole
        however long it is; recordings beyond 43.7 s go through `encode_clip` or
        `encode_stream` of `codec.streaming.long_form`, as on the command line, which bound the
        memory and, up to there, give the same codes.

        Args:
            waveform: Samples at `sample_rate`, floats in [-1, 1] or int16 or int32: (T,), (B, T) or
                (B, 1, T), a tensor, array or list; or a list of clips (T,) of any lengths.
            lengths: (B,) valid samples of each clip; None means all of it.
            search: Entries, beside the nearest, that each code is tried against, to keep what
                decodes nearer to the recording (`codec.model.code_search`): 2 for the quality that
                docs/reports/code_search.md shows, in three times the time. 0 takes the nearest.
                A codec in half precision searches by what it decodes in that.

        Returns:
            Codes (B, L) int64, L = ceil(max(lengths) / hop_length), zero past a clip's end, and
            code_lengths (B,) int64, ceil(lengths / hop_length); B = 1 for a single clip. Codes are
            on the codec's device, lengths on the CPU.

        Raises:
            ValueError: Wrong shape or type, lengths outside 1..T, samples that are not finite, or a
                search that is no whole number from 0 on.
        """
        self._check_precision()
        count("search", search)
        samples, lengths = waveform_batch(waveform, lengths, self.device)
        code_lengths = -(-lengths // self.hop_length)
        codes = torch.zeros(
            len(samples), int(code_lengths.max()), dtype=torch.int64, device=samples.device
        )
        with inference(self, samples.device):
            for rows in self._groups(code_lengths, samples.device):
                frames = int(code_lengths[rows[0]])
                clips = samples.new_zeros(len(rows), frames * self.hop_length)
                for clip, row in zip(clips, rows, strict=True):
                    clip[: lengths[row]] = self.scaled(samples[row : row + 1, : lengths[row]])[0]
                codes[rows, :frames] = self._codes(clips, search)
        return codes, code_lengths

    def encode_scaled(self, waveform: Tensor, search: int = 0) -> Tensor:
        """(B, L * hop_length) samples, already at the wanted level, to codes (B, L).

        Args:
            waveform: float32.
            search: As of `encode`.

        Raises:
            ValueError: A search that is no whole number from 0 on.
        """
        count("search", search)
        with inference(self, waveform.device):
            return self._codes(waveform, search)

    def decode(
        self,
        codes: Any,
        code_lengths: Any = None,
        lengths: Any = None,
        *,
        levels: Any = None,
        voice: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """Codes to waveforms.

        Args:
            codes: Integers of any width, (L,), (B, L) or (B, 1, L), a tensor, array or list; or a
                list of codes (L,) of any lengths.
            code_lengths: (B,) valid codes of each row; None means all.
            lengths: (B,) samples wanted of each row, at most code_lengths * hop_length, which
                is also what None gives.
            levels: (B,) dBFS that the rows get, as `levels` measures them in recordings; None
                leaves them at `config.loudness_dbfs`. A codec without one has no use for them.
            voice: (B, K) tokens of the rows' voices as of `encode_voice`, or (K,) of one for all,
                which may be another recording's; None for a codec without a voice code.

        Returns:
            Waveform (B, max(lengths)) float32, zero past a clip's end, and lengths (B,) int64.

        Raises:
            ValueError: Wrong shapes, lengths that the codes do not cover, levels that are not
                finite, unknown codes, or a voice that the codec lacks, needs or cannot have.
        """
        self._check_precision()
        codes, code_lengths = code_batch(codes, code_lengths, self.device)
        lengths = self._wanted_samples(lengths, code_lengths)
        gains = decoding_gains(self.config, levels, len(codes))
        voices = self._voice_vectors(voice, len(codes))
        waveform = torch.zeros(
            len(codes), int(lengths.max()), dtype=torch.float32, device=codes.device
        )
        with inference(self):
            for rows in self._groups(code_lengths, codes.device):
                valid = codes[rows, : int(code_lengths[rows[0]])]
                voices_of = None if voices is None else voices[rows]
                mel = self._mel(self.quantizer.decode(valid), voices_of)  # (rows, M, 4L)
                for row, decoded in zip(rows, self.vocoder(mel), strict=True):
                    waveform[row, : lengths[row]] = decoded[: lengths[row]] * gains[row]
        return waveform, lengths

    def decode_mel(self, codes: Tensor, voice: Any = None) -> Tensor:
        """Codes (B, L), and the voice as of `decode`, to the log-mel (B, M, 4L) float32."""
        voices = self._voice_vectors(voice, len(codes))
        with inference(self):
            return self._mel(self.quantizer.decode(codes), voices)

    def _mel(self, quantized: Tensor, voices: Tensor | None = None) -> Tensor:
        """Vectors (B, D, L), and those of voices, to a log-mel (B, M, 4L) in the present mode.

        What is mostly silence is decoded a second time, with the silence counted as in an ordinary
        clip: normalisation and attention over all frames would be led by it.
        """
        quantized = quantized.to(self.dtype)
        mel = self.decoder(quantized, voice=voices).float()
        for row, weights in silent_rows(mel, self.config).items():
            own = None if voices is None else voices[row : row + 1]
            weights = weights[None].to(self.dtype)
            mel[row] = self.decoder(quantized[row : row + 1], weights, own)[0].float()
        return mel

    def levels(self, waveform: Any, lengths: Any = None) -> Tensor:
        """Levels at which clips were recorded, of their speech alone (`codec.speech_level.Level`).

        Args:
            waveform: As of `encode`.
            lengths: As of `encode`.

        Returns:
            (B,) float64 on the CPU, dBFS, -120 for silence: what `decode` takes to give them back.

        Raises:
            ValueError: As `encode`.
        """
        samples, lengths = waveform_batch(waveform, lengths)
        rows = zip(samples, lengths.tolist(), strict=True)
        found = [clip_level(row[:length], self.sample_rate).dbfs for row, length in rows]
        return torch.tensor(found, dtype=torch.float64)

    def decoding_gain(self, level_dbfs: float | None) -> float:
        """Compute the factor from the codec's level to a recording's, dBFS; None keeps the first.

        It is 0 at -120 dBFS: digital silence comes back as that.
        """
        return decoding_gain(self.config, level_dbfs)

    def _wanted_samples(self, lengths: Any, code_lengths: Tensor) -> Tensor:
        """Samples of each row, (B,) int64."""
        most = code_lengths * self.hop_length
        if lengths is None:
            return most
        lengths = length_column(lengths, len(code_lengths), "lengths")
        if int(lengths.min()) < 1 or (lengths > most).any():
            raise ValueError(f"expected lengths in 1..{most.tolist()}, got {lengths.tolist()}")
        return lengths

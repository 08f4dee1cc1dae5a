"""Encoder and decoder of a codec as two modules that can be exported."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from codec.layers.weight_norm import remove_weight_norm
from codec.model.encoder import MelEncoder, at_code_rate
from codec.model.grid_quantization import GridStage
from codec.model.hh_codec import HHCodec
from codec.model.mel import DECODED_SILENCE, band_weights

from .activity import dbfs, recording_levels, silence_weights, speech_frames
from .harmonic import PlainHarmonicGenerator
from .modules import swap_modules

# Numbers int64 of Whisper's states in the first window (A,) and the second (W,), and places (N,) in
# both of those that are kept: the number of states is a quotient of that of codes, which the
# exporter cannot follow.
Places = tuple[Tensor, Tensor, Tensor]


def plain_copy(codec: HHCodec) -> HHCodec:
    """Copy a codec, in eval mode and without weight norm, with modules that can be exported."""
    codebook = codec.quantizer.codebook.detach()
    codec = copy.deepcopy(codec).eval()
    remove_weight_norm(codec)
    codec.quantizer._cache = codebook
    for parameter in codec.parameters():
        parameter.requires_grad = False
    swap_modules(codec)
    return codec


class EncoderGraph(nn.Module):
    """Waveforms to codes and levels, as `HHCodec.encode` and `HHCodec.levels`.

    Args:
        codec: Of `plain_copy`.
    """

    codebook: Tensor
    squares: Tensor

    def __init__(self, codec: HHCodec) -> None:
        super().__init__()
        self.encoder, self.quantizer = codec.encoder, codec.quantizer
        self.sample_rate, self.loudness_dbfs = codec.sample_rate, codec.config.loudness_dbfs
        stage, entries = codec.quantizer.stage(0), codec.quantizer.codebook
        self.grid = stage if isinstance(stage, GridStage) else None
        self.register_buffer("codebook", entries.T.contiguous())
        self.register_buffer("squares", entries.square().sum(1))

    def forward(
        self, blocks: Tensor, lengths: Tensor, places: Places | None = None
    ) -> tuple[Tensor, Tensor]:
        """Blocks (B, L, hop_length) of samples, zero past the end, to codes and dBFS.

        Args:
            blocks: Of the waveforms.
            lengths: (B, 1) int64 samples.
            places: Of Whisper's states, for an encoder that takes them.

        Returns:
            Codes (B, L) int64 and levels (B,) float32.
        """
        waveform = blocks.flatten(1)
        rms, offset = recording_levels(waveform, lengths, self.sample_rate)
        if self.loudness_dbfs is not None:
            gain = 10.0 ** (self.loudness_dbfs / 20.0) / rms.clamp(min=1e-6)
            inside = torch.arange(waveform.shape[1], device=waveform.device) < lengths
            centred = waveform - offset * inside.to(waveform.dtype)
            waveform = torch.where(rms > 1e-6, centred * gain, centred)
        # (B, D, L)
        latents = self.encoder(waveform) if places is None else self._latents(waveform, places)
        return self._codes(latents), dbfs(rms)[:, 0]

    def _latents(self, waveform: Tensor, places: Places) -> Tensor:
        """`MelEncoder.forward` with the number of Whisper's states as an input."""
        encoder = self.encoder
        assert isinstance(encoder, MelEncoder)
        assert encoder.speech is not None
        log_mel = encoder.log_mel(waveform)
        x = encoder.downsampled(log_mel)  # (B, C, L)
        whisper, kept = encoder.speech.whisper, places[2]
        features, _ = encoder.speech.to_input(log_mel, count=2 * kept.shape[0])
        embedded = whisper.embed(features)  # (B, N, D)
        windows = [whisper.encode(embedded.index_select(1, window))[-1] for window in places[:2]]
        states = torch.cat(windows, dim=1).index_select(1, kept)
        points = at_code_rate(states, x.shape[-1])  # (B, L, 2 * D)
        return encoder.latents(x + encoder.speech.project(points).transpose(1, 2))

    def _codes(self, latents: Tensor) -> Tensor:
        points = self.quantizer.normalize(latents).transpose(1, 2)  # (B, L, D)
        if self.grid is not None:
            return self.grid.encode(points)
        return (self.squares - 2.0 * (points @ self.codebook)).argmin(-1)


class DecoderGraph(nn.Module):
    """Codes to waveforms at the codec's level, as `HHCodec.decode`.

    Args:
        codec: Of `plain_copy`.
    """

    codebook: Tensor
    bands: Tensor

    def __init__(self, codec: HHCodec) -> None:
        super().__init__()
        generator = codec.vocoder.generator
        is_harmonic = isinstance(generator, PlainHarmonicGenerator)
        self.decoder = codec.decoder
        self.vocoder: nn.Module = generator if is_harmonic else codec.vocoder  # type: ignore
        self.upsampling = codec.config.upsampling
        self.mel_rate = codec.frame_rate * codec.config.upsampling
        self.register_buffer("codebook", codec.quantizer.codebook)
        self.register_buffer("bands", torch.from_numpy(band_weights(codec.config.mel))[None])

    def forward(self, codes: Tensor) -> Tensor:
        """(B, L) int64 to (B, L * hop_length)."""
        quantized = self.codebook[codes].transpose(1, 2)  # (B, D, L)
        mel = self.decoder(quantized)  # (B, M, 4L)
        squares = (2.0 * mel.clamp(max=40.0)).exp()
        powers = (self.bands @ squares)[:, 0]  # (B, 4L)
        frames = torch.full_like(codes[:, :1], 1) * powers.shape[1]
        active = speech_frames(powers, frames, self.mel_rate)
        # A code is active where any of its frames is.
        active = active.unflatten(1, (-1, self.upsampling)).any(-1)
        weights = silence_weights(active, frames // self.upsampling, DECODED_SILENCE)
        # What is mostly silence is decoded again, with the silence counted as in ordinary clips.
        is_weighed = (weights < 1).any(-1)[:, None, None]
        return self.vocoder(torch.where(is_weighed, self.decoder(quantized, weights), mel))

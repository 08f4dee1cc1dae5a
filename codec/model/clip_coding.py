"""Clips of a batch at their level and in groups, and the voice code of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from codec.interface.fingerprint import CODING_VALUES, weights_digest
from codec.interface.inputs import voice_rows, waveform_batch
from codec.interface.levels import level_change
from codec.interface.precision import DECODING, inference

from .code_search import searched_codes
from .mel import LogMel, silent_rows
from .parts import CodecParts
from .voice import Voice, VoiceCode

# What decides on a voice's tokens.
_VOICE_PARTS = "encoder.", "decoder.voice."


@dataclass(frozen=True)
class Reconstruction:
    """Waveforms through a codec with their gradients, and what lies between.

    Attributes:
        waveform: (B, T) float32 at the level of the input.
        codes: (B, L) int64; zeros while an untrained quantizer lets latents pass.
        latents: (B, D, L) of the encoder.
        quantized: (B, D, L) vectors of the codes, with a gradient to the latents.
        mel: (B, M, 4L) log-mel of the decoder.
        loss: Scalar, codebook and commitment loss: what the codebook's transform learns from; of a
            codec with a voice code also that one's.
        voice: (B, K) int64 tokens of the voice code; None for a codec without.
    """

    waveform: Tensor
    codes: Tensor
    latents: Tensor
    quantized: Tensor
    mel: Tensor
    loss: Tensor
    voice: Tensor | None = None


class ClipCoding(CodecParts):
    """How clips are brought to the codec's level, grouped, and given their voice's tokens."""

    _voice_fingerprint: str | None = None

    @property
    def has_voice(self) -> bool:
        """True if recordings have a voice code beside their codes, which `decode` needs."""
        return self.config.voice.tokens > 0

    @property
    def voice_fingerprint(self) -> str | None:
        """16 hex digits of what decides on the tokens of a voice; None for a codec without.

        They are encoder, voice code and their config. `code_fingerprint` does not tell: the codes
        of a recording are the same with and without a voice.
        """
        if not self.has_voice:
            return None
        if self._voice_fingerprint is not None:
            return self._voice_fingerprint
        values = self.config.fingerprint_values
        about = {name: values[name] for name in (*CODING_VALUES, "voice") if name != "quantizer"}
        tensors = self._stored_tensors().items()
        chosen = {name: value for name, value in tensors if name.startswith(_VOICE_PARTS)}
        found = weights_digest(json.dumps(about, sort_keys=True), chosen)
        if not self.training:
            self._voice_fingerprint = found
        return found

    def weights_changed(self) -> None:
        """Drop what was computed from the weights."""
        self._voice_fingerprint = None
        super().weights_changed()

    def encode_voice(self, waveform: Any, lengths: Any = None) -> Tensor | None:
        """Waveforms to the tokens of their voices; a clip's do not depend on its batch mates.

        Of a longer recording, files hold the voice of its first 43.7 s
        (`codec.streaming.long_form.recording_voice`).

        Args:
            waveform: As of `encode`.
            lengths: As of `encode`.

        Returns:
            (B, K) int64 on the codec's device, K = `config.voice.tokens`; None for a codec without
            a voice code, which is what its `decode` takes.

        Raises:
            ValueError: As `encode`.
        """
        if not self.has_voice:
            return None
        self._check_precision()
        samples, lengths = waveform_batch(waveform, lengths, self.device)
        counts = -(-lengths // self.hop_length)
        tokens = torch.zeros(
            len(samples), self.config.voice.tokens, dtype=torch.int64, device=samples.device
        )
        for rows in self._groups(counts, samples.device):
            clips = samples.new_zeros(len(rows), int(counts[rows[0]]) * self.hop_length)
            for clip, row in zip(clips, rows, strict=True):
                clip[: lengths[row]] = self.scaled(samples[row : row + 1, : lengths[row]])[0]
            tokens[rows] = self.encode_voice_scaled(clips)
        return tokens

    def encode_voice_scaled(self, waveform: Tensor) -> Tensor:
        """(B, L * hop_length) samples, already at the wanted level, to tokens (B, K).

        Raises:
            ValueError: The codec has no voice code.
        """
        with inference(self, waveform.device):
            return self._voice_code().encode(self.encoder.states(waveform))

    def scaled(self, waveform: Tensor) -> Tensor:
        """(B, T) to the level of `config.loudness_dbfs` without offset, silence unchanged.

        It is the RMS level; where more than half of a clip is silence, that of its speech.
        """
        if self.config.loudness_dbfs is None:
            return waveform
        factor, offset = level_change(waveform, self.config)
        return ((waveform - offset) * factor).to(waveform.dtype)

    def _encoded(self, waveform: Tensor) -> tuple[Tensor, Voice | None]:
        """Latents (B, D, L) of (B, L * hop_length), and the voice read off the same states."""
        if not self.has_voice:
            return self.encoder(waveform), None
        states = self.encoder.states(waveform)
        return self.encoder.to_latents(states), self._voice_code()(states)

    def _codes(self, waveform: Tensor, search: int) -> Tensor:
        """Codes (B, L) of (B, L * hop_length): the nearest, or with a search those it keeps."""
        if not search:
            return self.quantizer.encode(self.encoder(waveform))
        latents, voice = self._encoded(waveform)  # (B, D, L)
        codes = self.quantizer.encode(latents)
        given = {} if voice is None else {"voice": voice.vectors}
        # What is mostly silence is tried as it is decoded.
        decoded = self._decoded(codes, **given)
        silent = silent_rows(decoded, self.config)
        if silent:
            given["weights"] = torch.ones_like(codes, dtype=self.dtype)
            for row, weights in silent.items():
                given["weights"][row] = weights
            decoded = self._decoded(codes, **given)
        points = self.quantizer.normalize(latents).transpose(1, 2)
        log_mel = LogMel(self.config.mel).to(waveform.device)(waveform)
        return searched_codes(
            codes,
            points,
            self.quantizer.codebook,
            log_mel[..., : decoded.shape[-1]],
            decoded,
            partial(self._decoded, **given),
            search,
        )

    def _decoded(self, codes: Tensor, **given: Tensor) -> Tensor:
        """Log-mels (N * B, M, 4L) of codes (N * B, L), with what is given for B rows."""
        repeated = {
            name: each.repeat(len(codes) // len(each), *[1] * (each.ndim - 1))
            for name, each in given.items()
        }
        return self.decoder(self.quantizer.vectors(codes).to(self.dtype), **repeated).float()

    def voice_tokens(self, given: Any, rows: int = 1) -> Tensor | None:
        """Bring a voice, as `decode` takes it, to (rows, K) int64; None for a codec without one.

        Raises:
            ValueError: None for a codec with a voice code, some for one without, or tokens that are
                none of its own.
        """
        size = self.config.voice
        if self.has_voice:
            return voice_rows(given, rows, size.tokens, size.size, self.device)
        if given is not None:
            raise ValueError("expected no voice for a codec without a voice code, got one")
        return None

    def _voice_vectors(self, given: Any, rows: int) -> Tensor | None:
        """Vectors (rows, E, K) of the tokens of a voice; errors as of `voice_tokens`."""
        tokens = self.voice_tokens(given, rows)
        if tokens is None:
            return None
        with inference(self):
            return self._voice_code().vectors(tokens)

    def _voice_code(self) -> VoiceCode:
        if self.decoder.voice is None:
            raise ValueError("expected a codec with a voice code, got one without")
        return self.decoder.voice

    def _groups(self, code_lengths: Tensor, device: torch.device) -> list[list[int]]:
        """Row numbers that are computed together."""
        # A CPU gains nothing by batches, and alone a clip gets the same codes bit for bit.
        if device.type == "cpu":
            return [[row] for row in range(len(code_lengths))]
        groups: dict[int, list[int]] = {}
        for row, length in enumerate(code_lengths.tolist()):
            groups.setdefault(length, []).append(row)
        return list(groups.values())

    def _check_precision(self) -> None:
        encodes = next(self.encoder.parameters()).dtype
        got = encodes if encodes != torch.float32 else self.dtype
        if got not in DECODING.values():
            raise ValueError(
                f"expected a codec in float32, or in float16 or bfloat16 for decoding, got one in "
                f"{got}; convert it back"
            )

"""A codec without some of its parts: what each of them costs, as systems of a table of anchors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from codec import HHCodec
from codec.checks import one_of
from codec.interface.levels import level_change
from codec.interface.precision import inference
from codec.layers.vocos_modules import InverseSTFT
from codec.model.mel import LogMel
from eval.baselines.token_streams import fit_length
from eval.protocols import Recoded
from eval.sound import resampled

# The vocoder on the recording's own mel; encoder, decoder and vocoder without the codebook; the
# recording's own phases in place of the vocoder, for its own mel and for that of the codes.
MEL, LATENTS, MEL_OWN_PHASES, CODES_OWN_PHASES = STAGES = (
    "mel",
    "latents",
    "mel_own_phases",
    "codes_own_phases",
)
# Updates of the magnitudes sought behind a mel; 100 bring their log-mel within 0.002 of speech's.
UPDATES = 100
# Where a run keeps the codec that it has trained: the end of a path that names no codec.
RUN_MODEL = ("train_codec", "model")


class StageRecoder:
    """`eval.protocols.Recoder` of a codec that is cut short.

    Args:
        source: Name of a bundled codec, model folder or hub repository.
        stage: "mel": the recording's own log-mel through the vocoder, for what the vocoder alone
            costs. "latents": the encoder's latents, not quantised, through decoder and vocoder;
            the codec itself beside it tells what the codebook costs. "mel_own_phases" and
            "codes_own_phases": the magnitudes behind the recording's own log-mel, or behind that
            decoded of its codes, with the phases of the recording, which a vocoder has to guess.

    Raises:
        ValueError: Another stage.
    """

    bitrate: float | None = None

    def __init__(self, source: str, stage: str) -> None:
        one_of("stages", stage, STAGES)
        self.codec = HHCodec.from_pretrained(source)
        self.name = stage_name(source, stage)
        self.fingerprint = f"{self.codec.fingerprint} {stage}"
        self._stage = stage
        mel = self.codec.config.mel
        self._log_mel = LogMel(mel)
        self._inverse = InverseSTFT(mel.n_fft, mel.hop_length, mel.padding)
        if stage == LATENTS:
            # Without a codebook the quantizer standardises the latents and passes them on.
            self.codec.quantizer.initialized.fill_(False)
            self.codec.quantizer.clear_cache()

    def recode(self, waveform: np.ndarray, sample_rate: int) -> Recoded:
        """Send a waveform (T,) through the parts that are left."""
        rate = self.codec.sample_rate
        own = np.asarray(resampled(waveform, sample_rate, rate), dtype=np.float32)
        samples = torch.from_numpy(np.ascontiguousarray(own))[None]  # (1, T)
        with inference(self.codec):
            made = self.codec(samples) if self._stage == LATENTS else self._of_mel(samples)
        back = resampled(made[0].numpy(), rate, sample_rate)
        return Recoded(fit_length(back, len(waveform)), None)

    def _of_mel(self, samples: Tensor) -> Tensor:
        """(1, T) through a mel and what makes a waveform of it, at the codec's level and back."""
        length, scaled, factor = samples.shape[1], samples, None
        if self.codec.config.loudness_dbfs is not None:
            factor, offset = level_change(samples, self.codec.config)
            scaled = ((samples - offset) * factor).to(samples.dtype)
        padded = nn.functional.pad(scaled, (0, -length % self.codec.hop_length))
        frames = padded.shape[1] // self.codec.config.mel.hop_length
        if self._stage == CODES_OWN_PHASES:
            codes, _ = self.codec.encode(samples)
            log_mel = self.codec.decode_mel(codes, self.codec.encode_voice(samples))[..., :frames]
        else:
            log_mel = self._log_mel(padded)[..., :frames]
        made = self.codec.vocoder(log_mel) if self._stage == MEL else self._phased(log_mel, padded)
        made = made[:, :length]
        return made if factor is None else (made / factor).to(made.dtype)

    def _phased(self, log_mel: Tensor, waveform: Tensor) -> Tensor:
        """Give the magnitudes behind a log-mel (1, M, F) the phases of a waveform (1, T)."""
        spectrum = self._log_mel.spectrum(waveform)
        magnitudes = spread_mel(log_mel.exp(), self._log_mel.filterbank)
        # Frames centred on samples are one more than those of the codes.
        missing = spectrum.shape[-1] - magnitudes.shape[-1]
        magnitudes = nn.functional.pad(magnitudes, (0, missing))  # (1, bins, F)
        return self._inverse(torch.polar(magnitudes, spectrum.angle()))


def spread_mel(mel: Tensor, filters: Tensor) -> Tensor:
    """Find magnitudes (B, bins, F), none below 0, whose mel under filters (M, bins) is (B, M, F).

    By the multiplicative updates of Lee and Seung (2001) for the squared error, from magnitudes
    that are alike within a filter. Bins that no filter covers get 0.
    """
    covered = filters.sum(dim=0) > 0
    share = filters / filters.sum(dim=1, keepdim=True).clamp(min=1e-12)
    magnitudes = (share.T @ mel) * covered[:, None]
    wanted = filters.T @ mel
    for _ in range(UPDATES):
        magnitudes = magnitudes * wanted / (filters.T @ (filters @ magnitudes)).clamp(min=1e-12)
    return magnitudes


def system_name(name: str) -> str:
    """Name the folder and the row of a system: the last part of a path, a run's for its codec."""
    path = Path(name)
    if path.parts[-2:] == RUN_MODEL and len(path.parts) > len(RUN_MODEL):
        return path.parts[-3]
    return path.name or name  # "" and "." have no last part


def stage_name(source: str, stage: str) -> str:
    """Name the folder and the row of a codec that is cut short."""
    return f"{system_name(source)}_{stage}"

"""A codec without some of its parts: what each of them costs, as systems of a table of anchors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from codec import HHCodec
from codec.checks import one_of
from codec.interface.levels import level_change
from codec.interface.precision import inference
from codec.model.mel import LogMel
from eval.baselines.token_streams import fit_length
from eval.protocols import Recoded
from eval.sound import resampled

# The vocoder on the recording's own mel; encoder, decoder and vocoder without the codebook.
MEL, LATENTS = "mel", "latents"
STAGES = (MEL, LATENTS)
# Where a run keeps the codec that it has trained: the end of a path that names no codec.
RUN_MODEL = ("train_codec", "model")


class StageRecoder:
    """`eval.protocols.Recoder` of a codec that is cut short.

    Args:
        source: Name of a bundled codec, model folder or hub repository.
        stage: "mel": the recording's own log-mel through the vocoder, for what the vocoder alone
            costs. "latents": the encoder's latents, not quantised, through decoder and vocoder;
            the codec itself beside it tells what the codebook costs.

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
        self._log_mel = LogMel(self.codec.config.mel)
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
            made = self._vocoded(samples) if self._stage == MEL else self.codec(samples)
        back = resampled(made[0].numpy(), rate, sample_rate)
        return Recoded(fit_length(back, len(waveform)), None)

    def _vocoded(self, samples: torch.Tensor) -> torch.Tensor:
        """(1, T) through mel and vocoder, at the codec's level and back."""
        length, scaled, factor = samples.shape[1], samples, None
        if self.codec.config.loudness_dbfs is not None:
            factor, offset = level_change(samples, self.codec.config)
            scaled = ((samples - offset) * factor).to(samples.dtype)
        padded = nn.functional.pad(scaled, (0, -length % self.codec.hop_length))
        frames = padded.shape[1] // self.codec.config.mel.hop_length
        made = self.codec.vocoder(self._log_mel(padded)[..., :frames])[:, :length]
        return made if factor is None else (made / factor).to(made.dtype)


def system_name(name: str) -> str:
    """Name the folder and the row of a system: the last part of a path, a run's for its codec."""
    path = Path(name)
    if path.parts[-2:] == RUN_MODEL and len(path.parts) > len(RUN_MODEL):
        return path.parts[-3]
    return path.name or name  # "" and "." have no last part


def stage_name(source: str, stage: str) -> str:
    """Name the folder and the row of a codec that is cut short."""
    return f"{system_name(source)}_{stage}"

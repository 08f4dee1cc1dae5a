"""Whisper's audio encoder as a teacher of semantic distillation: states that tell words apart."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.interface.fingerprint import weights_digest
from codec.model.mel import mel_filterbank
from codec.model.whisper_encoder import INPUT_RATE, NUM_BANDS, WhisperEncoder

from .frame_grid import FrameGrid

SAMPLE_RATE, TRANSFORM = 16_000, 400  # Hz; samples of its window
HOP = SAMPLE_RATE // INPUT_RATE  # samples a frame of its input; two make a state
SHORTEST = 5  # states, 0.1 s


def teacher_precision(device: torch.device, *, bf16: bool) -> torch.autocast:
    """Autocast of a teacher, whatever the training's: none, or bfloat16 on a CUDA device."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16 and device.type == "cuda")


class WhisperTeacher:
    """Mean of the layers of a Whisper encoder, each state normalised to unit variance first.

    Rows of different lengths are computed apart, for attention sees a whole row. Unlike Whisper's
    own front end, rows are not padded to 30 s.

    Args:
        folder: Whisper in the transformers layout, such as whisper-tiny.en.
        bf16: Multiply in bfloat16 on a CUDA device.

    Raises:
        ValueError: No Whisper of 80 bands is there.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, folder: Path, *, bf16: bool = False) -> None:
        self.name, self.bf16 = str(folder), bf16
        self.model = WhisperEncoder.from_pretrained(folder)
        self.dim = self.model.dim
        # Frame n of the input is centred on sample n x HOP, state n on frame 2 n.
        self.grid = FrameGrid(INPUT_RATE / 2, 0.0)
        self.filters = mel_filterbank(SAMPLE_RATE, TRANSFORM, NUM_BANDS, "slaney")
        self._fingerprint = ""  # computed when it is asked for

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the weights and of what is made of their states."""
        if not self._fingerprint:
            about = "whisper, mean of normalised layers" + (" in bfloat16" if self.bf16 else "")
            self._fingerprint = weights_digest(about, self.model.state_dict())
        return self._fingerprint

    def num_frames(self, lengths: Tensor) -> Tensor:
        """One state every 20 ms begun and finished, none in clips under 0.1 s."""
        frames = lengths // (2 * HOP)
        return torch.where(frames >= SHORTEST, frames, 0)

    @torch.no_grad()
    def features(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """See `Teacher.features`."""
        self.model.to(waveform.device)
        counts = self.num_frames(lengths)
        frames = max(1, int(counts.max()))
        features = waveform.new_zeros(len(waveform), frames, self.dim, dtype=torch.float32)
        for count in counts[counts > 0].unique().tolist():
            rows = (counts == count).nonzero()[:, 0]
            with teacher_precision(waveform.device, bf16=False):  # spectra have no 16 bits
                mels = self._input(waveform[rows, : 2 * HOP * count].float())
            with teacher_precision(waveform.device, bf16=self.bf16):
                states = self.model(mels)
            normed = [F.layer_norm(layer.float(), layer.shape[-1:]) for layer in states]
            features[rows, :count] = torch.stack(normed).mean(dim=0)
        return features

    def _input(self, waveform: Tensor) -> Tensor:
        """(B, T) to Whisper's log-mels (B, 80, T / HOP), within 80 dB of each row's peak."""
        window = torch.hann_window(TRANSFORM, device=waveform.device)
        spectrum = torch.stft(waveform, TRANSFORM, HOP, window=window, return_complex=True)
        # The last frame is centred on the end, and is not one of Whisper's.
        powers = self.filters.to(waveform.device) @ spectrum[..., :-1].abs().square()
        powers = powers.clamp(min=1e-10).log10()
        return (torch.maximum(powers, powers.amax((1, 2), keepdim=True) - 8) + 4) / 4

"""Perceptual loss: distance of a frozen speech recogniser's states of decoded and recorded speech.

An L1 distance of mels averages what 304 bit/s leave open into a blur and brings no words back,
however long it trains. The states of a recogniser's encoder are near where speech is understood
alike, and their gradient asks the decoder for what words are made of. Comparing a speech model's
states of output and recording is the idea of https://arxiv.org/abs/2603.05887; here the model is
Whisper's encoder, and the gradient enters at the decoder's log-mel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.model.config import MelConfig
from codec.model.whisper_encoder import WhisperEncoder, WhisperInput

from .config import PerceptualConfig


class PerceptualLoss:
    """Distance of decoded from recorded log-mels in a Whisper encoder's states.

    The model is no submodule of the training: it has no part in checkpoints or optimizers.

    Args:
        config: Names the model.
        mel: Convention of the log-mels.

    Raises:
        ValueError: No model is named or none is there, or mels of another convention.
    """

    def __init__(self, config: PerceptualConfig, mel: MelConfig) -> None:
        self.to_input = WhisperInput(mel)
        self.encoder = WhisperEncoder.from_pretrained(config.model)

    def to(self, device: torch.device) -> PerceptualLoss:
        """Move the model, and return self."""
        self.to_input.to(device)
        self.encoder.to(device)
        return self

    def __call__(self, mel: Tensor, target: Tensor) -> Tensor:
        """Compare log-mels.

        Args:
            mel: (B, M, F) of the decoder, with gradient.
            target: (B, M, F) of the recordings.

        Returns:
            Scalar float32: 0 for equal states, about 1 for those of different speech.
        """
        states = self.states(mel, target)
        with torch.autocast(mel.device.type, enabled=False):
            return state_distance(*states)

    def states(self, mel: Tensor, target: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """States (B, N, D) of log-mels (B, M, F) after every layer: decoded, and recorded."""
        with torch.no_grad():
            features, peak = self.to_input(target)
            target_states = self.encoder(features)
        # The recording's peak is that of both, so that a difference in level counts.
        return self.encoder(self.to_input(mel, peak)[0]), target_states


def state_distance(states: list[Tensor], others: list[Tensor]) -> Tensor:
    """Mean square difference of layer-normalised states (B, N, D), averaged over the layers."""
    distances = []
    for pair in zip(states, others, strict=True):
        # zero mean and unit variance a state, in fp32
        one, other = (F.layer_norm(layer.float(), layer.shape[-1:]) for layer in pair)
        distances.append((one - other).square().mean())
    return torch.stack(distances).mean()

"""Operations of a step of the codec's training, counted on one crop by PyTorch's own counter.

Forward and backward of encoder, quantizer, decoder and vocoder are 3 times a forward pass. The
discriminators hear recording and result once (2 forward passes), give the generator a gradient (1)
and learn from both (4): 7. A HuBERT-base teacher hears 14 x 10^9 operations a second of audio (its
convolutions 5, its transformer 9). PyTorch's counter passes over LSTMs, so theirs are added.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from codec import CodecConfig, HHCodec
from codec.discriminators import Discriminators
from codec.phases import DiscriminatorConfig

TEACHER_OPERATIONS = 14e9  # a second of audio
GENERATOR_PASSES, DISCRIMINATOR_PASSES = 3, 7


@dataclass(frozen=True)
class CodecWork:
    """Operations of one crop.

    Attributes:
        generator: Of one forward pass of all four parts.
        discriminators: Of one forward pass.
        teacher: Of one pass.
        parameters: Of the codec, discriminators not counted.
        seconds: Of audio.
    """

    generator: float
    discriminators: float
    teacher: float
    parameters: int
    seconds: float

    @property
    def step(self) -> float:
        """Of a training step for this crop."""
        made = GENERATOR_PASSES * self.generator + self.teacher
        return made + DISCRIMINATOR_PASSES * self.discriminators


def codec_work(
    preset: str, discriminators: DiscriminatorConfig, crop_codes: int, *, teacher: bool
) -> CodecWork:
    """Count the operations of a preset.

    Args:
        preset: Of `CodecConfig`.
        discriminators: That judge it.
        crop_codes: Length of a crop, codes.
        teacher: Whether a HuBERT-base model is distilled from.

    Raises:
        ValueError: No preset of that name.
    """
    config = CodecConfig.preset(preset)
    codec = HHCodec(config).eval()
    waveform = 0.1 * torch.randn(1, crop_codes * config.hop_length)
    seconds = waveform.shape[1] / codec.sample_rate
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            latents = codec.encoder(waveform)
            codec.vocoder(codec.decoder(codec.quantizer.decode(codec.quantizer.encode(latents))))
        with FlopCounterMode(display=False) as judging:
            Discriminators(discriminators)(waveform)
    recurrent = sum(_lstm(m, crop_codes) for m in codec.modules() if isinstance(m, nn.LSTM))
    return CodecWork(
        generator=counter.get_total_flops() + recurrent,
        discriminators=judging.get_total_flops(),
        teacher=TEACHER_OPERATIONS * seconds if teacher else 0.0,
        parameters=sum(p.numel() for p in codec.parameters()),
        seconds=seconds,
    )


def _lstm(module: nn.LSTM, frames: int) -> float:
    """Two operations a weight and frame."""
    weights = [p for name, p in module.named_parameters() if name.startswith("weight")]
    return 2.0 * frames * sum(weight.numel() for weight in weights)

"""Operations, memory and seconds of a step of the codec's training on R devices (DDP).

Operations are counted on one crop by PyTorch's own counter. Forward and backward of encoder,
quantizer, decoder and vocoder are 3 times a forward pass. The discriminators hear recording and
result once (2 forward passes), give the generator a gradient (1) and learn from both (4): 7. A
HuBERT-base teacher hears 14 x 10^9 operations a second of audio (its convolutions 5, its
transformer 9). PyTorch's counter passes over LSTMs, so theirs are added.

Memory of a device, bytes, with G parameters of the codec, C of its discriminators, b = crops of a
step / R:

    weights 4 (G + C), gradients 4 (G + C), AdamW's two averages 8 (G + C); averaged weights 4 G; a
        HuBERT-base teacher 4 x 94.4 million; with R > 1 one flat buffer, 4 max(G, C), in which a
        player's gradients are averaged;
    activations: what autograd keeps of generator and discriminators at once, counted on a CPU for
        crops of 8 and of 16 codes: a part that is always there (the effective codebooks, weights
        with weight norm, with bfloat16 their rounded copies) and one in proportion to b and to the
        length of a crop.

Time of a step = operations x crops / (R x peak x `efficiency`), plus, through memory, AdamW's 28
bytes a parameter and 12 a weight that is averaged, plus with R > 1 the gradients' way into the flat
buffer and back, 16 bytes a parameter, and a ring's 2 (R - 1) / R x 4 (G + C) bytes over the link.
That way is added whole: gradients are exchanged after the backward passes (`codec.distributed`),
not beside them. Reading, validation and checkpoints are not counted. Between nodes the link is
`node_gbs` of a device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from codec import CodecConfig, HHCodec
from codec.training.adversarial import adversarial_losses
from codec.training.config import DiscriminatorConfig, LossWeights, PhaseConfig, check_shares
from codec.training.discriminators import Discriminators
from codec.training.forward import forward_pass, supervised_losses
from codec.training.losses import MultiScaleMel

from .accelerators import Accelerator
from .lm_cost import AVERAGES, GRADIENT, OPTIMIZER_BYTES, WEIGHT

TEACHER_OPERATIONS = 14e9  # a second of audio
TEACHER_PARAMETERS = 94_400_000
GENERATOR_PASSES, DISCRIMINATOR_PASSES = 3, 7
# An average and a weight are read, an average is written; gradients are read and written twice.
AVERAGED_BYTES, COPIED_BYTES = 12, 16
COUNTED_CODES = 8, 16


@dataclass(frozen=True)
class CodecWork:
    """Operations of one crop.

    Attributes:
        generator: Of one forward pass of all four parts.
        discriminators: Of one forward pass.
        teacher: Of one pass.
        parameters: Of the codec, discriminators not counted.
        critics: Parameters of the discriminators.
        seconds: Of audio.
    """

    generator: float
    discriminators: float
    teacher: float
    parameters: int
    critics: int
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
    codec, critics = HHCodec(config).eval(), Discriminators(discriminators)
    waveform = 0.1 * torch.randn(1, crop_codes * config.hop_length)
    seconds = waveform.shape[1] / codec.sample_rate
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            latents = codec.encoder(waveform)
            codec.vocoder(codec.decoder(codec.quantizer.decode(codec.quantizer.encode(latents))))
        with FlopCounterMode(display=False) as judging:
            critics(waveform)
    recurrent = sum(_lstm(m, crop_codes) for m in codec.modules() if isinstance(m, nn.LSTM))
    return CodecWork(
        generator=counter.get_total_flops() + recurrent,
        discriminators=judging.get_total_flops(),
        teacher=TEACHER_OPERATIONS * seconds if teacher else 0.0,
        parameters=sum(p.numel() for p in codec.parameters()),
        critics=sum(p.numel() for p in critics.parameters()),
        seconds=seconds,
    )


@dataclass(frozen=True)
class CodecMemory:
    """What a device holds at its fullest, bytes.

    Attributes:
        weights: Of codec and discriminators.
        gradients: Of both.
        optimizer: AdamW's averages of both.
        averages: Of the codec's weights.
        teacher: Its weights.
        exchange: The buffer of gradients; 0 on one device.
        activations: Kept for the backward passes.
    """

    weights: float
    gradients: float
    optimizer: float
    averages: float
    teacher: float
    exchange: float
    activations: float

    @property
    def total(self) -> float:
        """All of it, bytes."""
        return sum(vars(self).values())


def codec_memory(
    work: CodecWork, kept: tuple[float, float], crops: int, crop_codes: int, devices: int
) -> CodecMemory:
    """Memory of a device.

    Args:
        work: Counted with the discriminators that train.
        kept: Of `kept_bytes`.
        crops: Of a step, over all devices.
        crop_codes: Length of a crop, codes.
        devices: R.

    Raises:
        ValueError: The crops do not divide into equal shares.
    """
    check_shares("codec", crops, devices)
    both, (always, a_code) = work.parameters + work.critics, kept
    return CodecMemory(
        weights=WEIGHT * both,
        gradients=GRADIENT * both,
        optimizer=AVERAGES * both,
        averages=WEIGHT * work.parameters,
        teacher=WEIGHT * TEACHER_PARAMETERS if work.teacher else 0.0,
        exchange=GRADIENT * max(work.parameters, work.critics) if devices > 1 else 0.0,
        activations=always + a_code * crop_codes * crops / devices,
    )


def codec_step_seconds(
    work: CodecWork,
    crops: int,
    devices: int,
    device: Accelerator,
    *,
    efficiency: float,
    link_gbs: float,
) -> float:
    """Seconds of a training step.

    Args:
        work: Of one crop.
        crops: Of a step, over all devices.
        devices: R.
        device: Of the table.
        efficiency: Share of the peak that the products reach.
        link_gbs: From a device to the others, 10^9 bytes a second, one direction.
    """
    both = work.parameters + work.critics
    compute = work.step * crops / (devices * device.tflops * 1e12 * efficiency)
    through = OPTIMIZER_BYTES * both + AVERAGED_BYTES * work.parameters
    if devices > 1:
        through += COPIED_BYTES * both
    moved = 2 * (devices - 1) / devices * GRADIENT * both
    return compute + through / (device.bandwidth_gbs * 1e9) + moved / (link_gbs * 1e9)


def kept_bytes(
    preset: str, discriminators: DiscriminatorConfig, *, bf16: bool
) -> tuple[float, float]:
    """What autograd keeps of a step for its backward passes.

    Args:
        preset: Of `CodecConfig`.
        discriminators: That judge it.
        bf16: Products under bfloat16 autocast.

    Returns:
        Bytes that are always there, and bytes a code of a crop.
    """
    codec = HHCodec(CodecConfig.preset(preset))
    codec.quantizer.enable()
    critics = Discriminators(discriminators)
    short, long = (count_kept(codec, critics, codes, bf16=bf16) for codes in COUNTED_CODES)
    a_code = (long - short) / (COUNTED_CODES[1] - COUNTED_CODES[0])
    return short - a_code * COUNTED_CODES[0], a_code


def count_kept(codec: HHCodec, critics: Discriminators, codes: int, *, bf16: bool) -> int:
    """Bytes that autograd keeps of a step on one crop of `codes` codes, parameters not counted."""
    phase = PhaseConfig(weights=LossWeights(1.0, 1.0, 1.0, 1.0, 1.0))
    waveform = 0.1 * torch.randn(1, codes * codec.hop_length)
    own = {p.untyped_storage().data_ptr() for m in (codec, critics) for p in m.parameters()}
    storages: dict[int, tuple[int, Tensor]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes(), tensor  # alive, so no place is reused
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        outputs = forward_pass(codec.train(), phase, waveform, 0.0)
        losses = supervised_losses(phase, outputs, waveform, MultiScaleMel(codec.sample_rate))
        assert outputs.waveform is not None
        adversarial = adversarial_losses(critics, waveform, outputs.waveform)
    del losses, adversarial
    return sum(size for size, _ in storages.values())


def _lstm(module: nn.LSTM, frames: int) -> float:
    """Two operations a weight and frame."""
    weights = [p for name, p in module.named_parameters() if name.startswith("weight")]
    return 2.0 * frames * sum(weight.numel() for weight in weights)

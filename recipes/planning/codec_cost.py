"""Operations, memory and seconds of a training step of the codec on R devices (DDP).

Operations are counted on one crop by PyTorch's own counter. Forward and backward of encoder,
quantizer, decoder and vocoder are 3 times a forward pass. The discriminators make 7: a forward pass
on recording and result each (2), the gradient for the generator (1) and their own backward passes
on both (4). A HuBERT-base teacher makes 14 x 10^9 operations a second of audio (its convolutions 5,
its transformer 9). PyTorch's counter passes over LSTMs, so theirs are added.

Memory of a device, bytes, with G parameters of the codec, C of its discriminators, b = crops of a
step / R:

    weights 4 (G + C), gradients 4 (G + C), AdamW's two averages 8 (G + C); averaged weights 4 G; a
        HuBERT-base teacher 4 x 94.4 million; with R > 1 one flat buffer, 4 max(G, C), in which the
        gradients of codec or discriminators are averaged;
    activations: what autograd keeps of generator and discriminators at once, counted on a CPU for
        crops of 8 and of 16 codes: a part that is always there (the effective codebooks, weights
        with weight norm, with bfloat16 their rounded copies) and one in proportion to b and to the
        length of a crop.

Time of a step = operations x crops / (R x peak x `efficiency`), plus, through memory, AdamW's 28
bytes a parameter and 12 a weight that is averaged, plus with R > 1 the copies of gradients into the
flat buffer and back, 16 bytes a parameter, and a ring's 2 (R - 1) / R x 4 (G + C) bytes over the
link. The exchange is added whole: it follows the backward passes (`codec.distributed`) and does not
overlap them. Validation and checkpoints are not counted; reading goes on beside it, in as many
processes as `loader_workers` says. Between nodes the link is
`node_gbs` of a device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.flop_counter import FlopCounterMode

from codec import CodecConfig, HHCodec
from codec.checks import check_shares
from codec.training.adversarial import adversarial_losses
from codec.training.config import DiscriminatorConfig, LossWeights, PhaseConfig
from codec.training.discriminators import Discriminators
from codec.training.forward import forward_pass, supervised_losses
from codec.training.losses import MultiScaleMel
from codec.weights import ZerosAsFirstWeights

from .accelerators import Accelerator
from .lm_cost import AVERAGES, GRADIENT, OPTIMIZER_BYTES, WEIGHT

TEACHER_OPERATIONS = 14e9  # a second of audio
TEACHER_PARAMETERS = 94_400_000
GENERATOR_PASSES, DISCRIMINATOR_PASSES = 3, 7
# An average and a weight are read, an average is written; gradients are read and written twice.
AVERAGED_BYTES, COPIED_BYTES = 12, 16
COUNTED_CODES = 8, 16  # lengths of the two crops whose activations are counted


@dataclass(frozen=True)
class CodecWork:
    """Operations of one crop."""

    generator: float  # of one forward pass of all four parts
    discriminators: float  # of one forward pass
    teacher: float  # of one forward pass
    parameters: int  # of the codec, discriminators not counted
    discriminator_parameters: int  # of the discriminators
    seconds: float  # of audio

    @property
    def step(self) -> float:
        """Operations of a training step for this crop."""
        generator = GENERATOR_PASSES * self.generator + self.teacher
        return generator + DISCRIMINATOR_PASSES * self.discriminators

    @property
    def trained_parameters(self) -> int:
        """G + C, parameters of codec and discriminators."""
        return self.parameters + self.discriminator_parameters


def planned_networks(
    preset: str, discriminators: DiscriminatorConfig
) -> tuple[HHCodec, Discriminators]:
    """Make the networks that are counted, with zeros where their weights would be drawn.

    Args:
        preset: Of `CodecConfig`.
        discriminators: Sizes.

    Raises:
        ValueError: No preset of that name.
    """
    # Draws are a fourth of the time of a plan, and what is counted does not depend on them.
    with ZerosAsFirstWeights():
        return HHCodec(CodecConfig.preset(preset)), Discriminators(discriminators)


def codec_work(
    codec: HHCodec, networks: Discriminators, crop_codes: int, *, teacher: bool
) -> CodecWork:
    """Count the operations of a codec and its discriminators.

    Args:
        codec: Left in evaluation mode.
        networks: The discriminators.
        crop_codes: Length of a crop, codes.
        teacher: Whether a HuBERT-base model is distilled from.
    """
    codec.eval()
    waveform = 0.1 * torch.randn(1, crop_codes * codec.hop_length)
    seconds = waveform.shape[1] / codec.sample_rate
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            latents = codec.encoder(waveform)
            quantized, voice = codec.quantizer.decode(codec.quantizer.encode(latents)), None
            if codec.decoder.voice is not None:
                # Read off another crop, as training does.
                voice = codec.decoder.voice(codec.encoder.states(waveform)).vectors
            codec.vocoder(codec.decoder(quantized, voice=voice))
        with FlopCounterMode(display=False) as discriminator_counter:
            networks(waveform)
    # Two operations a weight and frame of the LSTMs, which the counter leaves out.
    recurrent = sum(
        2.0 * crop_codes * parameter.numel()
        for module in codec.modules()
        if isinstance(module, nn.LSTM)
        for name, parameter in module.named_parameters()
        if name.startswith("weight")
    )
    return CodecWork(
        generator=counter.get_total_flops() + recurrent,
        discriminators=discriminator_counter.get_total_flops(),
        teacher=TEACHER_OPERATIONS * seconds if teacher else 0.0,
        parameters=sum(p.numel() for p in codec.parameters()),
        discriminator_parameters=sum(p.numel() for p in networks.parameters()),
        seconds=seconds,
    )


@dataclass(frozen=True)
class CodecMemory:
    """Peak memory of a device, bytes."""

    weights: float  # of codec and discriminators
    gradients: float  # of both
    optimizer: float  # AdamW's averages of both
    averages: float  # moving averages of the codec's weights
    teacher: float  # its weights
    exchange: float  # the buffer of gradients; 0 on one device
    activations: float  # kept for the backward passes

    @property
    def total(self) -> float:
        """All of it, bytes."""
        return sum(vars(self).values())


def codec_memory(
    work: CodecWork, kept: tuple[float, float], crops: int, crop_codes: int, devices: int
) -> CodecMemory:
    """Compute the peak memory of a device.

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
    both, (always, a_code) = work.trained_parameters, kept
    return CodecMemory(
        weights=WEIGHT * both,
        gradients=GRADIENT * both,
        optimizer=AVERAGES * both,
        averages=WEIGHT * work.parameters,
        teacher=WEIGHT * TEACHER_PARAMETERS if work.teacher else 0.0,
        exchange=GRADIENT * max(work.parameters, work.discriminator_parameters)
        if devices > 1
        else 0.0,
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
    """Compute the seconds of a training step.

    Args:
        work: Of one crop.
        crops: Of a step, over all devices.
        devices: R.
        device: Of the table.
        efficiency: Share of the peak that the products reach.
        link_gbs: From a device to the others, 10^9 bytes a second, one direction.
    """
    both = work.trained_parameters
    compute = work.step * crops / (devices * device.tflops * 1e12 * efficiency)
    through = OPTIMIZER_BYTES * both + AVERAGED_BYTES * work.parameters
    if devices > 1:
        through += COPIED_BYTES * both
    moved = 2 * (devices - 1) / devices * GRADIENT * both
    return compute + through / (device.bandwidth_gbs * 1e9) + moved / (link_gbs * 1e9)


def loader_workers(work: CodecWork, crops: int, devices: int, seconds: float, rate: float) -> int:
    """Count the processes that read ahead for a device so that it never waits, with half to spare.

    Args:
        work: Of one crop.
        crops: Of a step, over all devices.
        devices: R.
        seconds: Of a step.
        rate: Seconds of audio that a process makes a second.
    """
    return math.ceil(1.5 * crops * work.seconds / devices / seconds / rate)


def kept_bytes(codec: HHCodec, networks: Discriminators, *, bf16: bool) -> tuple[float, float]:
    """Estimate the bytes that autograd keeps of a step for its backward passes.

    Args:
        codec: Left in training mode, with its quantizer on.
        networks: The discriminators.
        bf16: Products under bfloat16 autocast.

    Returns:
        Bytes that are always there, and bytes a code of a crop.
    """
    codec.quantizer.enable()
    # Two lengths give the line through them: a constant part and a part per code.
    short, long = (count_kept(codec, networks, codes, bf16=bf16) for codes in COUNTED_CODES)
    a_code = (long - short) / (COUNTED_CODES[1] - COUNTED_CODES[0])
    return short - a_code * COUNTED_CODES[0], a_code


def count_kept(codec: HHCodec, discriminators: Discriminators, codes: int, *, bf16: bool) -> int:
    """Count bytes that autograd keeps of a step on a crop of `codes` codes, without parameters."""
    phase = PhaseConfig(weights=LossWeights(1.0, 1.0, 1.0, 1.0, 1.0))
    waveform = 0.1 * torch.randn(1, codes * codec.hop_length)
    own = {p.untyped_storage().data_ptr() for m in (codec, discriminators) for p in m.parameters()}
    # No backward pass follows, so nothing is kept: a weak reference names a storage, whose name is
    # not given again, and leaves its bytes free.
    storages: dict[int, tuple[int, StorageWeakRef]] = {}

    def count(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)
        if storage.data_ptr() not in own and reference.cdata not in storages:
            storages[reference.cdata] = storage.nbytes(), reference

    with (
        torch.autograd.graph.saved_tensors_hooks(count, lambda nothing: nothing),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        outputs = forward_pass(codec.train(), phase, waveform, 0.0)
        losses = supervised_losses(phase, outputs, waveform, MultiScaleMel(codec.sample_rate))
        assert outputs.waveform is not None
        adversarial = adversarial_losses(discriminators, waveform, outputs.waveform)
    del losses, adversarial
    return sum(size for size, _ in storages.values())

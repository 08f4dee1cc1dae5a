"""Log-mel to waveform: Vocos, Vocos with a harmonic source, or BigVGAN-v2."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from codec.files import replaced_files, write_text
from codec.import_shims import import_bigvgan
from codec.layers.vocos_modules import ISTFTHead, VocosBackbone
from codec.layers.weight_norm import remove_weight_norm, weight_normed
from codec.weights import bounded_build, check_finite, save_tensors

from .config import CodecConfigError, MelConfig, VocoderConfig
from .harmonic_vocoder import HarmonicGenerator
from .mel import LogMel
from .vocoder_weights import read_vocoder


class Vocoder(nn.Module):
    """Log-mels of one convention to waveforms, differentiable.

    "vocos" (https://arxiv.org/abs/2306.00814) is a ConvNeXt backbone at the mel rate and an
    inverse-STFT head; "harmonic" is that backbone as a filter of pulses and noise
    (`codec.model.harmonic_vocoder`); "bigvgan" (https://arxiv.org/abs/2206.04658, second version)
    upsamples by transposed convolutions and anti-aliased periodic activations.

    Args:
        mel: The convention, which the vocoder owns: `check_mel` refuses another.
        config: Kind and sizes.

    Raises:
        CodecConfigError: Sizes that do not fit the convention.
        ImportError: The package of this kind is not installed.
    """

    def __init__(self, mel: MelConfig, config: VocoderConfig) -> None:
        super().__init__()
        config.check_mel(mel)
        self.config, self.mel_config = config, mel
        self.mel = LogMel(mel)
        self.generator: nn.Module | None = None  # of what is not Vocos as published
        if config.kind == "bigvgan":
            self.generator = _bigvgan(mel, config)
        elif config.kind == "harmonic":
            self.generator = HarmonicGenerator(mel, config)
        else:
            size = config.dim, config.intermediate_dim, config.num_layers
            self.backbone = VocosBackbone(mel.n_mels, *size)
            self.head = ISTFTHead(config.dim, mel.n_fft, mel.hop_length, mel.padding)

    @property
    def is_folded(self) -> bool:
        """True if weight norm was removed, after which the vocoder only infers."""
        return self.config.kind == "bigvgan" and not weight_normed(self)

    def check_mel(self, convention: MelConfig) -> None:
        """Refuse log-mels of another convention than this vocoder was built for.

        Raises:
            ValueError: Naming both conventions.
        """
        if convention != self.mel_config:
            raise ValueError(
                f"the {self.config.kind} vocoder expects mels of {self.mel_config} "
                f"({self.mel_config.fingerprint}), got {convention} ({convention.fingerprint})"
            )

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel to waveform.

        Args:
            mel: (B, M, F) in the convention of `mel_config`; F = T / hop_length for both
                paddings ("center" repeats the last frame, which its inverse needs).

        Returns:
            (B, F * hop_length) float32: about [-1, 1]; of "bigvgan" clamped to
            [-1, 1] unless a gradient goes through it, which the clamp would stop.
        """
        if isinstance(self.generator, HarmonicGenerator):
            return self.generator(mel)
        if self.config.kind == "bigvgan":
            waveform = _bigvgan_waveform(self.generator, mel).float()
            # a clamp would leave samples past full scale without a gradient
            return waveform if waveform.requires_grad else waveform.clamp(-1.0, 1.0)
        # F frames cover F - 1 hops of an inverse transform that is centred on samples
        if self.mel_config.padding == "center":
            mel = torch.cat([mel, mel[..., -1:]], dim=-1)
        hidden = self.backbone(mel)  # (B, F, D)
        # the inverse transform needs fp32; exp() of the head overflows in half precision
        with torch.autocast(mel.device.type, enabled=False):
            return self.head(hidden.float())

    def pitch(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the pitch of a mel (B, M, F), with gradient; only a "harmonic" vocoder can.

        Returns:
            Octaves over 1 Hz and the logit of voicing, (B, F) float32 each.

        Raises:
            ValueError: A vocoder of another kind.
        """
        if not isinstance(self.generator, HarmonicGenerator):
            raise ValueError(f"expected a harmonic vocoder, got a {self.config.kind} one")
        return self.generator.pitch(mel)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.yaml` and `model.safetensors`, which appear together.

        Raises:
            ValueError: The vocoder is folded.
        """
        if self.is_folded:
            raise ValueError("expected a vocoder with weight norm, got a folded one: load it "
                             "with fold=False to save it")  # fmt: skip
        values = {"mel": asdict(self.mel_config), "vocoder": asdict(self.config)}
        text = yaml.safe_dump(json.loads(json.dumps(values)), sort_keys=False)
        tensors = {name: value.contiguous() for name, value in self.state_dict().items()}
        with replaced_files(folder, "model.safetensors") as partial:
            write_text(partial / "config.yaml", text)
            save_tensors(tensors, partial / "model.safetensors")

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], *, fold: bool = True) -> Vocoder:
        """Load a vocoder in eval mode, in fp32.

        Args:
            source: A folder of `save_pretrained`, of a codec or of published weights (Vocos:
                config.yaml + pytorch_model.bin; BigVGAN-v2: config.json + bigvgan_generator.pt),
                a file in such a folder, or a hub repository that holds one, such as
                "charactr/vocos-mel-24khz" or "nvidia/bigvgan_v2_24khz_100band_256x".
            fold: Fold weight norm for inference; False keeps it for training.

        Raises:
            CodecConfigError: Nothing is there, or not a vocoder of these kinds.
            ImportError: The package of its kind is not installed.
        """
        mel, config, tensors = read_vocoder(source)
        check_finite(source, tensors, error=CodecConfigError)
        with bounded_build(source, tensors, error=CodecConfigError):
            vocoder = cls(mel, config)
        try:
            vocoder.load_state_dict(tensors)
        except RuntimeError as error:
            raise CodecConfigError(f"{source}: weights do not fit the config; {error}") from error
        if fold:
            remove_weight_norm(vocoder)
        return vocoder.eval()


def _bigvgan(mel: MelConfig, config: VocoderConfig) -> nn.Module:
    """BigVGAN-v2 at the given sizes, with weight norm."""
    source = import_bigvgan()
    settings = source.AttrDict(
        num_mels=mel.n_mels,
        upsample_rates=list(config.ratios),
        upsample_kernel_sizes=[2 * ratio for ratio in config.ratios],
        upsample_initial_channel=config.channels,
        resblock="1",
        resblock_kernel_sizes=list(config.kernels),
        resblock_dilation_sizes=[[1, 3, 5]] * len(config.kernels),
        activation="snakebeta",
        snake_logscale=True,
        use_bias_at_final=False,
        use_tanh_at_final=False,
    )
    return source.BigVGAN(settings)


def _bigvgan_waveform(generator: Any, mel: Tensor) -> Tensor:
    """Run BigVGAN up to its last convolution: (B, M, F) to (B, T), not clamped.

    Every level upsamples and averages its residual blocks, which differ in kernel size.
    """
    x = generator.conv_pre(mel.to(next(generator.parameters()).dtype))
    blocks = list(generator.resblocks)
    per_level = len(blocks) // len(generator.ups)
    for level, upsample in enumerate(generator.ups):
        x = upsample[0](x)  # (B, C / 2, N * ratio)
        branches = blocks[level * per_level : (level + 1) * per_level]
        x = sum(block(x) for block in branches) / per_level
    return generator.conv_post(generator.activation_post(x))[:, 0]

"""What a training phase is: plain settings that recipes merge from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field

PARTS = ("encoder", "quantizer", "decoder", "vocoder")


@dataclass
class LossWeights:
    """Weight of every named loss term; a term of weight 0 is not computed."""

    mel: float = 0.0
    vq: float = 0.0
    waveform_mel: float = 0.0
    adversarial: float = 0.0
    feature_matching: float = 0.0


@dataclass
class DiscriminatorConfig:
    """Which discriminators judge the waveform.

    Attributes:
        periods: of the multi-period discriminators (8 M parameters each); none on a CPU.
        n_ffts: window lengths of the multi-resolution discriminators.
        channels: width of the multi-resolution discriminators; 32 in the package.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    n_ffts: tuple[int, ...] = (2048, 1024, 512)
    channels: int = 32


@dataclass
class PhaseConfig:
    """One phase of training.

    Attributes:
        name: names the phase's folder.
        train: the parts that train, of "encoder", "quantizer", "decoder", "vocoder".
        vocoder_input: "target" trains the vocoder on mels of recordings, "decoded" on the
            decoder's.
        steps: generator steps.
        batch_size: crops a step.
        crop_codes: length of a crop in codes.
        speed: training crops are played up to this share faster or slower, pitch included.
        learning_rate: peak of the warmup-and-cosine schedule.
        warmup_steps: linear warmup.
        weight_decay: of AdamW.
        betas: of AdamW.
        max_grad_norm: gradients are clipped to this norm, generator and discriminators apart.
        quantize_from: step at which the codebook is filled from data; before it latents pass
            unquantised.
        noise: largest standard deviation of the noise on unquantised latents; it grows from 0.
        adversarial_from: step from which the discriminators train and judge.
        weights: of the losses.
        discriminators: which ones; used when `weights.adversarial` is positive.
    """

    name: str = "codec"
    train: tuple[str, ...] = PARTS
    vocoder_input: str = "decoded"
    steps: int = 1000
    batch_size: int = 16
    crop_codes: int = 48
    speed: float = 0.0
    learning_rate: float = 5e-4
    warmup_steps: int = 100
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    max_grad_norm: float = 1.0
    quantize_from: int = 0
    noise: float = 0.5
    adversarial_from: int = 0
    weights: LossWeights = field(default_factory=LossWeights)
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)

    def check(self) -> PhaseConfig:
        """Return self when it can be trained.

        Raises:
            ValueError: naming the field, what was expected and what came.
        """
        unknown = [part for part in self.train if part not in PARTS]
        if unknown or not self.train:
            raise ValueError(f"phase {self.name}: expected parts of {PARTS}, got {self.train}")
        if self.vocoder_input not in ("target", "decoded"):
            raise ValueError(
                f"phase {self.name}: vocoder_input must be target or decoded, "
                f"got {self.vocoder_input!r}"
            )
        if min(self.steps, self.batch_size, self.crop_codes) < 1:
            raise ValueError(f"phase {self.name}: steps, batch_size, crop_codes must be positive")
        return self

    @property
    def uses_codec(self) -> bool:
        """Whether encoder, quantizer and decoder run at all."""
        return self.weights.mel > 0 or self.vocoder_input == "decoded"

    @property
    def uses_waveform(self) -> bool:
        """Whether the vocoder runs."""
        return self.weights.waveform_mel > 0 or self.weights.adversarial > 0


@dataclass
class FitConfig:
    """How a phase is run.

    Attributes:
        seed: of data, noise and initialisation.
        precision: Lightning's name, such as "32-true" or "bf16-mixed".
        accelerator: Lightning's name, such as "cpu" or "gpu".
        log_every: steps between lines of metrics.jsonl.
        validate_every: steps between validations.
        checkpoint_every: steps between checkpoints.
    """

    seed: int = 0
    precision: str = "32-true"
    accelerator: str = "cpu"
    log_every: int = 20
    validate_every: int = 200
    checkpoint_every: int = 200

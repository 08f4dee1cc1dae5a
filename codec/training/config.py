"""What a training phase is: plain settings that recipes merge from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field

from codec.distillation.config import PerceptualConfig, SemanticConfig

PARTS = ("encoder", "quantizer", "decoder", "vocoder")
SCHEDULES = ("cosine", "wsd")
STRATEGIES = ("auto", "ddp")


@dataclass
class LossWeights:
    """Weight of every named loss term; a term of weight 0 is not trained on.

    Attributes:
        mel: mean absolute difference of the decoder's log-mel and the recording's, nats.
        vq: codebook and commitment loss, summed over the quantizer's stages.
        waveform_mel: mean absolute difference of log-mels at several resolutions, nats.
        adversarial: hinge loss of the generator, averaged over the discriminators.
        feature_matching: mean absolute difference of the discriminators' feature maps.
        semantic: distance of the quantized latents from what a speech model hears.
        perceptual: distance of a frozen recogniser's states of the decoder's log-mel and the
            recording's, `codec.distillation.perceptual`.
        pitch: distance of a "harmonic" vocoder's pitch network from the pitch tracked in the
            recording, `codec.model.harmonic_vocoder.pitch_loss`. Only it trains that network.
    """

    mel: float = 0.0
    vq: float = 0.0
    waveform_mel: float = 0.0
    adversarial: float = 0.0
    feature_matching: float = 0.0
    semantic: float = 0.0
    perceptual: float = 0.0
    pitch: float = 0.0


@dataclass
class DiscriminatorConfig:
    """Which discriminators judge the waveform; an empty tuple leaves a kind out.

    Attributes:
        periods: of the multi-period discriminators (8 M parameters each); none on a CPU.
        n_ffts: window lengths of the multi-resolution discriminators of `vocos`, which see
            every clip at one peak level.
        channels: width of the multi-resolution discriminators; 32 in the package.
        band_n_ffts: window lengths of our multi-band discriminators, which see a clip's level.
        band_channels: their width.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    n_ffts: tuple[int, ...] = (2048, 1024, 512)
    channels: int = 32
    band_n_ffts: tuple[int, ...] = ()
    band_channels: int = 32


@dataclass
class PhaseConfig:
    """One phase of training.

    Attributes:
        name: names the phase's folder.
        train: the parts that train, of "encoder", "quantizer", "decoder", "vocoder".
        vocoder_input: "target" trains the vocoder on mels of recordings, "decoded" on the
            decoder's.
        steps: generator steps.
        batch_size: crops a step, over all devices.
        crop_codes: length of a crop in codes.
        speed: training crops are played up to this share faster or slower, pitch included.
        learning_rate: peak of the generator's schedule.
        discriminator_learning_rate: peak of the discriminators'; null for the generator's.
        part_rates: multiples of `learning_rate` by part, such as {vocoder: 0.25}; others 1.
        schedule: after the warmup, "cosine" falls to a hundredth of the peak at the last step;
            "wsd" stays at the peak and falls linearly over the last `decay_share` of the steps.
        decay_share: see `schedule`.
        warmup_steps: linear warmup.
        weight_decay: of AdamW.
        betas: of AdamW.
        max_grad_norm: gradients are clipped to this norm, generator and discriminators apart.
        ema_decay: of the averaged weights that are validated and exported; 0 for none.
        quantize_from: step at which the codebook is filled; before it latents pass unquantised.
        codebook_start: "data" fills the codebook from latents, "random" leaves codebook and
            transform as they were drawn, which is the reference's start and collapses.
        noise: largest standard deviation of the noise on unquantised latents; it grows from 0.
        adversarial_from: step from which the discriminators train and judge.
        weights: of the losses.
        discriminators: which ones; used when `weights` has an adversarial or feature-matching
            part.
        semantic: the teacher; used when `weights.semantic` is positive.
        perceptual: the recogniser; used when `weights.perceptual` is positive.
    """

    name: str = "codec"
    train: tuple[str, ...] = PARTS
    vocoder_input: str = "decoded"
    steps: int = 1000
    batch_size: int = 16
    crop_codes: int = 48
    speed: float = 0.0
    learning_rate: float = 5e-4
    discriminator_learning_rate: float | None = None
    part_rates: dict[str, float] = field(default_factory=dict)
    schedule: str = "cosine"
    decay_share: float = 0.2
    warmup_steps: int = 100
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    max_grad_norm: float = 1.0
    ema_decay: float = 0.0
    quantize_from: int = 0
    codebook_start: str = "data"
    noise: float = 0.5
    adversarial_from: int = 0
    weights: LossWeights = field(default_factory=LossWeights)
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    semantic: SemanticConfig = field(default_factory=SemanticConfig)
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)

    def check(self) -> PhaseConfig:
        """Return self when it can be trained.

        Raises:
            ValueError: naming the field, what was expected and what came.
        """
        parts_known = bool(self.train) and set(self.train) <= set(PARTS)
        critics = self.discriminators
        judges = (*critics.periods, *critics.n_ffts, *critics.band_n_ffts)
        taught = self.weights.semantic <= 0 or bool(self.semantic.teacher)
        counts = (self.steps, self.batch_size, self.crop_codes)
        checks = [
            (parts_known, "train", f"parts of {PARTS}", self.train),
            (
                set(self.part_rates) <= set(PARTS),
                "part_rates",
                f"parts of {PARTS}",
                [*self.part_rates],
            ),
            (
                self.vocoder_input in ("target", "decoded"),
                "vocoder_input",
                "target or decoded",
                self.vocoder_input,
            ),
            (min(counts) >= 1, "steps, batch_size, crop_codes", "positive numbers", counts),
            (self.schedule in SCHEDULES, "schedule", f"one of {SCHEDULES}", self.schedule),
            (0 < self.decay_share <= 1, "decay_share", "a share in (0, 1]", self.decay_share),
            (0 <= self.ema_decay < 1, "ema_decay", "a number in [0, 1)", self.ema_decay),
            (
                self.codebook_start in ("data", "random"),
                "codebook_start",
                "data or random",
                self.codebook_start,
            ),
            (judges or not self.uses_discriminators, "discriminators", "at least one", judges),
            (
                taught,
                "semantic.teacher",
                "a teacher for weights.semantic > 0",
                self.semantic.teacher,
            ),
            (
                self.weights.perceptual <= 0 or bool(self.perceptual.model),
                "perceptual.model",
                "a folder for weights.perceptual > 0",
                self.perceptual.model,
            ),
        ]
        for passed, name, expected, got in checks:
            if not passed:
                raise ValueError(f"phase {self.name}: {name}: expected {expected}, got {got!r}")
        self.semantic.check()
        return self

    @property
    def uses_codec(self) -> bool:
        """Whether encoder, quantizer and decoder run at all."""
        weights = self.weights
        wanted = max(weights.mel, weights.vq, weights.semantic, weights.perceptual) > 0
        return wanted or self.vocoder_input == "decoded"

    @property
    def uses_waveform(self) -> bool:
        """Whether the vocoder runs."""
        return max(self.weights.waveform_mel, self.weights.pitch) > 0 or self.uses_discriminators

    @property
    def uses_discriminators(self) -> bool:
        """Whether the discriminators train and judge, from `adversarial_from` on."""
        return max(self.weights.adversarial, self.weights.feature_matching) > 0


@dataclass
class FitConfig:
    """How a phase is run.

    Attributes:
        seed: of data, noise and initialisation.
        precision: Lightning's name, such as "32-true" or "bf16-mixed".
        accelerator: Lightning's name, such as "cpu" or "gpu".
        devices: of each node; more than one share the crops of every step.
        num_nodes: machines that train together.
        strategy: "ddp", the whole model on every device; "auto" is that, or one device.
        log_every: steps between lines of metrics.jsonl.
        validate_every: steps between validations.
        checkpoint_every: steps between checkpoints.
        num_workers: processes that read training crops ahead; 0 reads when a step asks. They
            change no batch.
        balance_every: steps between reports of every loss term's gradient; 0 for none.
        tensorboard: also write curves, mel pictures and audio for TensorBoard (extra `train`).
        critics_from: folder with the training.safetensors of a release, whose discriminators a
            phase begins with; empty for new ones. What it does not have is warned of.
        earlier_phases: folders of earlier phases of the same run, the latest first, whose
            discriminators a phase goes on with before it asks `critics_from`.
    """

    seed: int = 0
    precision: str = "32-true"
    accelerator: str = "cpu"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    log_every: int = 20
    validate_every: int = 200
    checkpoint_every: int = 200
    num_workers: int = 0
    balance_every: int = 0
    tensorboard: bool = False
    critics_from: str = ""
    earlier_phases: tuple[str, ...] = ()


def check_shares(what: str, batch_size: int, processes: int) -> None:
    """Refuse a batch that does not divide into equal shares.

    Args:
        what: whose batch, for the message.
        batch_size: crops.
        processes: R.

    Raises:
        ValueError: naming `what` and both numbers.
    """
    if batch_size % processes:
        raise ValueError(
            f"{what}: batch_size: expected a multiple of {processes} processes (devices x "
            f"num_nodes), got {batch_size}"
        )

"""Configuration of codec training, readable without torch.

The classes are not frozen, because recipes merge YAML into them with OmegaConf, which takes frozen
ones for read-only. Each checks itself when it is built: `ValueError` names the field, what was
expected and what came.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from codec.checks import LARGEST, above, all_finite, count, in_range, one_of, require
from codec.distillation.config import PerceptualConfig, SemanticConfig

PARTS = ("encoder", "quantizer", "decoder", "vocoder")
VOCODER_INPUTS = ("target", "decoded")
SCHEDULES = ("cosine", "wsd")
CODEBOOK_STARTS = ("data", "random")
CLIPPED = ("network", "part")
FEATURE_MATCHING_AVERAGES = ("map", "kind")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "64-true")
ADVERSARIAL_LOSSES = ("hinge", "least_squares")
STRATEGIES = ("auto", "ddp")


@dataclass
class LossWeights:
    """Weight of every loss by name; one of weight 0 is not trained on."""

    mel: float = 0.0  # L1 distance of the decoder's log-mel from the recording's, nats
    vq: float = 0.0  # codebook and commitment loss, summed over the quantizer's stages
    waveform_mel: float = 0.0  # L1 distance of log-mels at several resolutions, nats
    adversarial: float = 0.0  # hinge loss of the generator, averaged over the discriminators
    feature_matching: float = 0.0  # L1 distance of the discriminators' feature maps
    # The same two of the discriminators of the decoder's log-mel, for which no vocoder runs.
    mel_adversarial: float = 0.0
    mel_feature_matching: float = 0.0
    semantic: float = 0.0  # distance of the quantized latents from a speech model's features
    # Distance of a frozen recogniser's states of the decoder's log-mel from those of the
    # recording's: `codec.distillation.perceptual`.
    perceptual: float = 0.0
    # The same distance of the log-mel of the vocoder's waveform.
    waveform_perceptual: float = 0.0
    # Divergence of the recogniser's word predictions of the decoder's log-mel from those of the
    # recording, of whole English clips with a transcript: `codec.distillation.recognition`.
    recognition: float = 0.0
    # Distance of a "harmonic" vocoder's pitch network from the pitch tracked in the recording:
    # `codec.training.losses.pitch_loss`. Only it trains that network.
    pitch: float = 0.0

    def __post_init__(self) -> None:
        all_finite("weights", self)
        for name, weight in vars(self).items():
            in_range(f"weights.{name}", weight, 0, LARGEST)

    def by_name(self) -> dict[str, float]:
        """All weights."""
        return dict(vars(self))


@dataclass
class PerturbationConfig:
    """Random changes of training crops beside their speed; all are off.

    Gain, equalizer and pitch change the recording itself, the encoder's input and every target
    alike; noise and reverberation the encoder's input alone, so that codes of a bad recording
    learn to give a clean one.
    """

    gain: float = 0.0  # up to so many dB louder or softer, below full scale
    # Up to so many dB of spectral tilt, and of each of three peaks or notches; the level stays.
    equalizer: float = 0.0
    pitch: float = 0.0  # up to so many semitones higher or lower, formants too, at the same tempo
    noise: float = 0.0  # share of the crops that get noise, of any spectral slope
    noise_snr: tuple[float, float] = (5.0, 30.0)  # dB of speech over noise, lowest and highest
    reverberation: float = 0.0  # share of the crops that get a room
    # Shortest and longest time of a fall by 60 dB, s.
    reverberation_seconds: tuple[float, float] = (0.1, 0.6)

    def __post_init__(self) -> None:
        all_finite("perturbation", self)
        most = {"gain": 60, "equalizer": 40, "pitch": 12, "noise": 1, "reverberation": 1}
        for name, bound in most.items():
            in_range(f"perturbation.{name}", getattr(self, name), 0, bound)
        ratios, times = self.noise_snr, self.reverberation_seconds
        ordered = len(ratios) == 2 and -100 <= ratios[0] <= ratios[1] <= 100
        expected = "the lowest and the highest in [-100, 100] dB"
        require(ordered, "perturbation.noise_snr", expected, ratios)
        ordered = len(times) == 2 and 0 < times[0] <= times[1] <= 10
        expected = "the shortest and the longest in (0, 10] s"
        require(ordered, "perturbation.reverberation_seconds", expected, times)

    @property
    def changes_recordings(self) -> bool:
        """True if inputs and targets are changed alike."""
        return max(self.gain, self.equalizer, self.pitch) > 0

    @property
    def changes_inputs(self) -> bool:
        """True if the encoder's input differs from the target."""
        return max(self.noise, self.reverberation) > 0


@dataclass
class DiscriminatorConfig:
    """Discriminators of the waveform, an empty tuple leaves a kind out, and of the log-mel."""

    # Of the multi-period discriminators (8 M parameters each); none on a CPU.
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    # Window lengths of the multi-resolution discriminators of `vocos`, which see every clip at one
    # peak level, and their width, 32 in the package.
    n_ffts: tuple[int, ...] = (2048, 1024, 512)
    channels: int = 32
    # Window lengths of our multi-band discriminators, which see a clip's level, and their width.
    band_n_ffts: tuple[int, ...] = ()
    band_channels: int = 32
    # Bands of the discriminators of the decoder's log-mel, one discriminator each, and their width.
    mel_bands: int = 5
    mel_channels: int = 64

    def __post_init__(self) -> None:
        widths = {"channels": 1, "band_channels": 1, "mel_channels": 1, "mel_bands": 0}
        for name, least in widths.items():
            count(f"discriminators.{name}", getattr(self, name), least)
        for name, least in (("periods", 1), ("n_ffts", 32), ("band_n_ffts", 32)):
            for size in getattr(self, name):
                count(f"discriminators.{name}", size, least)


@dataclass
class PhaseConfig:
    """One phase of training: the parts that train, their input and their losses."""

    name: str = "codec"  # of the phase's folder
    train: tuple[str, ...] = PARTS  # parts that train; the others are frozen
    # The vocoder's input: mels of recordings ("target") or the decoder's ("decoded").
    vocoder_input: str = "decoded"
    steps: int = 1000  # of the generator
    batch_size: int = 16  # crops a step, over all devices
    crop_codes: int = 48  # length of a crop in codes
    speed: float = 0.0  # crops are played up to this share faster or slower, pitch included
    perturbation: PerturbationConfig = field(default_factory=PerturbationConfig)
    # Peak of the generator's schedule, and of the discriminators'; null for the generator's.
    learning_rate: float = 5e-4
    discriminator_learning_rate: float | None = None
    # Multiples of `learning_rate` by part, such as {vocoder: 0.25}; others 1.
    part_rates: dict[str, float] = field(default_factory=dict)
    # After the linear warmup, "cosine" falls to a hundredth of the peak at the last step; "wsd"
    # (warmup, stable, decay) stays at the peak and falls linearly over the last `decay_share` of
    # the steps; of 0 it ends at the peak, for a phase that another goes on from. The warmup of the
    # discriminators counts from `adversarial_from`.
    schedule: str = "cosine"
    decay_share: float = 0.2
    warmup_steps: int = 100
    weight_decay: float = 0.01  # of AdamW
    betas: tuple[float, float] = (0.9, 0.98)  # of AdamW
    # Norm that gradients are clipped to: that of each "network", generator and discriminators, or
    # of each "part" of the generator (encoder, quantizer, decoder, vocoder, a distillation's head)
    # and of the discriminators, so that the part of the largest gradient does not scale all others.
    max_grad_norm: float = 1.0
    clip: str = "network"
    discriminator_max_grad_norm: float | None = None  # null for the generator's
    ema_decay: float = 0.0  # of the averaged weights that are validated and exported; 0 for none
    # Step at which the codebook is filled; before it latents pass unquantised, with noise of a
    # standard deviation that grows from 0 to `noise`.
    quantize_from: int = 0
    # "data" fills the codebook from latents, "random" leaves codebook and transform as they were
    # drawn, which is the reference's start and collapses.
    codebook_start: str = "data"
    noise: float = 0.5  # standard deviation of the noise on latents at `quantize_from`
    adversarial_from: int = 0  # step at which the discriminators begin
    mel_adversarial_from: int = 0  # those of the decoder's log-mel
    mel_adversarial_loss: str = "hinge"  # "hinge" or "least_squares"
    # Feature matching is the mean over every "map" of all discriminators, or over the maps of each
    # "kind" of discriminator first: a multi-period one has fewer maps than one on bands.
    feature_matching_average: str = "map"
    weights: LossWeights = field(default_factory=LossWeights)  # of the losses
    # These three are of use where the weights of their losses are positive.
    discriminators: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    semantic: SemanticConfig = field(default_factory=SemanticConfig)
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)

    def __post_init__(self) -> None:
        all_finite("phase", self)
        parts, weights = ", ".join(PARTS), self.weights
        known = 0 < len(self.train) == len(set(self.train) & set(PARTS))
        require(known, "phase.train", f"at least one of {parts}, each once", self.train)
        rates = [*self.part_rates]
        require(set(rates) <= set(PARTS), "phase.part_rates", f"some of {parts}", rates)
        one_of("phase.vocoder_input", self.vocoder_input, VOCODER_INPUTS)
        self._check_numbers()
        one_of("phase.schedule", self.schedule, SCHEDULES)
        one_of("phase.clip", self.clip, CLIPPED)
        kinds = FEATURE_MATCHING_AVERAGES
        one_of("phase.feature_matching_average", self.feature_matching_average, kinds)
        one_of("phase.mel_adversarial_loss", self.mel_adversarial_loss, ADVERSARIAL_LOSSES)
        one_of("phase.codebook_start", self.codebook_start, CODEBOOK_STARTS)
        kinds = self.discriminators
        members = (*kinds.periods, *kinds.n_ffts, *kinds.band_n_ffts)
        given = bool(members) or not self.uses_discriminators
        require(given, "phase.discriminators", "at least one discriminator", members)
        given = kinds.mel_bands >= 1 or not self.uses_mel_discriminators
        require(given, "phase.discriminators.mel_bands", "at least one band", kinds.mel_bands)
        teacher, model = self.semantic.teacher, self.perceptual.model
        given = bool(teacher) or weights.semantic <= 0
        require(given, "phase.semantic.teacher", "a teacher for weights.semantic > 0", teacher)
        given = bool(model) or not self.uses_perceptual
        expected = "a folder for weights.perceptual, waveform_perceptual or recognition > 0"
        require(given, "phase.perceptual.model", expected, model)

    def _check_numbers(self) -> None:
        for name in ("steps", "batch_size", "crop_codes"):
            count(f"phase.{name}", getattr(self, name), 1)
        for name in ("warmup_steps", "quantize_from", "adversarial_from", "mel_adversarial_from"):
            count(f"phase.{name}", getattr(self, name))
        for name in ("learning_rate", "weight_decay", "noise"):
            in_range(f"phase.{name}", getattr(self, name), 0, LARGEST)
        if self.discriminator_learning_rate is not None:
            rate = self.discriminator_learning_rate
            in_range("phase.discriminator_learning_rate", rate, 0, LARGEST)
        for name, rate in self.part_rates.items():
            in_range(f"phase.part_rates.{name}", rate, 0, LARGEST)
        require(len(self.betas) == 2, "phase.betas", "two numbers", self.betas)
        for beta in self.betas:
            in_range("phase.betas", beta, 0, 1, ends="[)")
        above("phase.max_grad_norm", self.max_grad_norm, 0)
        if self.discriminator_max_grad_norm is not None:
            above("phase.discriminator_max_grad_norm", self.discriminator_max_grad_norm, 0)
        in_range("phase.speed", self.speed, 0, 0.5, ends="[)")
        in_range("phase.decay_share", self.decay_share, 0, 1, ends="[]")
        in_range("phase.ema_decay", self.ema_decay, 0, 1, ends="[)")

    @property
    def uses_codec(self) -> bool:
        """True if encoder, quantizer and decoder run at all."""
        weights = self.weights
        compared = max(weights.semantic, weights.perceptual, weights.recognition)
        used = max(weights.mel, weights.vq, compared) > 0
        return used or self.uses_mel_discriminators or self.vocoder_input == "decoded"

    @property
    def uses_waveform(self) -> bool:
        """True if the vocoder runs."""
        weights = self.weights
        used = max(weights.waveform_mel, weights.waveform_perceptual, weights.pitch) > 0
        return used or self.uses_discriminators

    @property
    def uses_perceptual(self) -> bool:
        """True if a recogniser's states of decoded speech are compared with the recording's."""
        weights = self.weights
        return max(weights.perceptual, weights.waveform_perceptual, weights.recognition) > 0

    @property
    def uses_discriminators(self) -> bool:
        """True if discriminators of waveforms train, from `adversarial_from` on."""
        return max(self.weights.adversarial, self.weights.feature_matching) > 0

    @property
    def uses_mel_discriminators(self) -> bool:
        """True if discriminators of the decoder's log-mel train, from `mel_adversarial_from` on."""
        return max(self.weights.mel_adversarial, self.weights.mel_feature_matching) > 0


@dataclass
class FitConfig:
    """Settings of the run of a phase: devices, intervals, and networks of earlier training."""

    seed: int = 0  # of data, noise and initialisation
    # Lightning's names, or "auto": bf16-mixed where the device multiplies bfloat16 itself, else
    # 32-true. "16-mixed" would need loss scaling, which manual optimisation has not.
    precision: str = "32-true"
    accelerator: str = "cpu"
    devices: int = 1  # of each node; more than one share the crops of every step
    num_nodes: int = 1  # machines that train together
    strategy: str = "auto"  # "ddp", the whole model on every device, which "auto" is too
    # Steps between lines of metrics.jsonl, validations and checkpoints.
    log_every: int = 20
    validate_every: int = 200
    checkpoint_every: int = 200
    # Processes that read crops ahead; 0 reads when a step asks. They change no batch.
    num_workers: int = 0
    balance_every: int = 0  # steps between reports of every loss's gradient; 0 for none
    compile: bool = False  # networks by torch.compile, for each shape of a batch
    tensorboard: bool = False  # also curves, mel pictures and audio for it (extra `train`)
    wandb: str = ""  # project of Weights & Biases they are written for, too; empty for none
    # Folder with the training.safetensors of a release, whose discriminators a phase begins with;
    # empty for new ones. What it does not have is warned of.
    auxiliary_from: str = ""
    # Folders of earlier phases of the run, the latest first, which are asked before the release.
    earlier_phases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        all_finite("", self)
        one_of("precision", self.precision, PRECISIONS)
        one_of("strategy", self.strategy, STRATEGIES)
        for name in ("devices", "num_nodes", "log_every", "validate_every", "checkpoint_every"):
            count(name, getattr(self, name), 1)
        for name in ("seed", "num_workers", "balance_every"):
            count(name, getattr(self, name))

"""Settings of a training run and of the machines it is spread over."""

from __future__ import annotations

from dataclasses import dataclass

from codec.checks import LARGEST, above, all_finite, count, in_range, one_of, require

# Parts of a model that can stay as they are; see `slm.training.freezing`.
FREEZABLE = ("embedding", "attention", "feed_forward", "norms", "head")


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the training of a speech language model.

    Args:
        max_steps: Optimizer steps of the whole run.
        learning_rate: Peak.
        min_learning_rate: At the end of the schedule.
        warmup_steps: Linear warm-up from 0, below `max_steps`.
        weight_decay: On matrices only; gains, biases and embeddings are left alone.
        betas: Of AdamW.
        gradient_clip: Largest gradient norm.
        accumulate: Batches an optimizer step.
        validate_every: Steps between validations.
        checkpoint_every: Steps between checkpoints.
        seed: Seeds dropout, step by step.
        bf16: bfloat16 autocast; the loss stays in float32. "auto" where the device multiplies
            bfloat16 itself.
        optimizer: "adamw", or "muon" for the matrices between embedding and head.
        schedule: "cosine", or "wsd": warm up, stay, decay at the end.
        decay_fraction: Share of the steps in which "wsd" decays, in (0, 1].
        attention: Kernel for packed rows (see slm/model/packed_attention.py).
        recompute: Activation checkpointing: make activations again in the backward pass instead of
            keeping them.
        compile: Compile the blocks; shapes are fixed, so that it happens once.
        freeze: Parts that stay as they are, of `FREEZABLE`.
        freeze_layers: Layers that stay as they are, counted from the input.
        tensorboard: Also write the metrics as curves for TensorBoard (extra `train`).
        wandb: Project of Weights & Biases that they are written for, too (extra `wandb`); '' for
            none.

    Raises:
        ValueError: A value is out of its range.
    """

    max_steps: int
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-4
    warmup_steps: int = 50
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    gradient_clip: float = 1.0
    accumulate: int = 1
    validate_every: int = 200
    checkpoint_every: int = 200
    seed: int = 0
    bf16: bool | str = False
    optimizer: str = "adamw"
    schedule: str = "cosine"
    decay_fraction: float = 0.2
    attention: str = "auto"
    recompute: bool = False
    compile: bool = False
    freeze: tuple[str, ...] = ()
    freeze_layers: int = 0
    tensorboard: bool = False
    wandb: str = ""

    def __post_init__(self) -> None:
        all_finite("", self)
        # 1 and 0, which YAML may hold, are equal to true and false.
        require(self.bf16 in (True, False, "auto"), "bf16", "true, false or auto", self.bf16)
        one_of("optimizer", self.optimizer, ("adamw", "muon"))
        one_of("schedule", self.schedule, ("cosine", "wsd"))
        unknown = sorted(set(self.freeze) - set(FREEZABLE))
        require(not unknown, "freeze", f"some of {', '.join(FREEZABLE)}", unknown)
        count("freeze_layers", self.freeze_layers)
        in_range("decay_fraction", self.decay_fraction, 0, 1, ends="(]")
        for name in ("max_steps", "accumulate", "validate_every", "checkpoint_every"):
            count(name, getattr(self, name), 1)
        count("seed", self.seed)
        above("gradient_clip", self.gradient_clip, 0)
        in_range("learning_rate", self.learning_rate, 0, LARGEST, ends="(]")
        for name in ("min_learning_rate", "weight_decay"):
            in_range(name, getattr(self, name), 0, LARGEST)
        require(len(self.betas) == 2, "betas", "two numbers", self.betas)
        for beta in self.betas:
            in_range("betas", beta, 0, 1, ends="[)")
        count("warmup_steps", self.warmup_steps)
        # A warm-up to the last step would never reach the learning rate.
        fits = self.warmup_steps < self.max_steps
        expected = f"a count in [0, max_steps = {self.max_steps})"
        require(fits, "warmup_steps", expected, self.warmup_steps)


@dataclass(frozen=True)
class LoraSettings:
    """Sizes of the adapters.

    Args:
        rank: Of each adapter; 0 for none, which trains the whole model.
        alpha: Scale of the adapters, divided by the rank.
        dropout: On what they read, in [0, 1).

    Raises:
        ValueError: A value is out of its range.
    """

    rank: int = 0
    alpha: float = 16.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        all_finite("", self)
        count("rank", self.rank)
        above("alpha", self.alpha, 0)
        in_range("dropout", self.dropout, 0, 1, ends="[)")


@dataclass(frozen=True)
class Machines:
    """Devices and nodes of a training run; its outcome is the same but for float rounding.

    Args:
        accelerator: Lightning's name of the device kind.
        devices: Devices of each node; more than one trains the same steps, each on its part.
        num_nodes: Nodes.
        strategy: "ddp" keeps the model whole on every device, "fsdp" spreads its weights,
            gradients and optimizer state over them; "auto" is one device, or "ddp".

    Raises:
        ValueError: A value is out of its range.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"

    def __post_init__(self) -> None:
        count("devices", self.devices, 1)
        count("num_nodes", self.num_nodes, 1)
        one_of("strategy", self.strategy, ("auto", "ddp", "fsdp"))

"""Tokens, operations, memory and seconds of a language model's training, by arithmetic alone.

Tokens of an epoch. An hour is 3600 x 23.4375 codes and 3600 x `text_rate` text tokens. An
utterance adds four markers (begin, text, speech, end), and on average
`prompt_probability` x (mean prompt + 1) tokens of a speaker prompt. Rows are filled but for
`padding`. Steps = epochs x tokens / (rows of a step x row length x (1 - padding)).

Operations a token, forward and backward, as slm/training/flops.py counts them, with N block
weights, V x D head weights, L layers, H heads of width D', n tokens a document:

    6 N + 6 V D x (share of tokens with a loss) + 12 L H D' x (n + 1) / 2

With activation checkpointing the blocks' share is 8 / 6 of that: a second forward pass.

Memory of a device, bytes, with P parameters, t tokens of its rows, F the feed-forward width:

    weights 4 P, gradients 4 P, AdamW's two averages 8 P; each divided by the devices with fsdp,
        which instead gathers embedding and head (8 V D) and two blocks at a time;
    activations t L (16 F + 44 D), or t L (8 F + 34 D) + 2 N with bfloat16, whose rounded weights
        are kept for the backward pass, or with recomputation t L 24 D and one layer of the above;
        and t 17 D around the blocks. The factors were counted from the tensors that autograd keeps
        (`tests/recipes/planning/test_lm_cost.py` counts them again);
    the loss: 10 C V for its logits, a chunk of C = min(t, 4096) tokens, and 8 V D.

All of it at once: the gradients of a step stay until the next backward pass. The CUDA context, the
communication library and fragments that the allocator cannot use are not counted. A checkpoint is
made in the memory of the host, where its 12 P bytes lie twice; with fsdp they are gathered there
first.

Time of a step = operations / (devices x peak x `efficiency`), or as measured (calibration.py),
plus AdamW's 28 bytes a parameter of its share through memory, plus what of the communication does
not fit beside two thirds of the computation: a ring moves 2 (R - 1) / R x 4 P bytes a device for
ddp, 3 (R - 1) / R x 4 P for fsdp (weights gathered twice, gradients reduced once). Validation,
checkpoints and reading are not counted. Between nodes the link is `node_gbs` of a device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from codec.checks import above, all_finite, in_range, one_of, require
from slm.model.config import SpeechLMConfig
from slm.training.flops import block_parameters

from .accelerators import Accelerator

FRAME_RATE = 23.4375
MARKERS = 4
CHUNK = 4096
GRADIENT, WEIGHT, AVERAGES = 4, 4, 8
# What AdamW reads and writes of a parameter: weight, gradient, both averages; three are written.
OPTIMIZER_BYTES = 28
OVERLAP = 2 / 3


@dataclass(frozen=True)
class Corpus:
    """Sizes of a training corpus."""

    hours: float  # of speech
    text_rate: float = 5.0  # text tokens a second; 0 without transcripts
    utterance_seconds: float = 10.0  # mean length of an utterance
    prompt_probability: float = 0.5  # chance of a speaker prompt
    prompt_codes: float = 60.0  # mean length of one
    padding: float = 0.02  # share of a row that stays empty

    def __post_init__(self) -> None:
        all_finite("", self)
        above("hours", self.hours, 0)
        above("utterance_seconds", self.utterance_seconds, 0)
        in_range("padding", self.padding, 0, 1, ends="[)")

    @property
    def document_tokens(self) -> float:
        """Mean tokens of a document."""
        utterance = self.utterance_seconds * (FRAME_RATE + self.text_rate)
        return utterance + MARKERS + self.prompt_probability * (self.prompt_codes + 1)

    @property
    def target_share(self) -> float:
        """Share of tokens with a loss: the utterance's codes and the end."""
        return (self.utterance_seconds * FRAME_RATE + 1) / self.document_tokens

    @property
    def tokens(self) -> float:
        """Tokens of an epoch."""
        return self.hours * 3600 / self.utterance_seconds * self.document_tokens


@dataclass(frozen=True)
class Run:
    """Batches and devices of a training."""

    seq_len: int = 2048  # tokens of a row
    batch_size: int = 64  # rows of a batch, over all devices
    accumulate: int = 1  # batches of a step
    epochs: float = 1.0  # passes over the corpus
    devices: int = 8  # over all nodes
    nodes: int = 1  # machines of those devices
    strategy: str = "ddp"  # ddp or fsdp; without effect on one device
    recompute: bool = False  # activation checkpointing
    bf16: bool = True  # bfloat16 products

    def __post_init__(self) -> None:
        all_finite("", self)
        one_of("strategy", self.strategy, ("ddp", "fsdp"))
        for name in ("seq_len", "batch_size", "accumulate", "devices", "nodes", "epochs"):
            above(name, getattr(self, name), 0)
        is_multiple = self.devices % self.nodes == 0
        require(is_multiple, "devices", f"a multiple of {self.nodes} nodes", self.devices)
        if self.batch_size % self.devices and not self._shares_batches:
            raise ValueError(
                f"batch_size: expected it or accumulate to be a multiple of {self.devices} "
                f"devices, got {self.batch_size} and {self.accumulate}"
            )

    @property
    def _shares_batches(self) -> bool:
        """True if devices share the batches of a step, each whole, and not the rows of a batch."""
        return self.accumulate % self.devices == 0

    @property
    def device_rows(self) -> int:
        """Rows of a device's batch."""
        return self.batch_size if self._shares_batches else self.batch_size // self.devices

    @property
    def device_batches(self) -> int:
        """Batches that a device computes in a step."""
        return self.accumulate // self.devices if self._shares_batches else self.accumulate

    @property
    def sharded(self) -> bool:
        """True if weights are spread over devices."""
        return self.strategy == "fsdp" and self.devices > 1


@dataclass(frozen=True)
class Memory:
    """Bytes of one device."""

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    activations: float
    loss: float

    @property
    def total(self) -> float:
        """All at once."""
        return sum(vars(self).values())


def parameters(config: SpeechLMConfig) -> int:
    """Count trained parameters: blocks with their norms and biases, embedding and head."""
    vocabulary = config.vocabulary["ranges"]["code"][1]
    norms = (2 * config.num_layers + 1) * config.dim
    if config.qk_norm:
        norms += config.num_layers * config.dim_head * (config.num_heads + config.kv_heads)
    biases = config.num_layers * 2 * config.ff_dim
    return block_parameters(config) + norms + biases + 2 * vocabulary * config.dim


def token_operations(config: SpeechLMConfig, corpus: Corpus, *, recompute: bool = False) -> float:
    """Compute floating-point operations a token, recomputation included."""
    head = 6 * config.vocabulary["ranges"]["code"][1] * config.dim * corpus.target_share
    width = config.num_layers * config.num_heads * config.dim_head
    seen = (corpus.document_tokens + 1) / 2
    blocks = 6 * block_parameters(config) + 12 * width * seen
    return head + blocks * (8 / 6 if recompute else 1)


def step_tokens(corpus: Corpus, run: Run) -> float:
    """Compute tokens of a step over all devices, padding not counted."""
    return run.batch_size * run.accumulate * run.seq_len * (1 - corpus.padding)


def steps(corpus: Corpus, run: Run) -> int:
    """Compute the optimizer steps of a run."""
    return math.ceil(run.epochs * corpus.tokens / step_tokens(corpus, run))


def memory(config: SpeechLMConfig, run: Run) -> Memory:
    """Compute the peak memory of a device."""
    count, blocks = parameters(config), block_parameters(config)
    shards = run.devices if run.sharded else 1
    tokens = run.device_rows * run.seq_len
    vocabulary, dim, ff = config.vocabulary["ranges"]["code"][1], config.dim, config.ff_dim
    # Bytes that autograd keeps of a layer; bfloat16 adds the rounded copies of its weights.
    layer = tokens * ((8 * ff + 34 * dim) if run.bf16 else (16 * ff + 44 * dim))
    rounded = 2 * blocks / config.num_layers if run.bf16 else 0
    if run.recompute:
        activations = tokens * config.num_layers * 24 * dim + layer + rounded
    else:
        activations = config.num_layers * (layer + rounded)
    gathered = 8 * vocabulary * dim + 2 * 4 * blocks / config.num_layers if run.sharded else 0
    return Memory(
        weights=WEIGHT * count / shards,
        gradients=GRADIENT * count / shards,
        optimizer=AVERAGES * count / shards,
        gathered=gathered,
        activations=activations + 17 * dim * tokens,
        loss=10 * min(tokens, CHUNK) * vocabulary + 8 * vocabulary * dim,
    )


def checkpoint_bytes(config: SpeechLMConfig, run: Run) -> float:
    """Compute the memory of the host that saving a checkpoint takes in the first process."""
    return (3 if run.sharded else 2) * (WEIGHT + AVERAGES) * parameters(config)


def step_seconds(
    config: SpeechLMConfig,
    corpus: Corpus,
    run: Run,
    device: Accelerator,
    *,
    efficiency: float,
    node_gbs: float = 50.0,
) -> float:
    """Estimate the seconds of an optimizer step where nothing was measured.

    Args:
        config: Of the model.
        corpus: Sizes of its documents.
        run: Batches and devices.
        device: Of the table.
        efficiency: Share of the peak that the products reach.
        node_gbs: Between nodes, 10^9 bytes a second a device, one direction.
    """
    operations = step_tokens(corpus, run) * token_operations(
        config, corpus, recompute=run.recompute
    )
    compute = operations / (run.devices * device.tflops * 1e12 * efficiency)
    count = parameters(config)
    shards = run.devices if run.sharded else 1
    optimizer = OPTIMIZER_BYTES * count / shards / (device.bandwidth_gbs * 1e9)
    times = 3 * run.device_batches if run.sharded else 2
    moved = times * (run.devices - 1) / run.devices * GRADIENT * count
    link = device.link_gbs if run.nodes == 1 else min(device.link_gbs, node_gbs)
    # Of the exchange only what does not fit beside most of the computation costs time.
    return compute + optimizer + max(0.0, moved / (link * 1e9) - OVERLAP * compute)

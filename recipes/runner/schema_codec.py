"""Settings of the codec, its training and the encoding of a corpus."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from codec.checks import at_least, check_shares, one_of, require
from codec.training.config import PARTS, FitConfig, PhaseConfig

from .fields import runtime, shared_fields, some_of


@dataclass
class CodecConfig:
    """The codec's sizes."""

    # One of codec.CodecConfig's presets: hh_24khz (the paper), mini (trains on a CPU), tiny.
    preset: str = "mini"
    # Fields of that preset to change, nested as in a codec's config.yaml.
    overrides: dict[str, Any] = field(default_factory=dict)
    # A trained codec to go on from instead of random weights: the name of a bundled one
    # (hh-mini-24k), a model folder or a hub repository; and which of its parts are taken.
    start: str | None = None
    start_parts: list[str] = field(default_factory=lambda: list(PARTS))
    # A published vocoder to take instead: a folder, file or hub repository of Vocos or BigVGAN-v2,
    # such as charactr/vocos-mel-24khz; its mel convention must be the preset's.
    vocoder_from: str | None = None
    # Folder of a Whisper in the transformers layout whose encoder a codec with
    # overrides.encoder.speech_layers begins with; null = that of `start`.
    speech_encoder_from: str | None = None

    def __post_init__(self) -> None:
        some_of("start_parts", self.start_parts, PARTS)


@dataclass
class SourceConfig:
    """Recordings that training crops are read from as they are, without the prepare stage."""

    # A manifest (JSON lines with `audio`), a CutSet of lhotse (cuts.jsonl.gz, extra lhotse), or a
    # folder with recordings at any depth.
    corpus: str = MISSING
    # Its share of the crops, relative to the other sources'; null = by duration, for all alike.
    share: float | None = None
    # Fields of the manifest and the values they must have, such as {split: train}; none of a
    # folder.
    select: dict[str, Any] = field(default_factory=dict)


@dataclass
class TrainCodecConfig:
    """The codec's training: phases by name, in their order."""

    # What each phase trains, for how long and against which losses (codec/training/config.py).
    phases: dict[str, PhaseConfig] = field(default_factory=dict)
    # Where training crops come from, by name, in place of the prepared train split; brought to
    # prepare.loudness_dbfs too. Unreadable files are listed in train_codec/bad_files.jsonl.
    sources: dict[str, SourceConfig] | None = None
    # Lightning's names; auto = bf16-mixed where the device multiplies bfloat16 itself, else
    # 32-true, as it was when a phase was begun.
    precision: str = "auto"
    accelerator: str = runtime("auto")
    # Devices of a node, nodes, and auto or ddp (docs/guides/training_at_scale.md).
    devices: int = runtime(1)
    num_nodes: int = runtime(1)
    strategy: str = runtime("auto")
    # Only these phases, null = all: phases that train different parts may run side by side, each
    # in a process of its own; the stage is done when all are.
    only: list[str] | None = runtime(None)
    # Steps between lines of metrics.jsonl, validations and checkpoints.
    log_every: int = runtime(20)
    validate_every: int = runtime(250)
    checkpoint_every: int = runtime(250)
    # Processes that read training crops ahead; 0 = read when a step asks.
    num_workers: int = runtime(0)
    # Compile the networks for the shapes of a batch (torch.compile): minutes at the start, and
    # fewer kernels a step; not run on a GPU yet.
    compile: bool = runtime(False)
    # Steps between reports of every loss term's gradient at the decoder's output; 0 = none.
    balance_every: int = runtime(0)
    # Also write curves, mel pictures and audio for TensorBoard (extra `train`), and for the project
    # of this name of Weights & Biases (extra `wandb`; kept in the run's folder for `wandb sync`, or
    # sent at once where WANDB_MODE=online); empty = none.
    tensorboard: bool = runtime(False)
    wandb: str = runtime("")

    def __post_init__(self) -> None:
        some_of("only", self.only or [], self.phases)
        FitConfig(**shared_fields(self, FitConfig))
        for name, phase in self.phases.items():
            check_shares(f"phases.{name}", phase.batch_size, self.devices * self.num_nodes)


@dataclass
class EncodeCorpusConfig:
    """From waveforms to the token store."""

    # A shard is written, and safe from a crash, once it holds this many codes.
    shard_codes: int = 65536
    # Clips of train are encoded once more from each of these samples on: other codes of the same
    # sounds, for a language model of little speech.
    shifts: list[int] = field(default_factory=list)
    # Clips of train are encoded once more played so many times as fast: other voices, each a
    # speaker of its own, such as [0.93, 1.07].
    speeds: list[float] = field(default_factory=list)
    # Copies are made only where the manifest has these values.
    shift_select: dict[str, Any] = field(default_factory=dict)
    # Read the corpus's own recordings as prepare would have stored them, not what it stored.
    recordings: bool = False
    # local = processes of this machine; ray = a Ray cluster (extra `ray`), one started on this
    # machine or the one at `address`, such as auto (docs/guides/encoding_at_scale.md).
    engine: str = runtime("local")
    address: str | None = runtime(None)
    # Processes that encode, with one thread or one GPU each; 0 = one a core or GPU.
    workers: int = runtime(0)
    # auto = a GPU where there is one; cpu or cuda.
    device: str = runtime("auto")
    # Audio that is encoded at once, clips of like length, and that is lost with a worker, seconds.
    batch_seconds: float = runtime(120.0)

    def __post_init__(self) -> None:
        one_of("engine", self.engine, ("local", "ray"))
        one_of("device", self.device, ("auto", "cpu", "cuda"))
        at_least("workers", self.workers, 0)
        at_least("batch_seconds", self.batch_seconds, 1)
        at_least("shard_codes", self.shard_codes, 1)
        distinct = len(set(self.shifts)) == len(self.shifts)
        positive = all(shift > 0 for shift in self.shifts)
        require(positive and distinct, "shifts", "samples > 0, each once", self.shifts)
        distinct = len(set(self.speeds)) == len(self.speeds)
        known = all(0.5 <= speed <= 2 and speed != 1 for speed in self.speeds)
        require(known and distinct, "speeds", "0.5 to 2 but not 1, each once", self.speeds)

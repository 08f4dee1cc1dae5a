"""Prepared waveforms -> run/train_codec/model: a model folder, after every declared phase.

    python -m recipes.train_codec recipes/configs/mini.yaml corpus=../shared/speech run=runs/real

Each phase leaves its checkpoint and metrics.jsonl in run/train_codec/<phase>; a phase that was
cut off goes on from its last checkpoint. Without phases the codec of `codec.start` is taken as it
is, so that a language model of its codes can be trained alone. Several devices share the crops of
every step (docs/guides/training_at_scale.md).
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before the imports below: a mistyped setting must not wait for torch.
    from recipes.runner.cli import stage_command

    raise SystemExit(stage_command("train_codec"))

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from codec import HHCodec
from codec.audio.sources import FolderSource
from codec.audio.store import AudioStore
from codec.distributed import leave_group, process_rank
from codec.files.json_lines import read_json_lines
from codec.model.vocoder import Vocoder
from codec.model.whisper_encoder import WhisperEncoder
from codec.runtime.checkpoint_file import read_checkpoint
from codec.training.auxiliary_weights import collect_auxiliary_weights
from codec.training.checkpoint import check_finished, check_not_lost
from codec.training.config import FitConfig, PhaseConfig
from codec.training.data import Sources, source_shares
from codec.training.fit import CHECKPOINT, METRICS, fit_codec_phase, load_phase_codec
from recipes.corpora.load import source_corpus
from recipes.runner.config import Config, thread_count
from recipes.runner.inputs import NO_SPEECH_ENCODER, codec_sizes
from recipes.runner.schema import shared_fields
from recipes.runner.stages import StageError, say, stage_folder, write_metrics


def main(config: Config) -> Path:
    """Run the phases in order and save the codec.

    Raises:
        ValueError: Neither phases nor `codec.start`, a phase or codec that cannot be built, or a
            loss that diverged.
        StageError: `train_codec.only` left phases to be run.
    """
    folder = stage_folder(config, "train_codec")
    phases = {name: replace(phase, name=name) for name, phase in config.train_codec.phases.items()}
    first = config.train_codec.devices * config.train_codec.num_nodes == 1 or process_rank() == 0
    # Every process of a launcher comes here and trains its share of the crops.
    if phases:
        train_phases(config, folder, phases)
    if not first:
        raise SystemExit(0)  # the first process measures and writes
    if not phases:
        return take_as_it_is(config, folder)
    missing = [name for name, phase in phases.items() if not is_finished(folder / name, phase)]
    if missing:
        raise StageError(f"train_codec: phases {missing} are still to be run")
    # Phases may have run in other processes: the codec is put together from their checkpoints.
    codec = build_codec(config)
    load_earlier(codec, folder, list(phases.values()))
    codec.eval().save_pretrained(folder / "model")
    collect_auxiliary_weights([folder / name for name in reversed(phases)], folder / "model")
    write_metrics(folder, figures(codec, folder, list(phases)))
    return folder


def train_phases(config: Config, folder: Path, phases: dict[str, PhaseConfig]) -> None:
    """Run the wanted phases that are not finished, in every process that trains.

    Raises:
        ValueError: A finished phase was trained on other clips.
    """
    settings = config.train_codec
    torch.set_num_threads(max(1, thread_count(config) // settings.devices))
    valid = AudioStore(stage_folder(config, "prepare") / "valid")
    train = training_sources(config, folder, valid.sample_rate)
    wanted = settings.only or list(phases)
    for name, phase in phases.items():
        if is_finished(folder / name, phase):
            check_finished(folder / name, [source for source, _ in source_shares(train)])
    for number, (name, phase) in enumerate(phases.items()):
        if name in wanted and not is_finished(folder / name, phase):
            # A phase begins from the weights of the earlier ones, whichever process trained them.
            codec = build_codec(config)
            earlier = list(phases.values())[:number]
            load_earlier(codec, folder, earlier)
            say("train_codec", f"phase {name}: {phase.steps} steps train {', '.join(phase.train)}")
            # Discriminators and a distillation's head go on from the last phase before this one
            # that had any, else from those beside `codec.start`.
            fit = FitConfig(
                seed=config.seed,
                auxiliary_from=config.codec.start or "",
                earlier_phases=tuple(str(folder / each.name) for each in reversed(earlier)),
                **shared_fields(settings, FitConfig),
            )
            fit_codec_phase(codec, phase, train, valid, folder / name, config=fit)
    leave_group()


def take_as_it_is(config: Config, folder: Path) -> Path:
    """Save the codec of `codec.start`, its weights and its fingerprint unchanged.

    Raises:
        ValueError: There is none, or it leaves levels as they are and the clips' were changed.
    """
    if config.codec.start is None:
        raise ValueError(
            "train_codec.phases: expected at least one phase, or codec.start to take as it is; "
            "got neither"
        )
    codec = HHCodec.from_pretrained(config.codec.start, fold=False)
    # One with a level of its own brings clips to it whatever theirs.
    if codec.config.loudness_dbfs is None:
        check_level(codec, config)
    codec.eval().save_pretrained(folder / "model")
    write_metrics(folder, figures(codec, folder, []))
    return folder


def training_sources(config: Config, folder: Path, sample_rate: int) -> Sources:
    """Open the prepared train split, or the sources that `train_codec.sources` declares.

    Raises:
        ValueError: A corpus is not there, or too many of its files cannot be read.
    """
    declared = config.train_codec.sources
    if declared is None:
        return AudioStore(stage_folder(config, "prepare") / "train")
    return [
        (
            FolderSource(
                source_corpus(name, Path(source.corpus), folder),
                sample_rate,
                config.prepare.loudness_dbfs,
                select=source.select,
                index=folder / f"index_{name}.jsonl",
                bad_files=folder / "bad_files.jsonl",
                max_bad_share=config.prepare.max_unreadable,
            ),
            source.share,
        )
        for name, source in declared.items()
    ]


def build_codec(config: Config) -> HHCodec:
    """Build the codec that training starts from: weights of the seed alone, or `codec.start`'s.

    Raises:
        ValueError: An unknown preset, overrides that do not fit it, a level that is not that of
            the training clips, parts of `codec.start` that have other sizes, speech features
            without a Whisper's weights, or a vocoder of another mel convention.
    """
    torch.manual_seed(config.seed)
    codec = HHCodec(codec_sizes(config.codec))
    check_level(codec, config)
    has_speech = codec.config.encoder.speech_layers == 0
    if config.codec.start is not None:
        start = HHCodec.from_pretrained(config.codec.start, fold=False)
        taken = "encoder" in config.codec.start_parts
        has_speech |= taken and start.config.encoder.speech_layers > 0
        for part in config.codec.start_parts:
            try:
                load_part(getattr(codec, part), getattr(start, part))
            except RuntimeError as error:
                raise ValueError(
                    f"codec.start: the {part} of {config.codec.start} does not fit that of preset "
                    f"{config.codec.preset} with its overrides: {error}"
                ) from error
    if config.codec.speech_encoder_from is not None:
        load_speech_encoder(codec, config.codec.speech_encoder_from)
        has_speech = True
    if not has_speech:
        raise ValueError(NO_SPEECH_ENCODER)
    if config.codec.vocoder_from is not None:
        codec.replace_vocoder(Vocoder.from_pretrained(config.codec.vocoder_from, fold=False))
    return codec


def check_level(codec: HHCodec, config: Config) -> None:
    """Refuse clips of another level than that at which a codec encodes recordings.

    A corpus, which was prepared, and a recording that a user encodes would else come to the codec
    at different levels.

    Raises:
        ValueError: Names the setting and both levels.
    """
    own, clips = codec.config.loudness_dbfs, config.prepare.loudness_dbfs
    if own != clips:
        expected, got = ("null" if level is None else f"{level:g}" for level in (own, clips))
        raise ValueError(
            f"prepare.loudness_dbfs: expected {expected}, the loudness_dbfs of codec "
            f"{codec.config.name}, got {got}"
        )


def load_part(part: nn.Module, start: nn.Module) -> None:
    """Copy a part's weights; it may have what its start lacks: speech features, attention, a voice.

    All begin as nothing, so that the part computes what its start does until it trains.

    Raises:
        RuntimeError: The two differ in other weights.
    """
    weights = start.state_dict()
    for prefix in ("speech.", "attention.", "voice.", "film."):
        own = {k: v for k, v in part.state_dict().items() if k.startswith(prefix)}
        if own and not any(name.startswith(prefix) for name in weights):
            # The maps of speech features and of a voice are zero already, the branches of attention
            # are made so.
            scales = [k for k in own if k.endswith((".scale1", ".scale2"))]
            weights |= own | {name: torch.zeros_like(own[name]) for name in scales}
    part.load_state_dict(weights)


def load_speech_encoder(codec: HHCodec, folder: str) -> None:
    """Give the codec's encoder the published weights of a Whisper encoder.

    Raises:
        ValueError: An encoder without one, no Whisper in the folder, or one of other sizes.
    """
    speech = getattr(codec.encoder, "speech", None)
    if speech is None:
        raise ValueError(
            "codec.speech_encoder_from: expected overrides.encoder.speech_layers > 0 for it, got 0"
        )
    found = WhisperEncoder.from_pretrained(folder)
    try:
        speech.whisper.load_state_dict(found.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"codec.speech_encoder_from: the encoder of {folder} does not fit "
            f"codec.overrides.encoder (speech_layers, speech_dim, speech_heads): {error}"
        ) from error


def load_earlier(codec: HHCodec, folder: Path, phases: list[PhaseConfig]) -> None:
    """Load the parts that earlier phases trained, of those that have a checkpoint.

    A later phase that needs a part nobody trained yet is allowed: phases that train different
    parts may run side by side.

    Raises:
        ValueError: A phase had a checkpoint that is lost.
    """
    for phase in phases:
        check_not_lost(folder / phase.name)
        if (folder / phase.name / CHECKPOINT).is_file():
            load_phase_codec(codec, folder / phase.name, phase.train)


def is_finished(folder: Path, phase: PhaseConfig) -> bool:
    """Tell whether a phase's checkpoint is that of its last step.

    Raises:
        ValueError: It is damaged.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return False
    # Only the step is read, not the weights.
    checkpoint = read_checkpoint(path, required=("global_step",))
    return checkpoint["global_step"] >= phase.steps


def figures(codec: HHCodec, folder: Path, names: list[str]) -> dict[str, Any]:
    """Collect sizes, fingerprint and every phase's last validation."""
    parts = {
        name: sum(p.numel() for p in getattr(codec, name).parameters())
        for name in ("encoder", "quantizer", "decoder", "vocoder")
    }
    phases = {}
    for name in names:
        rows = read_json_lines(folder / name / METRICS, torn="drop")
        last = [row for row in rows if row["split"] == "valid"][-1]
        phases[name] = {key: value for key, value in last.items() if key != "split"}
    return {"fingerprint": codec.fingerprint, "parameters": parts, "phases": phases}

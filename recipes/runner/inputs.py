"""Checks before any work: what stages read is there, or an earlier stage of the command makes it.

Only paths and settings are looked at, which takes milliseconds; what lies in object storage or on a
hub is found out by the stage itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from codec import CodecConfig
from codec.training.phase_checks import check_phase

from .config import Config
from .schema_codec import CodecConfig as CodecSettings
from .stage_list import STAGES, StageError, stage_folder

# Of an encoder that takes states of one.
NO_SPEECH_ENCODER = (
    "codec.speech_encoder_from: expected a folder of a Whisper, or codec.start with one in its "
    "encoder, for overrides.encoder.speech_layers > 0, got neither: frozen states of random weights"
)
# Corpora that have no manifest.
MADE, PUBLISHED = ("espeak", "kokoro"), {"ljspeech": "LJSpeech-1.1", "libritts": "LibriTTS"}


def check_inputs(config: Config, names: Sequence[str]) -> None:
    """Refuse stages that cannot run as asked.

    Args:
        config: The run's settings.
        names: Stages, in their own order; those that are done are not looked at.

    Raises:
        StageError: The first of `missing_inputs`.
    """
    for problem in missing_inputs(config, names):
        raise StageError(problem)


def missing_inputs(config: Config, names: Sequence[str]) -> Iterator[str]:
    """Yield what is missing or cannot go together, in words, in the order of the stages."""
    if shared := _of_several_devices(config, names):
        yield shared
    for number, name in enumerate(names):
        if is_done(config, name):
            continue
        for upstream in STAGES[name].upstream:
            if not is_done(config, upstream) and upstream not in names[:number]:
                marker = stage_folder(config, upstream) / "done.json"
                yield (
                    f"{name} reads what {upstream} makes, and {marker} is not there: "
                    f"run the stages up to it first (stages={upstream},{name})"
                )
        if name in INPUTS:
            yield from INPUTS[name](config)


def is_done(config: Config, name: str) -> bool:
    """Tell whether a stage of this run is finished, whatever its settings were."""
    return (stage_folder(config, name) / "done.json").is_file()


def _of_several_devices(config: Config, names: Sequence[str]) -> str:
    """A launcher ends all processes of a stage together, and with them the command."""
    sections = {name: getattr(config, name) for name in ("train_codec", "train_slm")}
    shared = [name for name, each in sections.items() if each.devices * each.num_nodes > 1]
    # A codec that is taken as it is needs no devices.
    if not config.train_codec.phases:
        shared = [name for name in shared if name != "train_codec"]
    if len(shared) < 2 or not set(shared) <= set(names):
        return ""
    return (
        f"expected one stage of several devices in a command, got {' and '.join(shared)}: the "
        "other processes end with the first; run each by itself (stages=train_codec)"
    )


def _of_prepare(config: Config) -> Iterator[str]:
    """The corpora."""
    if config.corpus in PUBLISHED:
        folder, name = Path(config.corpora.folder), PUBLISHED[config.corpus]
        if not config.corpora.download and not (folder / name).is_dir():
            yield (
                f"corpora.folder: expected {name} in {folder}, found none; give its folder, or "
                "fetch it with corpora.download=true"
            )
    elif config.corpus not in MADE:
        known = ", ".join((*MADE, *PUBLISHED))
        yield from _manifest(config.corpus, f"corpus: expected {known} or a folder")
    for corpus in config.further_corpora:
        yield from _manifest(corpus, "further_corpora: expected a folder")


def _manifest(corpus: str, expected: str) -> Iterator[str]:
    """The manifest of a corpus in a folder of this machine."""
    if "://" not in corpus and not (Path(corpus) / "manifest.jsonl").is_file():
        yield (
            f"{expected} that holds manifest.jsonl, got {corpus!r}; a folder of recordings becomes "
            "one with python -m recipes.import_corpus folder"
        )


def _of_train_codec(config: Config) -> Iterator[str]:
    """Phases or a codec to take as it is, and the sources of crops."""
    codec, training = config.codec, config.train_codec
    if not training.phases and codec.start is None:
        yield (
            "train_codec.phases: expected at least one phase, or codec.start to take as it is; "
            "got neither"
        )
    if training.phases:
        wanted = ["valid"] if training.sources is not None else ["train", "valid"]
        advice = "or train_codec.sources in place of train"
        yield from _stored(config, "train_codec", wanted, advice)
    yield from missing_model("codec.start", codec.start, "codec")
    if training.phases:
        yield from _codec_and_phases(config)
    for name, source in (training.sources or {}).items():
        if not Path(source.corpus).exists():
            yield (
                f"train_codec.sources.{name}.corpus: expected a manifest, a CutSet or a folder "
                f"of recordings, got {source.corpus!r}"
            )
        elif source.select and Path(source.corpus).is_dir():
            yield (
                f"train_codec.sources.{name}.corpus: expected a manifest, whose rows have "
                f"{', '.join(source.select)}, got the folder {source.corpus!r}"
            )


def _codec_and_phases(config: Config) -> Iterator[str]:
    """The sizes of the codec, the models that it begins with, and its phases."""
    try:
        sizes = codec_sizes(config.codec)
        for name, phase in config.train_codec.phases.items():
            check_phase(sizes, replace(phase, name=name))
    except ValueError as error:
        yield str(error)
        return
    speech, begun = config.codec.speech_encoder_from, config.codec.start
    if speech is not None and not (Path(speech) / "config.json").is_file():
        yield (
            "codec.speech_encoder_from: expected a folder of a Whisper in the transformers layout, "
            f"got {speech!r} without a config.json"
        )
    if sizes.encoder.speech_layers and speech is None and begun is None:
        yield NO_SPEECH_ENCODER


def codec_sizes(codec: CodecSettings) -> CodecConfig:
    """The config of the codec that a run trains: a preset and what it overrides, field by field.

    Raises:
        ValueError: An unknown preset, or overrides that do not fit it.
    """
    preset = CodecConfig.preset(codec.preset).to_dict()
    merged: Any = OmegaConf.to_container(OmegaConf.merge(preset, codec.overrides))
    return CodecConfig.from_dict(merged)


def _stored(config: Config, stage: str, splits: Sequence[str], advice: str) -> Iterator[str]:
    """Splits whose waveforms a stage reads."""
    stored = config.prepare.stored_splits
    missing = [split for split in splits if split not in stored]
    if missing:
        yield (
            f"prepare.stored_splits: expected {', '.join(missing)}, whose waveforms {stage} reads, "
            f"{advice}; got {stored}"
        )


def _of_encode_corpus(config: Config) -> Iterator[str]:
    """Stored waveforms, and a codec whose codes are all there is of a recording."""
    if config.train_codec.phases and "voice" in config.codec.overrides:
        try:
            codec_sizes(config.codec).voice.refuse("encode_corpus, whose stores hold codes alone")
        except ValueError as error:
            yield str(error)
    if not config.encode_corpus.recordings:
        advice = "or encode_corpus.recordings=true"
        yield from _stored(config, "encode_corpus", ("train", "valid", "test"), advice)


def _of_generate(config: Config) -> Iterator[str]:
    advice = "as the evaluation does"
    yield from _stored(config, "generate", ("valid", "test"), advice)


def _of_train_text(config: Config) -> Iterator[str]:
    if config.train_text.kind == "phones":
        advice = "or train_text.kind=pieces"
        yield from _stored(config, "train_text", ("train", "valid", "test"), advice)
    yield from missing_model("train_text.start", config.train_text.start, "slm")


def _of_train_slm(config: Config) -> Iterator[str]:
    yield from missing_model("train_slm.start", config.train_slm.start, "slm")
    begun = config.train_slm.resume_from
    if begun is not None and not Path(begun).is_file():
        yield f"train_slm.resume_from: expected a checkpoint, found none at {begun}"


def missing_model(key: str, source: str | None, package: str) -> Iterator[str]:
    """Yield what is wrong with a name that is no folder, bundled model or hub repository."""
    if source is None or Path(source).is_dir():
        return
    models = [each.name for each in files(package).joinpath("pretrained").iterdir()]
    if source in models:
        return
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        yield (
            f"{key}: expected a model's folder, a hub repository (owner/name) or one of "
            f"{', '.join(sorted(models))}, got {source!r}, which is not there"
        )


# Of each stage that reads more than the folders of others.
INPUTS = {
    "prepare": _of_prepare,
    "train_codec": _of_train_codec,
    "encode_corpus": _of_encode_corpus,
    "train_text": _of_train_text,
    "train_slm": _of_train_slm,
    "generate": _of_generate,
}

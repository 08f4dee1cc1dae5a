"""The stages of a run: what each makes, the settings it reads, the stages before it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .config import Config


class StageError(ValueError):
    """A stage that cannot run as asked, with what to do about it."""


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        summary: Its work in a line.
        settings: Top-level settings that it reads.
        upstream: Stages before it, whose folders it reads.
        writes: Files and folders that it leaves in its own, but for those of every stage.
    """

    summary: str
    settings: tuple[str, ...]
    upstream: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


STAGES = {
    "prepare": Stage(
        "corpus -> one store of equal-loudness 24 kHz waveforms per split",
        (
            "corpus",
            "further_corpora",
            "languages",
            "seed",
            "prepare",
            "corpora",
            "espeak",
            "kokoro",
            "strings",
        ),
        writes=("train/", "valid/", "test/", "skipped.jsonl", "origin.json"),
    ),
    "train_codec": Stage(
        "waveforms -> the codec: encoder, quantizer, decoder, vocoder",
        ("seed", "codec", "train_codec"),
        ("prepare",),
        ("model/",),
    ),
    "encode_corpus": Stage(
        "waveforms -> the token store: one sequence of codes per clip",
        ("encode_corpus",),
        ("prepare", "train_codec"),
        ("train/", "valid/", "test/", "bad_files.jsonl"),
    ),
    "train_text": Stage(
        "transcripts -> the SentencePiece text model",
        ("seed", "train_text"),
        ("prepare",),
        ("text.model, or lexicon.xz and <split>.alignment.jsonl",),
    ),
    "train_slm": Stage(
        "text and codes -> the speech language model",
        ("seed", "train_slm"),
        ("encode_corpus", "train_text"),
        ("model/", "last.ckpt", "metrics.jsonl", "too_long.jsonl"),
    ),
    "generate": Stage(
        "text and prompts -> reconstructed and generated recordings",
        ("seed", "generate"),
        ("train_slm",),
        ("reconstructed/", "spoken/", "continued/"),
    ),
    "evaluate": Stage(
        "recordings -> figures with intervals, and report.html",
        ("seed", "evaluate"),
        ("generate",),
        ("report.html", "reconstruction/", "words/"),
    ),
}


def stage_folder(config: Config, name: str) -> Path:
    """Return the folder of a stage in this run."""
    return Path(config.run) / name

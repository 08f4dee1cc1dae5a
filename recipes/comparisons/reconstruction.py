"""Codecs side by side on the test sets that papers report: LibriTTS and seed-tts-eval.

    python -m recipes.comparisons.reconstruction recipes/configs/reconstruction.yaml
        sets.test_clean.folder=data/LibriTTS/test-clean
        sets.test_other.folder=data/LibriTTS/test-other
        sets.seed.folder=data/seedtts_testset/en/meta.lst run=runs/reconstruction

Every system recodes every clip and is scored as by `recipes.comparisons.anchors`, whose folder of a
set is run/<set>. Ends with run/reconstruction.md and run/reconstruction.json: bit rates, UTMOS,
STOI, V/UV F1 and speaker similarity of each system beside those of the recordings, and the use of
its codebooks. Metrics and peers whose weights are not there are left out and named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from codec.audio.io import AudioError, audio_info
from codec.checks import at_least, one_of, require
from codec.error_text import message_of
from codec.files import write_json, write_text
from codec.files.json_lines import read_lines
from codec.files.names import check_items
from codec.provenance import provenance
from eval.metrics.readiness import obstacles
from eval.metrics.registry import make_metrics
from recipes.adaptability.tokenizers import TokenizerConfig, missing_weights
from recipes.corpora.manifest import MANIFEST_NAME, CorpusRow, read_manifest
from recipes.corpora.preparation import spread
from recipes.corpora.published import libritts_subset_rows
from recipes.runner.stages import say

from .anchors import run_anchors
from .anchors_config import ORIGINAL, AnchorsConfig
from .comparison_table import ComparisonTable, comparison_command
from .reconstruction_table import PROGRAM, reconstruction_markdown

LAYOUTS = ("libritts", "seed_tts", "manifest")


@dataclass
class TestSet:
    """Clips of one test set."""

    # libritts: a folder such as LibriTTS/test-clean; seed_tts: a meta.lst, whose recordings are
    # those of its fifth column, else its prompts; manifest: a folder that holds manifest.jsonl.
    layout: str = "libritts"
    folder: str = MISSING
    # Of a manifest: its clips of this split.
    split: str = "test"

    def __post_init__(self) -> None:
        one_of("layout", self.layout, LAYOUTS)


@dataclass
class ReconstructionConfig:
    """The test sets, the codecs and the metrics."""

    sets: dict[str, TestSet] = field(default_factory=dict)
    run: str = MISSING
    # Clips of each set at most, evenly spread; null = all.
    clips: int | None = None
    # Bundled names, model folders or hub repositories of ours, by commas.
    codec: list[str] = field(default_factory=lambda: ["hh-mini-24k-v2"])
    # Codecs of transformers and others by name, as in adapt.yaml.
    tokenizers: dict[str, TokenizerConfig] = field(default_factory=dict)
    classical: list[str] = field(default_factory=lambda: [ORIGINAL])
    # Names of hh-eval doctor's list, and those that are left out where they cannot run.
    metrics: list[str] = field(default_factory=lambda: ["stoi", "pitch"])
    where_ready: list[str] = field(default_factory=lambda: ["utmos22", "speaker_sim", "wavlm_sim"])
    # Clips are coded at their own level unless an RMS is given, dB relative to full scale.
    loudness_dbfs: float | None = None
    sample_rate: int = 24000
    seed: int = 0
    workers: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        require(bool(self.sets), "sets", "at least one test set", self.sets)
        if self.clips is not None:
            at_least("clips", self.clips, 1)


def main(argv: Sequence[str] | None = None) -> int:
    """Recode, score, tabulate; returns the exit status, 1 when a clip failed."""
    return comparison_command(
        PROGRAM, __doc__ or "", ReconstructionConfig, run_reconstruction, argv
    )


def run_reconstruction(
    config: ReconstructionConfig, argv: Sequence[str] | None = None
) -> ComparisonTable:
    """Recode and score every set by every system that is there, then write the tables.

    Args:
        config: Settings.
        argv: Words of the call, for the provenance; None for the process's.

    Raises:
        ValueError: Before any clip is read: a test set that is not there or breaks its layout, a
            metric asked for that cannot run, or a folder made with other settings.
    """
    check_items(config.sets)
    rows = {name: spread(set_rows(each), config.clips) for name, each in config.sets.items()}
    left_out = missing_metrics(config.where_ready) | missing_tokenizers(config)
    ready = [name for name in config.where_ready if name not in left_out]
    tokenizers = {name: each for name, each in config.tokenizers.items() if name not in left_out}
    for name, reason in left_out.items():
        say("reconstruction", f"left out {name}: {reason}")
    found = {}
    for name, clips in rows.items():
        say("reconstruction", f"{name}: {len(clips)} clips")
        settings = AnchorsConfig(
            corpus=name,
            run=str(Path(config.run) / name),
            codec=config.codec,
            tokenizers=tokenizers,
            classical=config.classical,
            metrics=[*config.metrics, *ready],
            sample_rate=config.sample_rate,
            loudness_dbfs=config.loudness_dbfs,
            seed=config.seed,
            workers=config.workers,
            threads=config.threads,
        )
        found[name] = run_anchors(settings, argv, rows=clips).figures
    figures = {
        "sets": {
            name: {"subject": each["subject"], "systems": each["systems"]}
            for name, each in found.items()
        },
        "left_out": left_out,
        "failed": sum(each["failed"] for each in found.values()),
        "provenance": provenance(PROGRAM, argv),
    }
    write_json(Path(config.run) / "reconstruction.json", figures)
    markdown = reconstruction_markdown(figures)
    write_text(Path(config.run) / "reconstruction.md", markdown)
    return ComparisonTable(markdown, figures)


def set_rows(test_set: TestSet) -> list[CorpusRow]:
    """Read the clips of a test set in its own order.

    Raises:
        ValueError: It is not there, has no clips, or breaks its layout.
    """
    folder = Path(test_set.folder)
    if test_set.layout == "seed_tts":
        return seed_tts_rows(folder)
    if test_set.layout == "libritts":
        return libritts_subset_rows(folder)
    rows = [r for r in read_manifest(folder / MANIFEST_NAME) if r.split in ("", test_set.split)]
    require(bool(rows), "split", f"one with clips in {folder}", test_set.split)
    return rows


def seed_tts_rows(meta: Path) -> list[CorpusRow]:
    """Read the recordings of a meta.lst: of its fifth column, else its prompts, each file once.

    Raises:
        ValueError: No such file, a line of another form, or a recording that cannot be read.
    """
    require(meta.is_file(), "folder", "the path of a meta.lst", meta)
    rows: dict[Path, CorpusRow] = {}
    for number, line in read_lines(meta):
        if not line.strip():
            continue
        fields = [each.strip() for each in line.split("|")]
        expected = "utt|prompt_text|prompt_wav|text[|reference_wav]"
        require(len(fields) in (4, 5), f"{meta}:{number}", expected, line[:80])
        _, prompt_text, prompt, text = fields[:4]
        has_reference = len(fields) == 5 and bool(fields[4])
        audio = meta.parent / (fields[4] if has_reference else prompt)
        try:
            num_samples, sample_rate = audio_info(audio)
        except (AudioError, OSError) as error:
            raise ValueError(f"{meta}:{number}: {message_of(error)}") from error
        said = text if has_reference else prompt_text
        # The list names no speakers.
        rows[audio] = CorpusRow(audio.stem, audio, num_samples / sample_rate, said, "", "", "test")
    require(bool(rows), "folder", "a meta.lst with lines", meta)
    return list(rows.values())


def missing_metrics(names: Sequence[str]) -> dict[str, str]:
    """Say why some of the metrics cannot run here, by name."""
    reasons = {name: obstacles(make_metrics([name])[0]) for name in names}
    return {name: "; ".join(each) for name, each in reasons.items() if each}


def missing_tokenizers(config: ReconstructionConfig) -> dict[str, str]:
    """Say why some of the tokenizers cannot be loaded here, by name."""
    reasons = {name: missing_weights(name, each) for name, each in config.tokenizers.items()}
    return {name: reason for name, reason in reasons.items() if reason}


if __name__ == "__main__":
    raise SystemExit(main())

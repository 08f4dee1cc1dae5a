"""Our codecs beside classical coders in one table, on the same clips, with intervals.

    python -m recipes.comparisons.anchors recipes/configs/anchors.yaml corpus=../shared/speech
        run=runs/anchors

Every system recodes the clips of a split (run/<system>/audio), every metric scores them, and
run/anchors.md and run/anchors.json hold figures, measured bit rates and the paired differences of
each of our codecs from every other system. What is done is kept: a run that was cut off resumes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from codec.audio.io import normalize_loudness, read_audio, write_audio
from codec.files import read_json, write_json
from codec.files.derived import digest_of, file_state
from codec.files.json_lines import appending, keep_json_lines, read_json_lines
from codec.files.names import check_items, item_path
from eval.baselines.classical_codecs import make_recoder
from eval.baselines.token_streams import TokenizerRecoder
from eval.metrics.readiness import require_ready
from eval.metrics.registry import make_metrics, with_whisper
from eval.protocols import Metric, Recoder
from eval.scoring.bootstrap import group_count
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from recipes.adaptability.tokenizers import HHRecoder, make_tokenizer
from recipes.corpora.manifest import MANIFEST_NAME, CorpusRow, read_manifest
from recipes.corpora.preparation import spread
from recipes.runner.run_folder import own_folder
from recipes.runner.stages import say

from .anchors_config import AnchorsConfig
from .anchors_table import PARTS, PROGRAM, RECODED, AnchorSystem, write_anchors
from .clip_sets import choose_rows
from .codec_stages import StageRecoder, system_name
from .comparison_table import ComparisonTable, comparison_command

# What may differ between calls on one folder: what is done already is kept, what is new is added.
ADDED = (
    "workers",
    "threads",
    "metrics",
    "word_metrics",
    "word_sources",
    "classical",
    "codec",
    "search",
    "stages",
    "tokenizers",
)
KMEANS_CLIPS = 400
# Folder of the clips as they are compared with.
RECORDINGS = "recordings"


def main(argv: Sequence[str] | None = None) -> int:
    """Recode, score, compare; returns the exit status, 1 when a clip failed."""
    return comparison_command(PROGRAM, __doc__ or "", AnchorsConfig, run_anchors, argv)


def run_anchors(
    config: AnchorsConfig,
    argv: Sequence[str] | None = None,
    *,
    rows: Sequence[CorpusRow] | None = None,
) -> ComparisonTable:
    """Recode and score by every system, then write the table.

    Args:
        config: Settings of the comparison.
        argv: Words of the call, for the provenance; None for the process's.
        rows: Clips in place of those of a manifest.

    Raises:
        ValueError: Before any clip is read: a metric or program that is missing, an unknown name,
            two systems of one name, a folder made with other settings.
    """
    ours = [*config.codec, *config.searched, *config.tokenizers]
    # Folders of one run, beside that of the recordings: two of one name would share a row.
    others = [*config.cut_short, *config.classical]
    check_items([RECORDINGS, *map(system_name, (*ours, *others))])
    metrics = make_metrics(config.metrics)
    word_metrics = make_metrics(with_whisper(config.word_metrics))
    for setting, chosen in (("metrics", metrics), ("word_metrics", word_metrics)):
        if chosen:
            require_ready(chosen, setting=setting)
    for name in config.classical:
        make_recoder(name)  # an unknown coder is refused before any clip is read
    rows = chosen_rows(config) if rows is None else rows
    # Those of a list are named by their files, which may lie in several folders.
    check_items((row.id for row in rows), ".flac")
    run = Path(config.run)
    with own_folder(config, run, ADDED):
        if config.threads:
            torch.set_num_threads(config.threads)
        systems = []
        for name in [*ours, *others]:
            folder = run / system_name(name)
            recoder = make_system(config, name)
            bind_folder(folder, recoder)
            recode_clips(config, recoder, rows, folder)
            score_system(config, rows, folder, metrics, word_metrics)
            # Ours come first in the table, and are set in bold type.
            clips = frozenset(row.id for row in rows)
            title, is_ours = system_name(name), name in ours
            systems.append(AnchorSystem(title, folder, recoder.bitrate, is_ours, clips))
        return write_anchors(systems, run, subject(config, rows), argv)


def chosen_rows(config: AnchorsConfig) -> list[CorpusRow]:
    """Choose clips of the split, evenly spread.

    Raises:
        ValueError: No manifest, or none of the split.
    """
    return choose_rows(
        config.corpus,
        config.split,
        sources=config.sources,
        speakers=config.speakers,
        clips=config.clips,
    )


def make_system(config: AnchorsConfig, name: str) -> Recoder:
    """Make a recoder by its name in the settings; k-means is trained on clips of train."""
    if name in config.codec:
        return HHRecoder(name)
    if name in config.searched:
        return HHRecoder(*config.searched[name])
    if name in config.cut_short:
        return StageRecoder(*config.cut_short[name])
    if name not in config.tokenizers:
        return make_recoder(name)
    tokenizer = make_tokenizer(
        name,
        config.tokenizers[name],
        folder=Path(config.run) / name / "tokenizer",
        waveforms=lambda rate: (
            levelled(config, read_audio(row.audio, rate)) for row in training_rows(config)
        ),
        seed=config.seed,
    )
    return TokenizerRecoder(tokenizer)


def training_rows(config: AnchorsConfig) -> list[CorpusRow]:
    """Choose the clips that k-means is trained on: a few minutes of speech of train."""
    rows = read_manifest(Path(config.corpus) / MANIFEST_NAME)
    return spread([row for row in rows if row.split == "train"], KMEANS_CLIPS)


def bind_folder(folder: Path, recoder: Recoder) -> None:
    """Bind a folder to the codec whose clips it holds.

    Raises:
        ValueError: It holds clips of another codec.
    """
    of = recoder.tokenizer if isinstance(recoder, TokenizerRecoder) else recoder
    own = {"fingerprint": getattr(of, "fingerprint", recoder.name)}
    path = folder / "system.json"
    if not path.is_file():
        write_json(path, own)
    elif (before := read_json(path)) != own:
        raise ValueError(f"{folder}: expected clips of {own}, got {before}; delete the folder")


def recording_origin(config: AnchorsConfig, row: CorpusRow) -> str:
    """Digest of what a clip of run/recordings is made from."""
    return digest_of(file_state(row.audio)[1:], config.sample_rate, config.loudness_dbfs)


def recording(config: AnchorsConfig, row: CorpusRow) -> Path:
    """Write run/recordings/<id>.flac, the clip at the run's rate and loudness, unless it is there.

    It is written again where the corpus's own recording has changed.
    """
    path = item_path(Path(config.run) / RECORDINGS, row.id, ".flac")
    note, origin = path.with_name(f".{path.name}.origin.json"), recording_origin(config, row)
    if not (path.is_file() and note.is_file() and read_json(note) == origin):
        note.unlink(missing_ok=True)  # a kill must leave no note of another clip
        waveform = levelled(config, read_audio(row.audio, config.sample_rate))
        write_audio(path, waveform, config.sample_rate)
        write_json(note, origin)
    return path


def levelled(config: AnchorsConfig, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring a waveform (T,) to the run's loudness, where it has one."""
    if config.loudness_dbfs is None:
        return waveform
    return normalize_loudness(waveform, config.loudness_dbfs, config.sample_rate)


def recode_clips(
    config: AnchorsConfig, recoder: Recoder, rows: Sequence[CorpusRow], folder: Path
) -> None:
    """Write folder/audio/<id>.flac and a line of folder/recoded.jsonl for every clip.

    Lines of clips that have changed, or that do not say what they are of, are dropped.
    """
    path = folder / RECODED
    origins = {row.id: recording_origin(config, row) for row in rows}
    chosen = origins.keys()
    keep_json_lines(path, lambda r: r["id"] not in chosen or r.get("of") == origins[r["id"]])
    done = {row["id"] for row in read_json_lines(path, torn="drop", missing_ok=True)}
    with appending(path) as append:
        for row in tqdm(rows, desc=f"{recoder.name}: recode", unit="clip"):
            if row.id in done:
                continue
            waveform = read_audio(recording(config, row), config.sample_rate)
            coded = item_path(folder / "audio", row.id, ".flac")
            # A clip that is not there is counted as failed, and tried again by the next call.
            coded.unlink(missing_ok=True)
            try:
                recoded = recoder.recode(waveform, config.sample_rate)
            except (ValueError, RuntimeError) as error:
                say("anchors", f"{recoder.name} cannot recode {row.id}: {error}")
                continue
            write_audio(coded, recoded.waveform, config.sample_rate)
            seconds = len(waveform) / config.sample_rate
            # After the clip: a line stands for a file that is whole.
            line = {"id": row.id, "bits": recoded.bits, "seconds": seconds}
            if recoded.codes is not None and isinstance(recoder, TokenizerRecoder):
                line |= {
                    "codes": recoded.codes.tolist(),
                    "codebook_size": recoder.tokenizer.codebook_size,
                    "frame_rate": recoder.tokenizer.frame_rate,
                }
            append({**line, "of": origins[row.id]})


def score_system(
    config: AnchorsConfig,
    rows: Sequence[CorpusRow],
    folder: Path,
    metrics: Sequence[Metric],
    word_metrics: Sequence[Metric],
) -> None:
    """Score one system's clips: folder/scored of all, folder/words of the chosen sources."""
    pairs = []
    for row in rows:
        coded = item_path(folder / "audio", row.id, ".flac")
        pairs.append(Pair(row.id, recording(config, row), coded, row.text, row.speaker))
    worded = {r.id for r in rows if r.text and r.extra.get("source") in config.word_sources}
    of_words = [pair for pair in pairs if pair.id in worded]
    for part, chosen, by in zip(PARTS, (pairs, of_words), (metrics, word_metrics), strict=True):
        if chosen and by:
            score_pairs(chosen, by, folder / part, num_workers=config.workers, seed=config.seed)


def subject(config: AnchorsConfig, rows: Sequence[CorpusRow]) -> dict[str, Any]:
    """Describe the clips."""
    return {
        "corpus": Path(config.corpus).name,
        "split": config.split,
        "clips": len(rows),
        "seconds": round(sum(row.duration for row in rows), 1),
        "speakers": group_count([row.speaker for row in rows]),
        "speakers_elsewhere": speakers_elsewhere(config, rows),
    }


def speakers_elsewhere(config: AnchorsConfig, rows: Sequence[CorpusRow]) -> int | None:
    """Count the speakers of clips that other splits of the corpus have; None without a manifest."""
    manifest = Path(config.corpus) / MANIFEST_NAME
    if not manifest.is_file():
        return None
    others = {row.speaker for row in read_manifest(manifest) if row.split != config.split}
    return group_count(list({row.speaker for row in rows} & others))


if __name__ == "__main__":
    raise SystemExit(main())

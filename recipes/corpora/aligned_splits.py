"""Alignments of the clips of a split, in worker processes, kept as they are made.

An alignment is a line of `<split>.alignment.jsonl` with its score; a clip that could not be aligned
is a line of `<split>.unaligned.jsonl` with the reason. A run that was cut off goes on after its
last line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from codec.audio.store import AudioStore
from codec.files.json_lines import appending, read_json_lines, write_json_lines
from codec.runtime.workers import DEADLY, Workers
from slm.data.alignment import Unit, read_alignments, write_alignments

from .forced_alignment import Aligner, AlignmentError

# Id, units, score, and the reason where there are none.
Result = tuple[str, list[Unit], float | None, str]


def align_split(
    clips: AudioStore, folder: Path, aligner: Aligner, languages: list[str], workers: int = 0
) -> dict[str, int]:
    """Align a split's clips that have a text in one of the languages.

    Args:
        clips: Waveforms and texts.
        folder: For `<split>.alignment.jsonl` and `<split>.unaligned.jsonl`.
        aligner: Of these languages.
        languages: As the rows spell them.
        workers: Processes that align, which change no result; 0 = in this one.

    Returns:
        Number of clips that are `aligned`, `failed` or `without` such a text.
    """
    split = clips.folder.name
    done, partial = folder / f"{split}.alignment.jsonl", folder / f".{split}.aligning.jsonl"
    wanted = [
        index
        for index, row in enumerate(clips.rows)
        if row["lang"] in languages and row["text"].strip()
    ]
    # Both lists are written when the last clip is done; until then `partial` keeps the results.
    if not done.is_file():
        results = list(_results(clips, wanted, aligner, partial, workers))
        failures = [{"id": name, "reason": reason} for name, _, _, reason in results if reason]
        write_json_lines(folder / f"{split}.unaligned.jsonl", failures)
        scores = {name: score for name, _, score, _ in results}
        good = [(name, units) for name, units, _, reason in results if not reason]
        write_alignments(done, good, scores)
        partial.unlink(missing_ok=True)
    aligned = len(read_alignments(done))
    return {
        "aligned": aligned,
        "failed": len(wanted) - aligned,
        "without": len(clips.rows) - len(wanted),
    }


def alignments_of(folder: Path, split: str) -> dict[str, list[Unit]]:
    """Read the units of a split by clip id; {} where nothing was aligned."""
    path = folder / f"{split}.alignment.jsonl"
    return read_alignments(path) if path.is_file() else {}


def _results(
    clips: AudioStore, wanted: list[int], aligner: Aligner, partial: Path, workers: int
) -> Iterator[Result]:
    """Results of the wanted clips in order, each written to `partial` as soon as it is there."""
    kept = read_json_lines(partial, torn="drop", missing_ok=True)
    for row in kept:
        # A line of an earlier version has no score.
        yield row["id"], [Unit(*unit) for unit in row["units"]], row.get("score"), row["reason"]
    left = wanted[len(kept) :]
    setup_args = (clips.folder, aligner)
    with (
        appending(partial) as append,
        Workers(
            workers,
            setup=_set_up,
            setup_args=setup_args,
            teardown=_tear_down,
            threads=1,
            spare_few=True,
        ) as pool,
    ):
        found = pool.map(_align, left, deadly=_unaligned)
        bar = tqdm(found, f"align {clips.folder.name}", len(left), unit="clip")
        for index, (units, score, reason) in zip(left, bar, strict=True):
            name = clips.rows[index]["id"]
            append({"id": name, "units": units, "score": score, "reason": reason})
            yield name, units, score, reason


# The clips and the aligner of a process that aligns.
_at_work: tuple[AudioStore, Aligner] | None = None


def _set_up(folder: Path, aligner: Aligner) -> None:
    """Open the clips of a split in the process that is to align them."""
    global _at_work
    _at_work = AudioStore(folder), aligner


def _tear_down() -> None:
    """Drop the clips and the aligner, which may be a model of a gigabyte."""
    global _at_work
    _at_work = None


def _align(index: int) -> tuple[list[Unit], float | None, str]:
    """Units and score of a clip of the split, or the reason why it has none."""
    assert _at_work is not None
    clips, aligner = _at_work
    try:
        waveform, text = clips.waveform(index), clips.rows[index]["text"]
        units, score = aligner.align(waveform, clips.sample_rate, text)
    except AlignmentError as error:
        return [], None, str(error)
    return units, score, ""


def _unaligned(index: int) -> tuple[list[Unit], float | None, str]:
    """The result of a clip on which two processes died."""
    return [], None, DEADLY

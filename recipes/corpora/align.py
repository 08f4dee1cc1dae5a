"""Aligning the transcribed clips of a split, resumably: a part of the stage `train_text`.

An alignment is a line of `<split>.alignment.jsonl`; a clip that could not be aligned is a line of
`<split>.unaligned.jsonl` with the reason. A run that was cut off goes on after its last line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from codec.audio.store import AudioStore
from recipes.runner.files import write_json_lines
from slm.data.alignment import Unit, read_alignments, write_alignments

from .forced_alignment import Aligner, AlignmentError

Result = tuple[str, list[Unit], str]  # id, units, and why there are none


def align_split(
    clips: AudioStore, folder: Path, aligner: Aligner, languages: list[str]
) -> dict[str, int]:
    """Align a split's clips that have a text in one of the languages; how many there are of each.

    Args:
        clips: Waveforms and texts.
        folder: Where `<split>.alignment.jsonl` and `<split>.unaligned.jsonl` go.
        aligner: Of these languages.
        languages: As the rows spell them.
    """
    split = clips.folder.name
    done, missing = folder / f"{split}.alignment.jsonl", folder / f"{split}.unaligned.jsonl"
    wanted = [
        index
        for index, row in enumerate(clips.rows)
        if row["lang"] in languages and row["text"].strip()
    ]
    if not done.is_file():
        results = list(_results(clips, wanted, aligner, folder / f".{split}.partial.jsonl"))
        failures = [{"id": name, "reason": reason} for name, _, reason in results if reason]
        write_json_lines(missing, failures)
        write_alignments(done, [(name, units) for name, units, reason in results if not reason])
        (folder / f".{split}.partial.jsonl").unlink(missing_ok=True)
    aligned = len(read_alignments(done))
    return {
        "aligned": aligned,
        "failed": len(wanted) - aligned,
        "without": len(clips.rows) - len(wanted),
    }


def _results(
    clips: AudioStore, wanted: list[int], aligner: Aligner, partial: Path
) -> Iterator[Result]:
    """Results of the wanted clips in order, each written to `partial` as soon as it is there."""
    kept = list(_kept(partial))
    yield from kept
    with partial.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(result) + "\n" for result in kept)
        for index in tqdm(wanted[len(kept) :], desc=f"align {clips.folder.name}", unit="clip"):
            row = clips.rows[index]
            units: list[Unit] = []
            reason = ""
            try:
                units = aligner.units(clips.waveform(index), clips.sample_rate, row["text"])
            except AlignmentError as error:
                reason = str(error)
            result = (row["id"], units, reason)
            lines.write(json.dumps(result) + "\n")
            lines.flush()
            yield result


def _kept(partial: Path) -> Iterator[Result]:
    """Whole lines of a run that was cut off."""
    if not partial.is_file():
        return
    for line in partial.read_text(encoding="utf-8").splitlines():
        try:
            name, units, reason = json.loads(line)
        except json.JSONDecodeError:
            return  # the line that was being written
        yield name, [Unit(*unit) for unit in units], reason


def alignments_of(folder: Path, split: str) -> dict[str, list[Unit]]:
    """Units by clip id of a split; none where nothing was aligned."""
    path = folder / f"{split}.alignment.jsonl"
    return read_alignments(path) if path.is_file() else {}

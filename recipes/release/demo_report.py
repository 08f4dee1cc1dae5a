"""Results of the demo: their scores, and one HTML page with pictures and players."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.metrics.readiness import obstacles
from eval.metrics.registry import (
    INTELLIGIBILITY,
    RECONSTRUCTION,
    WHERE_READY,
    make_metrics,
    with_whisper,
)
from eval.reporting.report import Clip, Report, Table, write_report
from eval.reporting.sections import item_notes, summary_failures, summary_table
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from eval.sound import Sound
from slm import Synthesis

from .demo_recordings import Recording

RECONSTRUCTED_NOTE = (
    "Made from the codes alone, beside the recording. Too few clips to rate a codec: the "
    "model card has the table."
)
CONTINUED_NOTE = "Speaker similarity of the given beginning and the generated continuation."


@dataclass
class Demo:
    """Everything that the demo makes, and the time of each part."""

    texts: list[str] = field(default_factory=list)  # sentences
    voices: list[str] = field(default_factory=list)  # who speaks each sentence, in words
    spoken: list[Synthesis] = field(default_factory=list)  # synthesized speech, one a sentence
    recordings: list[Recording] = field(default_factory=list)  # inputs of the codec
    # (T,) waveforms, one a recording.
    reconstructed: list[NDArray[np.float32]] = field(default_factory=list)
    prompt: NDArray[np.float32] | None = None  # (T,) beginning of the first recording
    continued: Synthesis | None = None  # the prompt, reconstructed, and its continuation
    continuations: int = 1  # draws, of which the longest is `continued`
    # (of work, of audio) by part; no audio where a part makes none.
    seconds: dict[str, tuple[float, float | None]] = field(default_factory=dict)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Time a part; `made` adds the audio of it."""
        print(f"[demo] {part}", file=sys.stderr, flush=True)
        start = time.perf_counter()
        yield
        self.seconds[part] = time.perf_counter() - start, None

    def made(self, part: str, seconds: float) -> None:
        """Add the seconds of audio that a timed part made."""
        self.seconds[part] = self.seconds[part][0], seconds


@dataclass
class Scores:
    """Scores of the demo's results."""

    folder: Path  # with a folder of scores for each group
    # Summaries of the scores, by group.
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Reasons why a metric cannot run here, by its name.
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def score(self, group: str, pairs: Sequence[Pair], names: Sequence[str]) -> None:
        """Score a group by those metrics that can run here."""
        ready = []
        for name, metric in zip(names, make_metrics(names), strict=True):
            reasons = obstacles(metric)
            if reasons:
                self.skipped[name] = reasons
            else:
                ready.append(metric)
        if pairs and ready:
            self.summaries[group] = score_pairs(
                pairs, ready, self.folder / group, show_progress=False
            )

    def headline(self) -> dict[str, float]:
        """Collect every figure that has a value, as "group figure"."""
        return {
            f"{group} {name}": figure["value"]
            for group, summary in self.summaries.items()
            for metric in summary["metrics"].values()
            for name, figure in metric["figures"].items()
            if figure["value"] is not None
        }

    def notes(self, group: str, item: str) -> dict[str, str]:
        """Collect notes for the clip of an item, none where it was not scored."""
        return item_notes(self.folder / group, item) if group in self.summaries else {}


def measure(demo: Demo, folder: Path, rate: int) -> Scores:
    """Score all results of the demo by metrics that need no weights to be fetched.

    Args:
        demo: Its results.
        folder: For the scores.
        rate: Hz, of every waveform.
    """
    scores = Scores(folder)
    coded = list(zip(demo.recordings, demo.reconstructed, strict=True))
    pairs = [Pair(r.id, Sound(r.waveform, rate), Sound(made, rate), r.text) for r, made in coded]
    scores.score("reconstructed", pairs, (*RECONSTRUCTION, *WHERE_READY))
    wer = with_whisper(INTELLIGIBILITY[-1:])
    known = [(r, made) for r, made in coded if r.text and not r.is_stranger]
    pairs = [Pair(r.id, None, Sound(r.waveform, rate), r.text) for r, _ in known]
    scores.score("words of the recordings", pairs, wer)
    pairs = [Pair(r.id, None, Sound(made, rate), r.text) for r, made in known]
    scores.score("words reconstructed", pairs, wer)
    synthesized = [
        Pair(f"sentence {n}", None, Sound(made.waveform, rate), text)
        for n, (text, made) in enumerate(zip(demo.texts, demo.spoken, strict=True), start=1)
    ]
    scores.score("words spoken", synthesized, wer)
    if demo.continued is not None and demo.prompt is not None:
        # Only the samples after the codes that were given are the language model's.
        whole, codes = demo.continued.waveform, demo.continued.codes
        given = demo.continued.num_given_codes * (len(whole) // len(codes))
        after = Sound(whole[given:], rate)
        pair = Pair(demo.recordings[0].id, None, after, prompt=Sound(demo.prompt, rate))
        scores.score("continued", [pair], [f"{name}_prompt" for name in WHERE_READY])
    return scores


def write_demo_report(
    demo: Demo, scores: Scores, folder: Path, rate: int, provenance: dict[str, str]
) -> Path:
    """Write report.html into the folder and return its path."""
    # Groups of words share one table, under the names of their kinds.
    words = {
        name.removeprefix("words ").removeprefix("of the "): summary
        for name, summary in scores.summaries.items()
        if name.startswith("words")
    }
    tables = [_speed_table(demo)]
    for group, title, note in (
        ("reconstructed", "Reconstruction", RECONSTRUCTED_NOTE),
        ("continued", "Continuation", CONTINUED_NOTE),
    ):
        if group in scores.summaries:
            tables.append(summary_table(title, {group: scores.summaries[group]}, note=note))
    if words:
        tables.append(summary_table("Words", words, note=_words_note(words)))
    if scores.skipped:
        rows = [[name, "; ".join(reasons)] for name, reasons in scores.skipped.items()]
        tables.append(Table("Not measured", ["metric", "why"], rows))
    report = Report(
        title="Speech tokens and a speech language model: the demo",
        subtitle=provenance["recordings"],
        failures=[
            failure
            for group, summary in scores.summaries.items()
            for failure in summary_failures(summary, group)
        ],
        tables=tables,
        clips=_clips(demo, scores, rate),
        provenance=provenance,
    )
    return write_report(report, folder / "report.html")


def _words_note(summaries: dict[str, dict[str, Any]]) -> str:
    """Name the recognisers; recordings stand beside the rest where their texts are known."""
    ids = dict.fromkeys(name for summary in summaries.values() for name in summary["metrics"])
    names = " and ".join(metric_id.split(".")[1] for metric_id in ids)
    beside = "" if "recordings" in summaries else " No recording has a text to compare with."
    return f"Errors of {names}, on recordings, too: read each beside theirs.{beside}"


def _speed_table(demo: Demo) -> Table:
    """Seconds of each part, and its real-time factor."""
    rows = [
        [part, work, audio, work / audio if audio else None]
        for part, (work, audio) in demo.seconds.items()
    ]
    columns = ["part", "seconds of work", "seconds of audio", "work a second of audio"]
    return Table("Speed", columns, rows, "On this machine, in this run, without loading.")


def _clips(demo: Demo, scores: Scores, rate: int) -> list[Clip]:
    """All clips with their notes: synthesized, reconstructed, continued."""
    clips = []
    for number, (text, made) in enumerate(zip(demo.texts, demo.spoken, strict=True), start=1):
        voice = demo.voices[number - 1]
        notes = {"voice": voice, **scores.notes("words spoken", f"sentence {number}")}
        if made.truncated:
            notes["stopped"] = f"{made.stopped}, not by itself"
        audio = {"spoken from text": (made.waveform, rate)}
        clips.append(Clip(f"sentence {number}", text, notes, audio))
    for recording, made in zip(demo.recordings, demo.reconstructed, strict=True):
        notes = {"recording": recording.origin, **scores.notes("reconstructed", recording.id)}
        for group in ("words of the recordings", "words reconstructed"):
            found = scores.notes(group, recording.id)
            notes |= {f"{group}: {name}": value for name, value in found.items()}
        audio = {"recording": (recording.waveform, rate), "reconstructed": (made, rate)}
        clips.append(Clip(recording.id, recording.text, notes, audio))
    if demo.continued is not None and demo.prompt is not None:
        first = demo.recordings[0].id
        audio = {"beginning": (demo.prompt, rate), "continued": (demo.continued.waveform, rate)}
        notes = scores.notes("continued", first)
        notes["given"] = "the codes of the beginning; the rest is the language model's"
        if demo.continuations > 1:
            notes["draws"] = f"{demo.continuations}, of which this is the longest"
        clips.append(Clip(f"{first} continued", "", notes, audio))
    return clips

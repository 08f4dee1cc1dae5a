"""What the demo made: measured, and shown on one HTML page to look at and listen to."""

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

from eval.metrics.registry import (
    INTELLIGIBILITY,
    RECONSTRUCTION,
    WHERE_READY,
    make_metrics,
    obstacles,
)
from eval.reporting.report import Clip, Report, Table, write_report
from eval.reporting.sections import item_notes, summary_failures, summary_table
from eval.scoring.score import Pair, score_pairs
from eval.sound import Sound
from slm import Synthesis

from .demo_recordings import Recording

RECONSTRUCTED_NOTE = (
    "Made from the codes alone, beside the recording. Too few clips to judge a codec by: the "
    "model card has the table."
)
WORDS_NOTE = (
    "What an offline recogniser makes of them; it errs on recordings too, and most on speech "
    "unlike what it was made for."
)
CONTINUED_NOTE = "Speaker similarity of the beginning and of what the language model made follow."


@dataclass
class Demo:
    """What was made, and how long each part took.

    Attributes:
        texts: Sentences that were spoken.
        spoken: One a sentence.
        recordings: What was coded.
        reconstructed: (T,) waveforms, one a recording.
        prompt: (T,) beginning of the first recording.
        continued: The prompt, reconstructed, and what follows.
        seconds: (of work, of audio) by part; no audio where a part makes none.
    """

    texts: list[str] = field(default_factory=list)
    spoken: list[Synthesis] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)
    reconstructed: list[NDArray[np.float32]] = field(default_factory=list)
    prompt: NDArray[np.float32] | None = None
    continued: Synthesis | None = None
    seconds: dict[str, tuple[float, float | None]] = field(default_factory=dict)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Note how long a part takes; `heard` adds what it made."""
        print(f"[demo] {part}", file=sys.stderr, flush=True)
        start = time.perf_counter()
        yield
        self.seconds[part] = time.perf_counter() - start, None

    def heard(self, part: str, seconds: float) -> None:
        """Note how many seconds of audio a timed part made."""
        self.seconds[part] = self.seconds[part][0], seconds


@dataclass
class Scores:
    """Figures of what was made.

    Attributes:
        folder: Where the scores lie, a folder a group.
        summaries: What they sum up to, by group.
        skipped: Why a metric cannot run here, by its name.
    """

    folder: Path
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def score(self, group: str, pairs: Sequence[Pair], names: Sequence[str]) -> None:
        """Score a group by the metrics that can run here."""
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
        """Every figure that has a value, as "group figure"."""
        return {
            f"{group} {name}": figure["value"]
            for group, summary in self.summaries.items()
            for metric in summary["metrics"].values()
            for name, figure in metric["figures"].items()
            if figure["value"] is not None
        }

    def notes(self, group: str, item: str) -> dict[str, str]:
        """Lines for the clip of an item, none where it was not scored."""
        return item_notes(self.folder / group, item) if group in self.summaries else {}


def measure(demo: Demo, folder: Path, rate: int) -> Scores:
    """Score all that the demo made by metrics that need no weights to be fetched.

    Args:
        demo: What was made.
        folder: Where the scores go.
        rate: Hz, of every waveform.
    """
    scores = Scores(folder)
    coded = list(zip(demo.recordings, demo.reconstructed, strict=True))
    pairs = [Pair(r.id, Sound(r.waveform, rate), Sound(made, rate), r.text) for r, made in coded]
    scores.score("reconstructed", pairs, (*RECONSTRUCTION, *WHERE_READY))
    wer = INTELLIGIBILITY[-1:]
    heard = [(r, made) for r, made in coded if r.text and not r.is_stranger]
    said = [Pair(r.id, None, Sound(r.waveform, rate), r.text) for r, _ in heard]
    scores.score("words of the recordings", said, wer)
    said = [Pair(r.id, None, Sound(made, rate), r.text) for r, made in heard]
    scores.score("words reconstructed", said, wer)
    spoken = [
        Pair(f"sentence {n}", None, Sound(made.waveform, rate), text)
        for n, (text, made) in enumerate(zip(demo.texts, demo.spoken, strict=True), start=1)
    ]
    scores.score("words spoken", spoken, wer)
    if demo.continued is not None and demo.prompt is not None:
        after = Sound(_made(demo.continued), rate)
        pair = Pair(demo.recordings[0].id, None, after, prompt=Sound(demo.prompt, rate))
        scores.score("continued", [pair], [f"{name}_prompt" for name in WHERE_READY])
    return scores


def write_demo_report(
    demo: Demo, scores: Scores, folder: Path, rate: int, provenance: dict[str, str]
) -> Path:
    """Write report.html into the folder and return its path."""
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
        tables.append(summary_table("Words", words, note=WORDS_NOTE))
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


def _speed_table(demo: Demo) -> Table:
    """How long each part took, and how long beside what it made."""
    rows = [
        [part, work, audio, work / audio if audio else None]
        for part, (work, audio) in demo.seconds.items()
    ]
    columns = ["part", "seconds of work", "seconds of audio", "work a second of audio"]
    return Table("Speed", columns, rows, "On this machine, in this run, loading included in none.")


def _clips(demo: Demo, scores: Scores, rate: int) -> list[Clip]:
    """Everything that can be listened to: spoken, reconstructed, continued."""
    clips = []
    for number, (text, made) in enumerate(zip(demo.texts, demo.spoken, strict=True), start=1):
        notes = scores.notes("words spoken", f"sentence {number}")
        if made.truncated:
            notes["stopped"] = f"{made.stopped}, not by itself"
        audio = {"spoken from text": (made.waveform, rate)}
        clips.append(Clip(f"sentence {number}", text, notes, audio))
    for recording, made in zip(demo.recordings, demo.reconstructed, strict=True):
        notes = {"recording": recording.origin, **scores.notes("reconstructed", recording.id)}
        for group in ("words of the recordings", "words reconstructed"):
            heard = scores.notes(group, recording.id)
            notes |= {f"{group}: {name}": value for name, value in heard.items()}
        audio = {"recording": (recording.waveform, rate), "reconstructed": (made, rate)}
        clips.append(Clip(recording.id, recording.text, notes, audio))
    if demo.continued is not None and demo.prompt is not None:
        first = demo.recordings[0].id
        audio = {"beginning": (demo.prompt, rate), "continued": (demo.continued.waveform, rate)}
        notes = scores.notes("continued", first)
        notes["read"] = "the codes of the beginning; all that follows it is the language model's"
        clips.append(Clip(f"{first} continued", "", notes, audio))
    return clips


def _made(continued: Synthesis) -> NDArray[np.float32]:
    """What follows the codes that were given."""
    hop_length = len(continued.waveform) // len(continued.codes)
    return continued.waveform[continued.num_given_codes * hop_length :]

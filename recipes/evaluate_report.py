"""Report of the evaluation as HTML: tables, training curves, spectrograms and audio of clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codec.audio import read_audio
from codec.audio.store import AudioStore
from codec.files import read_json
from codec.files.json_lines import read_json_lines
from codec.files.names import is_hidden, item_path
from codec.provenance import provenance
from eval.reporting.line_chart import LineChart, Series, codebook_rank_chart
from eval.reporting.report import Clip, Report, Table, write_report
from eval.reporting.sections import item_notes, summary_failures, summary_table
from recipes.corpora.manifest import SPLITS
from recipes.corpora.preparation import spread
from recipes.runner.config import Config
from recipes.runner.stages import stage_folder


@dataclass(frozen=True)
class Scored:
    """Clips that were scored together: folder of the scores, and their summary."""

    folder: Path
    summary: dict[str, Any]


def reconstructed_note(config: Config) -> str:
    """Say what the groups of reconstructions are, and which speakers of test training had."""
    speakers = {
        split: {row["speaker"] for row in AudioStore(stage_folder(config, "prepare") / split).rows}
        for split in SPLITS
    }
    known = len(speakers["test"] & (speakers["train"] | speakers["valid"]))
    return (
        "Reconstruction from the codes alone, against the recording. A known speaker of valid has "
        f"other clips in train; of the {len(speakers['test'])} speakers of test, {known or 'none'} "
        "are in another split."
    )


def words_note(summaries: Mapping[str, dict[str, Any]]) -> str:
    """Name the recognisers, and their errors on the recordings where those were scored."""
    original = summaries.get("original", next(iter(summaries.values()), {"metrics": {}}))
    names = [metric_id.split(".")[1] for metric_id in original["metrics"]]
    return (
        f"Word errors of {' and '.join(names)} on the same texts, recorded, reconstructed and "
        "spoken by the language model: read them beside those of the recordings."
    )


def write_results(
    config: Config,
    folder: Path,
    scored: Mapping[str, Scored],
    figures: dict[str, Any],
    counts: dict[str, np.ndarray],
) -> Path:
    """Write report.html from the scored folders, the figures of metrics.json and code counts."""
    # Words are scored in folders of their own; everything else is a reconstruction.
    words = {name: s.summary for name, s in scored.items() if s.folder.parent.name == "words"}
    quality = {name: s.summary for name, s in scored.items() if name not in words}
    report = Report(
        title=f"Speech tokens and speech language model: {Path(config.run).name}",
        subtitle=subtitle(config, figures),
        failures=[f for name, s in scored.items() for f in summary_failures(s.summary, name)],
        tables=[
            summary_table("Reconstruction", quality, note=reconstructed_note(config)),
            summary_table("Words", words, note=words_note(words)),
            figure_table("Language model", figures["language_model"], "nats a code, by split"),
            figure_table("Codebook", figures["codebook"], "codes of the coded stage, by split"),
            figure_table("Generation", figures["generation"], f"texts of {config.generate.split}"),
        ],
        charts=[
            *codec_curves(config),
            codebook_rank_chart(counts),
            *slm_curves(config, figures),
        ],
        clips=clips(config, scored),
        provenance=provenance("python -m recipes.run_all") | stage_seconds(config),
    )
    return write_report(report, folder / "report.html")


def subtitle(config: Config, figures: dict[str, Any]) -> str:
    """Write one sentence on the training data and the bitrate; names synthetic speech as such."""
    train = AudioStore(stage_folder(config, "prepare") / "train")
    hours = sum(row["num_samples"] for row in train.rows) / train.sample_rate / 3600
    speakers = len({row["speaker"] for row in train.rows})
    makers = {"espeak": "eSpeak NG", "kokoro": "Kokoro-82M"}
    maker = makers.get(config.corpus)
    synthetic = f" (synthetic speech, {maker})" if maker else ""
    rate = figures["codebook"]["train"]["bitrate"]
    return (
        f"Trained on {hours:.2f} h by {speakers} speakers{synthetic}; one codebook, "
        f"{rate:.0f} bit/s."
    )


def figure_table(title: str, figures: dict[str, dict[str, Any]], note: str) -> Table:
    """Build a table with a row a figure and a column for each of `figures`."""
    names = list(dict.fromkeys(name for column in figures.values() for name in column))
    rows = [[name, *(column.get(name) for column in figures.values())] for name in names]
    return Table(title, ["figure", *figures], rows, note)


def codec_curves(config: Config) -> list[LineChart]:
    """Draw losses and use of the codebook over every training phase."""
    names = ("mel", "waveform_mel", "vq", "perplexity", "discriminator")
    curves = []
    for phase in config.train_codec.phases:
        path = stage_folder(config, "train_codec") / phase / "metrics.jsonl"
        rows = read_json_lines(path, torn="drop")
        for name in names:
            series = [
                line(split, [r for r in rows if r["split"] == split], name)
                for split in ("train", "valid")
            ]
            # Losses that a phase does not have are 0 throughout.
            drawn = [s for s in series if len(s.x) and np.any(np.asarray(s.y) != 0)]
            if drawn:
                curves.append(LineChart(f"{phase}: {name}", "step", name, drawn))
    return curves


def slm_curves(config: Config, figures: dict[str, Any]) -> list[LineChart]:
    """Draw the loss of the language model beside the entropy of the codes."""
    rows = read_json_lines(stage_folder(config, "train_slm") / "metrics.jsonl", torn="drop")
    series = [line("train", rows, "loss"), line("valid", rows, "valid_nats_per_code")]
    valid = figures["language_model"]["valid"]
    levels = {
        "unigram entropy of valid": valid["unigram_entropy"],
        "bigram of train on valid": valid["bigram_nats_per_code"],
    }
    title = "language model: nats a token"
    return [LineChart(title, "step", "nats", [s for s in series if len(s.x)], levels=levels)]


def line(label: str, rows: list[dict[str, Any]], name: str) -> Series:
    """Take one figure over the steps at which it was logged."""
    points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    return Series(label, [step for step, _ in points], [value for _, value in points])


def clips(config: Config, scored: Mapping[str, Scored]) -> list[Clip]:
    """Choose some clips of every kind, evenly spread."""
    made = stage_folder(config, "generate")
    rows = {
        name: {row["id"]: row for row in read_json_lines(made / name / "items.jsonl")}
        for name in ("reconstructed/valid", "reconstructed/test", "spoken", "continued")
    }
    reconstructed = f"reconstructed/{config.generate.split}"
    # Clips that were both reconstructed and spoken have the two side by side.
    both = [clip for clip in rows["spoken"] if clip in rows[reconstructed]]
    limit = config.evaluate.report_clips
    shown = [
        recorded_clip(config, rows["spoken"][clip], (reconstructed, "spoken"), scored)
        for clip in spread(both, limit)
    ]
    for name in ("reconstructed/test", "continued"):
        shown += [
            recorded_clip(config, row, (name,), scored)
            for row in spread(list(rows[name].values()), limit)
        ]
    return shown


# Label of the audio of a folder; "reconstructed" for the others.
LABELS = {"spoken": "generated", "continued": "continued"}


def recorded_clip(
    config: Config, row: dict[str, Any], versions: tuple[str, ...], scored: Mapping[str, Scored]
) -> Clip:
    """Put a recording beside its reconstruction and generated speech, with their scores."""
    store = AudioStore(stage_folder(config, "prepare") / row["split"])
    index = next(n for n, other in enumerate(store.rows) if other["id"] == row["id"])
    audio = {"original": (store.waveform(index), store.sample_rate)}
    for version in versions:
        path = item_path(stage_folder(config, "generate") / version, row["id"], ".flac")
        label = LABELS.get(version, "reconstructed")
        audio[label] = (read_audio(path, store.sample_rate), store.sample_rate)
    notes = {"speaker": row["speaker"]}
    if "prompt_id" in row:
        notes["prompted by"] = row["prompt_id"]
    if row.get("truncated"):
        notes["stopped"] = "at its longest, not by itself"
    for name, group in scored.items():
        if shown_as(name) in audio:
            for key, value in item_notes(group.folder, row["id"]).items():
                notes[f"{name} {key}"] = value
    return Clip(f"{row['split']} {row['id']}", row["text"], notes, audio)


def shown_as(scored: str) -> str:
    """Name the audio that a group of scores belongs to; "" for one that is not shown."""
    kinds = {"original": "original", "spoken": "generated", "spoken_first": ""}
    return kinds.get(scored.removesuffix("_unseen"), "reconstructed")


def stage_seconds(config: Config) -> dict[str, str]:
    """Collect the seconds of every stage's last attempt, for the provenance."""
    done = {
        path.parent.name: read_json(path, required=("seconds",))
        for path in Path(config.run).glob("*/done.json")
        if not is_hidden(path.parent.name)
    }
    seconds = [f"{name} {done[name]['seconds']:.0f}" for name in sorted(done)]
    return {"stage seconds (last attempt)": ", ".join(seconds)}

"""The table of `recipes.comparisons.seed_tts`: lists, draws and recordings by their figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.scoring.summary import find_figure, item_values, number_text, read_summary, resampled_over
from recipes.runner.markdown import table_lines

# Word errors by the best recogniser there is: family and its name in the table.
RECOGNISERS = {"wer_whisper": "Whisper", "wer_moonshine": "Moonshine", "wer": "pocketsphinx"}
SIMILARITIES = {
    "speaker_sim_prompt/speaker_sim_prompt": "similarity to the prompt (Resemblyzer)",
    "wavlm_sim_prompt/wavlm_sim_prompt": "similarity to the prompt (WavLM x-vectors)",
}
# Of a similarity, where the list names the speakers and where it does not.
MARGINS = {
    "margin": "margin over other voices' prompts ↑",
    "margin_unnamed": "margin over other prompts, voices not named ↑",
}
# Said below a table of such lists.
UNNAMED = (
    " Where a list names no speakers, as a meta.lst does not, clips of one voice are drawn as if "
    "each were a stranger's, which makes intervals too narrow; a margin over other prompts is too "
    "small by those of the same voice, and 0 means nothing for a list of one voice."
)
# Key of the figure of lengths.
DURATION = "duration_ratio"


def row_of(name: str, version: str, folder: Path) -> dict[str, Any]:
    """Collect the figures of the speech of one list, or of its recordings.

    Args:
        name: Of the list.
        version: "spoken" or "recording".
        folder: Of `hh-eval tts`.
    """
    summary = read_summary(folder)
    figures = {}
    for family in RECOGNISERS:
        figures[f"{family}/wer"] = find_figure(summary, f"{family}/wer")
    for key in SIMILARITIES:
        figures[key] = find_figure(summary, key)
        figures |= {_margin_key(key, of): _margin(summary, key, of) for of in MARGINS}
    figures["runaway"] = find_figure(summary, "delivery/runaway")
    # Lengths are stored beside the figures of delivery.
    delivery = next((each for each in summary["metrics"] if each.startswith("delivery.")), None)
    values = item_values(folder, delivery) if delivery else {}
    lengths = {item: row.get("num_seconds") for item, row in values.items()}
    seconds = {item: length for item, length in lengths.items() if length is not None}
    return {
        "list": name,
        "version": version,
        "texts": summary["n_expected"],
        "seconds": sum(seconds.values()) / len(seconds) if seconds else None,
        "lengths": seconds,
        "speakers": summary.get("n_speakers") or 0,
        "figures": {key: figure for key, figure in figures.items() if figure is not None},
        "intervals": resampled_over([summary]),
        # Texts that some metric could not score, each once.
        "failed": len(
            {each["id"] for metric in summary["metrics"].values() for each in metric["failures"]}
        ),
    }


def rows_of_draws(
    drawn: Sequence[dict[str, Any]], recorded: dict[str, Any] | None
) -> list[dict[str, Any]]:
    """The rows of a list: each draw, their mean where there are several, and the recordings.

    Where the list has a recording of every text, draws have `DURATION` too: seconds of the speech
    over seconds of the recordings, of the texts that both could be measured for.
    """
    of_recorded = recorded.pop("lengths") if recorded else {}
    for row in drawn:
        lengths = row.pop("lengths")
        shared = [item for item in lengths if item in of_recorded]
        if recorded and shared and row["texts"] == recorded["texts"]:
            ours, theirs = (sum(each[item] for item in shared) for each in (lengths, of_recorded))
            row["figures"][DURATION] = _plain(ours / theirs)
    rows = list(drawn)
    if len(drawn) > 1:
        rows.append(_mean_of(drawn))
    return [*rows, recorded] if recorded else rows


def _mean_of(drawn: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row of several draws' means; `each` of a figure are its values, draw by draw."""
    figures = {}
    for key, figure in drawn[0]["figures"].items():
        of_draws = [row["figures"].get(key) for row in drawn]
        if any(each is None or each["value"] is None for each in of_draws):
            continue
        values = [each["value"] for each in of_draws]
        means = [each["mean"] for each in of_draws if each.get("mean") is not None]
        mean = float(np.mean(means)) if len(means) == len(drawn) else None
        figures[key] = _plain(float(np.mean(values)), mean, figure["unit"]) | {"each": values}
    seconds = [row["seconds"] for row in drawn]
    return {
        **drawn[0],
        "version": f"spoken, mean of {len(drawn)} draws",
        "seed": None,
        "seconds": float(np.mean(seconds)) if all(seconds) else None,
        "figures": figures,
        # Counted with the draws.
        "failed": 0,
    }


def _plain(value: float, mean: float | None = None, unit: str = "") -> dict[str, Any]:
    """A figure without an interval."""
    return {"value": value, "mean": mean, "unit": unit, "ci95": None, "mean_ci95": None}


def _margin_key(similarity: str, of: str) -> str:
    return f"{similarity}_{of}"


def _margin(summary: dict[str, Any], similarity: str, of: str) -> dict[str, Any] | None:
    """Figure of a margin of a similarity, see `MARGINS`; None where there is none."""
    family = similarity.partition("/")[0]
    for name, metric in summary["metrics"].items():
        found = (metric.get("corpus") or {}).get(of) or {}
        if name.split(".")[0] == family and found.get("mean") is not None:
            return {"value": found["mean"], "unit": "", "ci95": None, **found}
    return None


def seed_tts_table(figures: dict[str, Any]) -> str:
    """The table, what its figures are, and the provenance."""
    rows = figures["rows"]
    present = {key for row in rows for key in row["figures"]}
    columns: list[tuple[str, str, str]] = []
    for family, title in RECOGNISERS.items():
        if f"{family}/wer" in present:
            columns.append((f"{family}/wer", "mean", f"WER, mean of utterances ({title}) ↓"))
            columns.append((f"{family}/wer", "value", f"WER, pooled ({title}) ↓"))
    for key, title in SIMILARITIES.items():
        columns += [(key, "value", f"{title} ↑")] if key in present else []
        named = [(_margin_key(key, of), "value", heading) for of, heading in MARGINS.items()]
        columns += [column for column in named if column[0] in present]
    if DURATION in present:
        columns.append((DURATION, "value", "seconds over those recorded"))
    if "runaway" in present:
        columns.append(("runaway", "value", "ran away ↓"))
    head = [
        "list",
        "speech",
        "texts",
        *(title for *_, title in columns),
        "seconds a text",
        "texts failed",
    ]
    lines = [
        [
            row["list"],
            row["version"] if row.get("seed") is None else f"spoken, seed {row['seed']}",
            str(row["texts"]),
            *(_cell(row["figures"].get(key), which) for key, which, _ in columns),
            f"{row['seconds']:.2f}" if row["seconds"] else "-",
            str(row["failed"]),
        ]
        for row in rows
    ]
    over = " or ".join(dict.fromkeys(row["intervals"] for row in rows))
    about = (
        f"Mean and 95 % interval over {over}. Texts are normalised as seed-tts-eval does for "
        "English; its published word errors are means of utterances by Whisper-large-v3, its "
        "similarities those of a WavLM-large fine-tuned on speakers: other models give others."
    )
    if any(row["speakers"] < 2 for row in rows):
        about += UNNAMED
    origin = [f"{key}: {value}" for key, value in figures["provenance"].items()]
    return "\n".join([*table_lines(head, lines), "", about, "", *origin]) + "\n"


def _cell(figure: dict[str, Any] | None, which: str) -> str:
    """`12.3 % (10.0 to 14.9)` of the headline or of the mean over utterances."""
    if figure is None or figure[which] is None:
        return "-"
    unit = figure["unit"]
    text = number_text(figure[which], unit=unit)
    ends = figure["ci95" if which == "value" else "mean_ci95"]
    if not ends:
        return text
    low, high = (number_text(end, unit=unit).removesuffix(" %") for end in ends)
    return f"{text} ({low} to {high})"

"""The anchor table: figures of every system with intervals, bit rates, paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codec.files import write_json, write_text
from codec.files.json_lines import read_json_lines
from codec.provenance import provenance
from eval.scoring.compare import Comparison, FigureDifference, compare_folders
from eval.scoring.shared import shared_figures
from eval.scoring.summary import number_text, read_summary, units_text
from eval.tokens.codebook import count_codes, usage_from_counts
from recipes.runner.markdown import table_lines

from .comparison_table import ComparisonTable

PROGRAM = "python -m recipes.comparisons.anchors"
RECODED = "recoded.jsonl"
PARTS = ("scored", "words")


@dataclass(frozen=True)
class AnchorSystem:
    """A row of the table.

    Attributes:
        name: As the table shows it.
        folder: With what was recoded and scored.
        bitrate: Nominal bit/s; None without a coded form.
        is_ours: Whether it is set in bold type.
        clips: Ids of those that the table is of; empty for all that were recoded.
    """

    name: str
    folder: Path
    bitrate: float | None
    is_ours: bool
    clips: frozenset[str] = frozenset()


def write_anchors(
    systems: Sequence[AnchorSystem],
    run: Path,
    subject: dict[str, Any],
    argv: Sequence[str] | None = None,
) -> ComparisonTable:
    """Write anchors.md and anchors.json from the scored folders of the systems."""
    rows = {system.name: system_row(system) for system in systems}
    for part in PARTS:
        folders = {s.name: s.folder / part for s in systems if _is_scored(part, s)}
        for name, found in shared_figures(folders).items():
            for metric_id, each in found.items():
                for key, figure in each.items():
                    rows[name]["figures"][f"{metric_id}/{key}"] = figure
    differences = {
        ours.name: {part: _differences(part, ours, systems) for part in PARTS}
        for ours in systems
        if ours.is_ours
    }
    figures = {
        "subject": subject,
        "systems": rows,
        "differences": {
            ours: {
                part: {name: each.to_dict() for name, each in found.items()}
                for part, found in parts.items()
            }
            for ours, parts in differences.items()
        },
        "failed": sum(row["failed"] for row in rows.values()),
        "provenance": provenance(PROGRAM, argv),
    }
    write_json(run / "anchors.json", figures)
    text = _markdown(figures, differences)
    write_text(run / "anchors.md", text)
    return ComparisonTable(text, figures)


def _differences(
    part: str, ours: AnchorSystem, systems: Sequence[AnchorSystem]
) -> dict[str, Comparison]:
    """Compare one of our systems with every other one that a part is scored for."""
    return {
        other.name: compare_folders(
            ours.folder / part, other.folder / part, names=(ours.name, other.name)
        )
        for other in systems
        if other is not ours and _is_scored(part, ours, other)
    }


def system_row(system: AnchorSystem) -> dict[str, Any]:
    """Collect the bit rates and figures of one system."""
    found = read_json_lines(system.folder / RECODED, torn="drop", missing_ok=True)
    # Lines of clips that the corpus had before stay, and the last one of a clip counts.
    by_clip = {row["id"]: row for row in found if not system.clips or row["id"] in system.clips}
    recoded = list(by_clip.values())
    bits = [row["bits"] for row in recoded]
    seconds = sum(row["seconds"] for row in recoded)
    figures, bands, failed = {}, {}, set[str]()
    for part in PARTS:
        if (system.folder / part / "summary.json").is_file():
            for metric_id, metric in read_summary(system.folder / part)["metrics"].items():
                failed |= {each["id"] for each in metric["failures"]}
                # Of recordings of one speaker and of two, such as a similarity is read within.
                bands |= {metric_id: metric["corpus"]} if "corpus" in metric else {}
                for name, figure in metric["figures"].items():
                    figures[f"{metric_id}/{name}"] = figure
    # A coder without a coded form, such as the band limit, has no bits.
    return {
        "is_ours": system.is_ours,
        "nominal_bitrate": system.bitrate,
        "measured_bitrate": None if None in bits or not bits else sum(bits) / seconds,
        # Clips that some metric could not score, each once.
        "failed": len(failed),
        "figures": figures,
        "corpus": bands,
        "codebooks": codebook_use(recoded),
    }


def codebook_use(rows: Sequence[dict[str, Any]]) -> list[dict[str, float | int]]:
    """Measure the use of each codebook over all clips, beside its frame rate.

    [] for coders without codebooks, and for rows of earlier releases.
    """
    coded = [row for row in rows if "codes" in row]
    if not coded:
        return []
    size, rate = coded[0]["codebook_size"], coded[0]["frame_rate"]
    streams = zip(*(row["codes"] for row in coded), strict=True)  # one a codebook, of all clips
    return [
        usage_from_counts(count_codes(map(np.asarray, stream), size), rate).to_dict()
        | {"frame_rate": rate}
        for stream in streams
    ]


def _is_scored(part: str, *systems: AnchorSystem) -> bool:
    """True if a part is scored for all of them: metrics may be added later, or cut off."""
    return all((system.folder / part / "summary.json").is_file() for system in systems)


def _markdown(
    figures: dict[str, Any], differences: dict[str, dict[str, dict[str, Comparison]]]
) -> str:
    """Figures, then the differences, then the provenance."""
    subject, rows = figures["subject"], figures["systems"]
    names = list(dict.fromkeys(key for row in rows.values() for key in row["figures"]))
    head = ["system", "kb/s", *(_heading(rows, key) for key in names), "clips failed"]
    lines = []
    for name, row in rows.items():
        shown, rate = f"**{name}**" if row["is_ours"] else name, row["measured_bitrate"]
        cells = [_cell(row["figures"].get(key)) for key in names]
        shown_rate = "-" if rate is None else f"{rate / 1000:.2f}"
        lines.append([shown, shown_rate, *cells, str(row["failed"])])
    counts = {
        figure.get("n_speakers", 0) for row in rows.values() for figure in row["figures"].values()
    }
    parts = [
        f"{subject['corpus']}, split {subject['split']}: {subject['clips']} clips, "
        f"{subject['seconds']:.0f} s, {_speakers(subject)}. Mean and 95 % interval over "
        f"{units_text(max(counts, default=0))} (pooled where a rate is), of the clips that every "
        'system has the figure for ("on N" where not all); intrusive figures after removing a '
        f"constant lag. kb/s is what the files take, without containers.{_coder_notes(rows)}",
        "",
        *table_lines(head, lines),
    ]
    for ours, of_parts in differences.items():
        for part, found in of_parts.items():
            if found:
                parts += ["", *_difference_lines(part, ours, found)]
    parts += ["", *(f"{key}: {value}" for key, value in figures["provenance"].items())]
    return "\n".join(parts) + "\n"


def _speakers(subject: dict[str, Any]) -> str:
    return f"{subject['speakers']} speakers" if subject["speakers"] else "speakers not named"


def _coder_notes(names: Iterable[str]) -> str:
    """Say what there is to know of the classical coders among the systems."""
    names, notes = list(names), ""
    if "codec2_700c" in names:
        notes += " Codec2 700C packs its 28 bits into 4 bytes."
    narrow = [name for name in names if name.startswith("codec2_") or name == "opus_6"]
    if narrow:
        notes += f" {', '.join(narrow)} keep nothing above 4 kHz"
        notes += ": read them beside band_limit_8k." if "band_limit_8k" in names else "."
    return notes


def _difference_lines(part: str, ours: str, found: dict[str, Comparison]) -> list[str]:
    """A table of ours minus each other system, figure by figure."""
    first = next(iter(found.values()))
    head = [f"{ours} minus", *(_short(f.metric, f.figure) for f in first.figures if is_quality(f))]
    rows = [
        [name, *(_difference_cell(figure) for figure in each.figures if is_quality(figure))]
        for name, each in found.items()
    ]
    what = "all clips" if part == "scored" else "clips with a transcript by the chosen voices"
    units = units_text(max((f.n_speakers for f in first.figures), default=0))
    return [
        f"Paired differences on {what}: mean and 95 % interval over {units}, wins/losses/ties. "
        "▲ ours is better, ▼ worse; no mark: the interval holds 0.",
        "",
        *table_lines(head, rows),
    ]


def _difference_cell(figure: FigureDifference) -> str:
    """`+0.02 (0.01 to 0.03) ▲<br>8/2/0`, "-" without a difference."""
    if figure.difference is None:
        return "-"
    sign = "+" if figure.difference > 0 else ""
    text = sign + number_text(figure.difference, unit=figure.unit)
    if figure.low is not None:
        low, high = (_plain(end, figure.unit) for end in (figure.low, figure.high))
        text += f" ({low} to {high})"
    mark = {"A better": " ▲", "B better": " ▼"}.get(figure.outcome, "")
    return f"{text}{mark}<br>{figure.wins}/{figure.losses}/{figure.ties}"


def _heading(rows: dict[str, dict[str, Any]], key: str) -> str:
    """Figure with the better direction, such as "stoi ↑"."""
    figure = next(row["figures"][key] for row in rows.values() if key in row["figures"])
    # All systems agree on the direction: the first that has the figure gives it.
    arrow = {True: " ↑", False: " ↓", None: ""}[figure["higher_is_better"]]
    metric, _, name = key.rpartition("/")
    return _short(metric, name) + arrow


def _short(metric: str, name: str) -> str:
    """Family and figure, once where both are the same."""
    family = metric.split(".")[0]
    return name if name.startswith(family) else f"{family} {name}"


def _cell(figure: dict[str, Any] | None) -> str:
    """`0.82 (0.81 to 0.83)`."""
    if figure is None or figure["value"] is None:
        return "-"
    text = number_text(figure["value"], unit=figure["unit"])
    if figure["ci95"]:
        low, high = (_plain(end, figure["unit"]) for end in figure["ci95"])
        text += f" ({low} to {high})"
    if figure["n_failed"]:
        text += f", on {figure['n_ok']}"
    return text


def is_quality(figure: FigureDifference) -> bool:
    """Tell whether a difference ranks systems; a lag and figures before its removal do not."""
    is_lag = figure.figure.endswith("_raw") or figure.figure.startswith("lag")
    return figure.higher_is_better is not None and not is_lag


def _plain(value: float | None, unit: str) -> str:
    """An end of an interval, without the unit of its figure."""
    if value is None:
        return "-"
    return number_text(value, unit="%")[:-2] if unit == "%" else number_text(value)

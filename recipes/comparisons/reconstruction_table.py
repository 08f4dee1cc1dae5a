"""The tables of a comparison of codecs: one a test set, a row a system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.scoring.summary import number_text, units_text
from recipes.runner.markdown import table_lines

PROGRAM = "python -m recipes.comparisons.reconstruction"
# Columns by metric family and figure, as papers name them.
COLUMNS = {
    "utmos22/utmos22": "UTMOS",
    "stoi/stoi": "STOI",
    "pitch/vuv_f1": "V/UV F1",
    "pitch_crepe/vuv_f1": "V/UV F1 (CREPE)",
    "speaker_sim/speaker_sim": "similarity (Resemblyzer)",
    "wavlm_sim/wavlm_sim": "similarity (WavLM x-vectors)",
}


def reconstruction_markdown(figures: Mapping[str, Any]) -> str:
    """Lay out the tables, what was left out, and the provenance."""
    parts: list[str] = []
    for name, each in figures["sets"].items():
        parts += [*_set_lines(name, each), ""]
    parts += [f"Left out: {name}: {why}" for name, why in figures["left_out"].items()]
    parts += [f"{key}: {value}" for key, value in figures["provenance"].items()]
    return "\n".join(parts) + "\n"


def _set_lines(name: str, found: Mapping[str, Any]) -> list[str]:
    """The table of one test set below a sentence on its clips."""
    subject, systems = found["subject"], found["systems"]
    by_family = {system: _by_family(row["figures"]) for system, row in systems.items()}
    shown = [key for key in COLUMNS if any(key in row for row in by_family.values())]
    head = ["system", "codebooks", "codes/s", "kbit/s", *(f"{COLUMNS[key]} ↑" for key in shown)]
    head += ["entries used", "perplexity", "clips failed"]
    lines = []
    for system, row in systems.items():
        cells = [_cell(by_family[system].get(key)) for key in shown]
        title = f"**{system}**" if row["is_ours"] else system
        lines.append([title, *_rate_cells(row), *cells, *_use_cells(row), str(row["failed"])])
    counts = [figure.get("n_speakers", 0) for row in by_family.values() for figure in row.values()]
    over = units_text(max(counts, default=0))
    about = (
        f"{name}: {subject['clips']} clips, {subject['seconds']:.0f} s; mean and 95 % interval "
        f"over {over}. Use is that of these clips alone, the mean over a system's codebooks."
    )
    return [about, "", *table_lines(head, lines)]


def _by_family(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures by "family/name", whatever the version of the metric."""
    found = {}
    for key, figure in figures.items():
        metric, _, name = key.rpartition("/")
        found[f"{metric.split('.')[0]}/{name}"] = figure
    return found


def _rate_cells(row: Mapping[str, Any]) -> list[str]:
    """Codebooks, codes a second and kbit/s."""
    books, rate = row["codebooks"], row["measured_bitrate"]
    shown = "-" if rate is None else f"{rate / 1000:.2f}"
    if not books:
        return ["-", "-", shown]
    return [str(len(books)), f"{books[0]['frame_rate'] * len(books):.1f}", shown]


def _use_cells(row: Mapping[str, Any]) -> list[str]:
    """Share of the entries seen in how many codes, and perplexity."""
    books = row["codebooks"]
    if not books:
        return ["-", "-"]
    used = sum(book["used_fraction"] for book in books) / len(books)
    perplexity = sum(book["perplexity"] for book in books) / len(books)
    seen = f"{100 * used:.1f} % of {books[0]['codebook_size']} in {books[0]['num_tokens']:,}"
    return [seen, number_text(perplexity)]


def _cell(figure: Mapping[str, Any] | None) -> str:
    """`0.82 (0.81 to 0.83)`, with the number of clips where not all have the figure."""
    if figure is None or figure["value"] is None:
        return "-"
    text = number_text(figure["value"])
    if figure["ci95"]:
        low, high = map(number_text, figure["ci95"])
        text += f" ({low} to {high})"
    return text + (f", on {figure['n_ok']}" if figure["n_failed"] else "")

"""Kinds of tables of the documents, each written from files of figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.checks import one_of, require
from codec.files import read_json
from codec.files.reading import read_file
from eval.scoring.summary import number_text, units_text
from recipes.runner.markdown import table_lines

from .model_cards import COLUMNS, anchors_table, figure_text

# Rates of words by the keys of the evaluate stage and of anchors, as columns.
WORDS = {
    "wer_whisper": ("WER, Whisper ↓", "wer_whisper/wer"),
    "cer_whisper": ("CER, Whisper ↓", "wer_whisper/cer"),
    "wer": ("WER, pocketsphinx ↓", "wer/wer"),
    "cer": ("CER, pocketsphinx ↓", "wer/cer"),
}
SPEECH = {
    "wer_whisper/wer": "WER, Whisper ↓",
    "wer_moonshine/wer": "WER, Moonshine ↓",
    "wer/wer": "WER, pocketsphinx ↓",
    "speaker_sim_prompt/speaker_sim_prompt": "similarity to the prompt ↑",
    "speaker_sim_prompt/speaker_sim_prompt_margin": "its margin over other voices ↑",
    "duration_ratio": "seconds over those recorded",
    "runaway": "ran away ↓",
}
# A column of an ablation that is no figure of its clips, and where it stands.
PACE, PACE_KEY = "seconds", "seconds a step, least window"
USE = {
    "num_tokens": "codes seen",
    "used": "used",
    "perplexity": "perplexity",
    "effective_bitrate": "rate times entropy, bit/s",
}


@dataclass(frozen=True)
class Source:
    """A file of figures, and the command that makes it."""

    file: Path
    command: str


@dataclass(frozen=True)
class TableSpec:
    """A table: its document, name and kind, and what its kind needs."""

    document: str
    table: str
    kind: str
    options: Mapping[str, Any]

    @property
    def sources(self) -> list[str]:
        """Names of the sources it is made of."""
        rows = self.options.get("rows", {}).values()
        # What must be there first: lists that a source's command reads.
        inputs = self.options.get("inputs", [])
        return list(
            dict.fromkeys(
                filter(None, [*inputs, self.options.get("source"), *(r[0] for r in rows)])
            )
        )


def render(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """The Markdown of a table.

    Raises:
        ValueError: The figures lack a system, a column or a group that the table names.
        OSError: A file of figures is missing.
    """
    return KINDS[spec.kind](spec, sources)


def _anchors(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """Systems by figures, and in which of them the compared one is better or worse."""
    figures = read_json(sources[spec.options["source"]].file)
    systems = spec.options.get("systems")
    text = anchors_table(
        figures,
        columns=spec.options.get("columns"),
        systems=systems,
        intervals=spec.options.get("intervals", True),
        origin=spec.options.get("origin", True),
    )
    if not spec.options.get("outcomes", False):
        return text
    return "\n".join([text, "", *_outcomes(figures, systems or {})])


def _outcomes(figures: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    """Sentences on the paired differences of the systems shown: better, worse, not told apart."""
    lines, shown = [], titles or dict.fromkeys(figures["systems"])
    said_of: set[frozenset[str]] = set()
    words = {"A better": "better in", "B better": "worse in"}
    for ours, parts in figures["differences"].items():
        for name in shown:
            groups: dict[str, list[str]] = {}
            for part in parts.values() if ours in shown else ():
                for each in part.get(name, {"figures": ()})["figures"]:
                    if label := _ranking(each):
                        kind = words.get(each["verdict"], "not told apart in")
                        groups.setdefault(kind, []).append(label)
            # Two codecs of ours are compared once, not from either side.
            if groups and frozenset((ours, name)) not in said_of:
                said_of.add(frozenset((ours, name)))
                said = "; ".join(f"{kind} {', '.join(found)}" for kind, found in groups.items())
                lines.append(f"- {titles.get(ours, ours)} beside {titles.get(name, name)}: {said}.")
    return lines


def _ranking(difference: Mapping[str, Any]) -> str:
    """Name of a difference that ranks systems, "" of any other.

    Word errors of the recordings are the same for all; a raw figure is one of the lag, too.
    """
    family, figure = difference["metric"].split(".")[0], difference["figure"]
    is_lag = figure.endswith("_raw") or figure.startswith("lag")
    if difference["higher_is_better"] is None or is_lag or family.endswith("_original"):
        return ""
    title = COLUMNS.get(f"{family}/{figure}", figure if family in figure else f"{family} {figure}")
    return title.split(",")[0]  # without its unit


def _words(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """Rates of words: rows by their title, [source, group of words or system]."""
    rows: dict[str, dict[str, dict[str, Any] | None]] = {}
    for title, (source, group) in spec.options["rows"].items():
        figures = read_json(sources[source].file)
        if "systems" in figures:
            one_of(f"{title}: system", group, figures["systems"])
            found = figures["systems"][group]["figures"]
            by_family = {f"{k.split('.')[0]}/{k.rpartition('/')[2]}": v for k, v in found.items()}
            rows[title] = {key: by_family.get(name) for key, (_, name) in WORDS.items()}
        else:
            one_of(f"{title}: group", group, figures["words"])
            found = figures["words"][group]
            rows[title] = {
                key: {"value": found[key], "ci95": found[f"{key}_ci95"], "unit": "%"}
                for key in WORDS
                if key in found
            }
    # Rates that no row has are left out, and those that the table does not want.
    wanted = spec.options.get("columns", WORDS)
    shown = [key for key in wanted if any(row.get(key) for row in rows.values())]
    intervals = spec.options.get("intervals", True)
    lines = [
        [title, *(figure_text(row.get(key), intervals=intervals) for key in shown)]
        for title, row in rows.items()
    ]
    head = [spec.options.get("head", "speech"), *(WORDS[key][0] for key in shown)]
    return "\n".join([*table_lines(head, lines), *_origin(spec, sources)])


def _speech(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """Speech from text: rows by their title, [source, list, and recording for the recordings]."""
    rows = {}
    for title, (source, name, *version) in spec.options["rows"].items():
        found = read_json(sources[source].file)["rows"]
        one_of(f"{title}: list", name, {row["list"] for row in found})
        kind = version[0] if version else "spoken"
        # The last of the draws' rows is their mean.
        of_list = [row for row in found if row["list"] == name]
        of_kind = [row for row in of_list if row["version"].startswith(kind)]
        require(bool(of_kind), f"{title}: version", "one of the list's rows", kind)
        rows[title] = of_kind[-1]["figures"]
    wanted = spec.options.get("columns", SPEECH)
    shown = [key for key in wanted if any(key in row for row in rows.values())]
    intervals = spec.options.get("intervals", True)
    lines = [
        [title, *(_drawn_text(row.get(key), intervals=intervals) for key in shown)]
        for title, row in rows.items()
    ]
    head = [spec.options.get("head", "speech"), *(SPEECH[key] for key in shown)]
    return "\n".join([*table_lines(head, lines), *_origin(spec, sources)])


def _drawn_text(figure: Mapping[str, Any] | None, *, intervals: bool) -> str:
    """`9.6 % (7.8, 12.0, 9.0)` of a mean of draws, as any figure otherwise."""
    text = figure_text(figure, intervals=intervals)
    if figure is None or not (intervals and figure.get("each")):
        return text
    unit = "%" if figure["unit"] == "%" else ""
    each = (number_text(value, unit=unit).removesuffix("%").strip() for value in figure["each"])
    return f"{text} ({', '.join(each)})"


def _codebook(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """Use of the codebook: columns by their title, [source, split or system]."""
    columns: dict[str, Mapping[str, Any]] = {}
    for title, (source, name) in spec.options["rows"].items():
        figures = read_json(sources[source].file)
        if "systems" in figures:
            one_of(f"{title}: system", name, figures["systems"])
            found = figures["systems"][name]["codebooks"]
            require(len(found) == 1, f"{title}: codebooks", "one", len(found))
            columns[title] = found[0]
        else:
            one_of(f"{title}: split", name, figures["codebook"])
            columns[title] = figures["codebook"][name]
    size = next(iter(columns.values()))["codebook_size"]
    lines = [
        [title, *(number_text(round(each[key])).replace(" ", ",") for each in columns.values())]
        for key, title in USE.items()
    ]
    table = table_lines([f"codebook ({size} codes)", *columns], lines)
    return "\n".join([*table, *_origin(spec, sources)])


def _variants(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """Variants of an ablation on one set of clips: differences from `full` below their figures.

    `columns`: titles by figure; "seconds" is the pace of training, over that of `full`. Differences
    whose interval does not hold 0 are set in bold type.
    """
    figures = read_json(sources[spec.options["source"]].file)
    split, columns = spec.options["split"], spec.options["columns"]
    one_of("split", split, figures["splits"])
    rows = figures["splits"][split]
    first = next(iter(rows.values()))
    for name in columns:
        if name != PACE:
            one_of("columns", name, first)
    paces = figures.get(PACE_KEY) or {}
    own = next(iter(paces.values()), None)
    lines = []
    for name, row in rows.items():
        cells = [_variant_text(row.get(key)) for key in columns if key != PACE]
        if PACE in columns:
            pace = paces.get(name)
            cells.append("-" if pace is None or own is None else f"{pace / own:.2f}")
        lines.append([f"`{name}`", *cells])
    shown = [title for key, title in columns.items() if key != PACE]
    head = ["variant", *shown, *([columns[PACE]] if PACE in columns else [])]
    about = (
        f"{split}: {first['clips']} clips, {units_text(first['speakers'])}; below each figure its "
        "paired difference from `full` with a 95 % interval, in bold type where that holds no 0."
    )
    named = ", ".join(str(figures[key]) for key in ("hardware", "date") if key in figures)
    trained = f"commit `{figures['commit'][:7]}`" if "commit" in figures else ""
    about = " ".join([about, *([f"{named}, trained at {trained}."] if trained else [])])
    return "\n".join([*table_lines(head, lines), "", about, *_origin(spec, sources)])


def _variant_text(figure: Mapping[str, Any] | None) -> str:
    """`0.851<br>**+0.012** (0.003 to 0.020)`, "-" without a figure."""
    if figure is None or figure["value"] is None:
        return "-"
    unit, change = figure["unit"], figure.get("difference")
    text = number_text(figure["value"], unit=unit)
    if change is None:
        return text
    low, high = (number_text(change[key], unit=unit).removesuffix(" %") for key in ("low", "high"))
    value = ("+" if change["value"] > 0 else "") + number_text(change["value"], unit=unit)
    told_apart = change["low"] > 0 or change["high"] < 0
    return f"{text}<br>{f'**{value}**' if told_apart else value} ({low} to {high})"


def _markdown(spec: TableSpec, sources: Mapping[str, Source]) -> str:
    """A file that a recipe wrote, as it is."""
    return read_file(sources[spec.options["source"]].file).decode("utf-8")


def _origin(spec: TableSpec, sources: Mapping[str, Source]) -> list[str]:
    """The commands behind a table; none where it has `origin: false`."""
    if not spec.options.get("origin", True):
        return []
    return ["", "; ".join(f"`{sources[name].command}`" for name in spec.sources) + "."]


KINDS: dict[str, Callable[[TableSpec, Mapping[str, Source]], str]] = {
    "anchors": _anchors,
    "words": _words,
    "speech": _speech,
    "codebook": _codebook,
    "variants": _variants,
    "markdown": _markdown,
}

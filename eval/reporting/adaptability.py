"""Tables and curves of a comparison of tokenizers by the likelihood of a language model.

A comparison is a folder with run.json (budget and provenance) and, for every tokenizer,
<name>/result.json and <name>/curve.jsonl ({"step", "audio_seconds", "bits_per_second"}).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.files import read_json, write_json, write_text
from codec.files.json_lines import read_json_lines
from codec.files.names import is_hidden
from eval.scoring.summary import number_text, resampled_over

from .line_chart import LineChart, Series, save_line_charts

RESULT, CURVE, RUN = "result.json", "curve.jsonl", "run.json"
Result = dict[str, Any]

# Heading, key of a result, digits; the columns that only describe.
COSTS = (
    ("tokens/s", "tokens_per_second", 1),
    ("codes used", "codes_used", 0),
    ("perplexity", "perplexity", 0),
    ("raw bit/s", "raw_bitrate", 0),
    ("LM bit/s ↓", "bits_per_second", 1),
    ("given the text", "bits_per_second_given_text", 1),
    ("unigram", "unigram_bits_per_second", 1),
    ("bigram", "bigram_bits_per_second", 1),
    ("removed by the LM", "share_removed", None),
    ("beyond the bigram", "share_beyond_bigram", None),
)
# A model of phones is given how long each lasts, too.
PHONE_COSTS = tuple(
    ("given phones and durations" if key == "bits_per_second_given_text" else title, key, digits)
    for title, key, digits in COSTS
)
SPEEDS = (
    ("tokens for 10 s", "tokens_of_ten_seconds", 0),
    ("s to speak 10 s", "seconds_of_ten_seconds", 1),
    ("parameters", "parameters", 0),
    ("tokens trained", "tokens_trained", 0),
    ("s of speech trained", "audio_seconds_trained", 0),
    ("s of training", "train_seconds", 0),
    ("RTF encode", "rtf_encode", 3),
    ("RTF decode", "rtf_decode", 3),
)

# Figures to show against bits a second, and whether higher is better; the first that was measured
# is shown.
QUALITY = {"stoi": True, "mel_l1": False}

READING = """How to read it:

- **bit/s** is the negative log-likelihood of a second of speech in this tokenizer's codes; it is
  the one likelihood that can be compared across token rates and codebook sizes.
- **It rewards a tokenizer for discarding speech**: one that always gives the same code costs
  0 bit/s. So read it with the resynthesis figures in the same row; a tokenizer is better learnt
  only if it costs less *and* resynthesises no worse, or resynthesises better for the same bits.
- **removed by the LM** is 1 - LM / raw, the share of the code rate that was predictable;
  **beyond the bigram** is 1 - LM / bigram: what is learnt from more than the last code.
- The n-gram references are trained on the same train codes and charged on the same valid codes;
  with few codes of a large codebook they stay far above what more data would give.
- **Not comparable** between rows: loss, perplexity or accuracy a token. A token stands for another
  length of speech and is one of another number of entries in each row; halving the token rate
  doubles the loss a token for the same knowledge.
- The budget is the same in seconds of speech, optimizer steps and layers, not in operations: more
  tokens a second cost more time (s of training), and a larger codebook more embedding parameters.
"""


@dataclass(frozen=True)
class Rendered:
    """Output of `render`: the Markdown, its file, and the picture (None without matplotlib)."""

    markdown: str
    page: Path
    picture: Path | None


def read_results(run: Path | str) -> list[Result]:
    """Read the results of a comparison, the one with the fewest bits first.

    Raises:
        ValueError: No comparison, or none of its tokenizers is done.
    """
    run = Path(run)
    if not (run / RUN).is_file():
        raise ValueError(f"expected a folder of recipes.comparisons.adapt with {RUN}, got {run}")
    found = []
    for path in sorted(each for each in run.glob(f"*/{RESULT}") if not is_hidden(each, run)):
        curve = read_json_lines(path.parent / CURVE, torn="drop", missing_ok=True)
        found.append({**read_json(path), "curve": curve})
    if not found:
        raise ValueError(f"expected {run} to hold at least one finished tokenizer, got none")
    return sorted(found, key=lambda result: result["bits_per_second"])


def render(run: Path | str) -> Rendered:
    """Write adapt.md, adapt.json and adapt.png from the finished tokenizers.

    Raises:
        ValueError: As `read_results`.
    """
    run = Path(run)
    results = read_results(run)
    about = read_json(run / RUN)
    picture = draw_curves(results, run / "adapt.png")
    text = to_markdown(results, about, picture)
    write_json(run / "adapt.json", {**about, "results": results})
    page = write_text(run / "adapt.md", text)
    return Rendered(text, page, picture)


def to_markdown(results: Sequence[Result], about: dict[str, Any], picture: Path | None) -> str:
    """Format tables of likelihood, quality and cost, with notes and provenance."""
    by_phones = about.get("text") == "phones"
    parts = [about["title"], "", *table(PHONE_COSTS if by_phones else COSTS, results), ""]
    for part, title in (
        ("resynthesis", "Resynthesis of valid clips from their codes, no language model"),
        ("generation", "Speech of valid texts by the language model"),
    ):
        lines = figure_table(part, results)
        if lines:
            parts += [f"{title}{_sampled(part, results)}:", "", *lines, ""]
        else:
            parts += [f"{title}: none was made.", ""]
    for name, reason in (about.get("left_out") or {}).items():
        parts += [f"Left out: {name}: {reason}", ""]
    parts += ["Cost:", "", *table(SPEEDS, results), ""]
    if picture is not None:
        parts += [f"![bits a second of speech against speech trained on]({picture.name})", ""]
    parts += [READING, *(f"{key}: {value}" for key, value in about["provenance"].items())]
    return "\n".join(parts) + "\n"


def table(columns: Sequence[tuple[str, str, int | None]], results: Sequence[Result]) -> list[str]:
    """Format a Markdown table; shares have no digits and are shown in per cent."""
    rows = [
        [result["name"], *(_number(result.get(key), digits) for _, key, digits in columns)]
        for result in results
    ]
    return _markdown(["tokenizer", *(heading for heading, _, _ in columns)], rows)


def figure_table(part: str, results: Sequence[Result]) -> list[str]:
    """Format figures of metrics with intervals; [] where no result has any."""
    names = list(dict.fromkeys(name for result in results for name in result.get(part) or {}))
    if not names:
        return []
    # An arrow beside a name points in the better direction.
    heads = []
    for name in names:
        figure = next(result[part][name] for result in results if name in (result[part] or {}))
        heads.append(name + {True: " ↑", False: " ↓", None: ""}[figure["higher_is_better"]])
    rows = [
        [result["name"], *(_figure((result.get(part) or {}).get(name)) for name in names)]
        for result in results
    ]
    return _markdown(["tokenizer", *heads], rows)


def _sampled(part: str, results: Sequence[Result]) -> str:
    """Count the clips of a table, and say what its intervals are over."""
    figures = [figure for result in results for figure in (result.get(part) or {}).values()]
    sampled = [figure for figure in figures if figure.get("ci95")]
    if not sampled:
        return ""
    clips = max(figure["n_ok"] for figure in sampled)
    return f", {clips} clips, 95 % intervals over {resampled_over(sampled)}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    rule = "|" + " --- |" * len(head)
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]


def draw_curves(results: Sequence[Result], path: Path) -> Path | None:
    """Chart bits a second against speech trained on, a line a tokenizer; dashes: its bigram.

    Beside it bits a second against the quality of the resynthesis, by the first of `QUALITY`
    that was measured.

    Returns:
        The PNG, or None where matplotlib is not installed.
    """
    # Both charts give a tokenizer the same colour.
    lines, dots = [], []
    shown, quality = _quality(results)
    for color, result in enumerate(results):
        name, bits = result["name"], result["bits_per_second"]
        x = [row["audio_seconds"] / 60 for row in result["curve"]]
        y = [row["bits_per_second"] for row in result["curve"]]
        lines.append(Series(name, x, y, "both", color=color))
        bigram = [result["bigram_bits_per_second"]] * len(x)
        lines.append(Series("", x, bigram, "dashed", color=color))
        if name in quality:
            dots.append(Series(name, [bits], [quality[name]], "points", color=color))
    charts = [
        LineChart(
            "Bits a second of speech",
            "minutes of speech trained on",
            "bit/s on valid (dashed: bigram)",
            lines,
            y_scale="linear",
            show_last=False,
        )
    ]
    if shown:
        better = "higher" if QUALITY[shown] else "lower"
        y_label = f"{shown} of the resynthesis, {better}: better"
        charts.append(
            LineChart("Quality", "bit/s on valid", y_label, dots, y_scale="linear", show_last=False)
        )
    try:
        return save_line_charts(charts, path)
    except ImportError:
        return None


def _quality(results: Sequence[Result]) -> tuple[str, dict[str, float]]:
    """First of `QUALITY` that any resynthesis has, and its value by tokenizer; "" for none."""
    for name in QUALITY:
        values = {
            result["name"]: result["resynthesis"][name]["value"]
            for result in results
            if (result.get("resynthesis") or {}).get(name, {}).get("value") is not None
        }
        if values:
            return name, values
    return "", {}


def _number(value: float | None, digits: int | None) -> str:
    """Format a number, a share in per cent where it has no digits, or a dash."""
    if value is None:
        return "-"
    return number_text(value, unit="%") if digits is None else number_text(value, digits=digits)


def _figure(figure: dict[str, Any] | None) -> str:
    """Format a value with its interval and the number of failed clips."""
    if figure is None or figure["value"] is None:
        return "-"
    unit = figure["unit"]
    text = number_text(figure["value"], unit=unit)
    if figure.get("ci95"):
        low, high = (number_text(end, unit="%" if unit == "%" else "") for end in figure["ci95"])
        text += f" ({low} to {high})"
    return text + (f", {figure['n_failed']} failed" if figure.get("n_failed") else "")

"""`hh-eval report`: write the page of a scored folder again, with further charts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec.command_line import Commands, add_command, number, print_report, whole_number
from codec.files import write_json
from codec.files.json_lines import read_json_lines
from codec.provenance import provenance
from eval.reporting.charts import clip_charts, rate_charts, read_ladder, summary_system
from eval.reporting.line_chart import LineChart, codebook_rank_chart
from eval.reporting.listening_results import listening_figures, listening_report, read_answers
from eval.reporting.listening_test import KEY_NAME
from eval.reporting.report import Clip, write_report
from eval.reporting.sections import folder_report, worst_clips
from eval.scoring.pair import Pair
from eval.scoring.summary import read_items, read_summary
from eval.tokens.codebook import count_codes

from .options import audio_files

EXAMPLES = """examples:
  hh-eval report scores/mini --title 'mini codec'
  hh-eval report scores/mini --ladder anchors.json --bitrate 304.7
  hh-eval report scores/mini --codes run/generate/reconstructed/test/items.jsonl \\
    --codebook-size 8192
  hh-eval report scores/mini --baseline scores/opus_6 --audio recordings/ decoded/
  hh-eval report listening                                # of hh-eval listen, with answers
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "report",
        run,
        summary="write report.html into a scored folder again",
        examples=EXAMPLES,
    )
    command.add_argument(
        "folder", type=Path, metavar="FOLDER", help="holds summary.json, or a listening test"
    )
    command.add_argument("--title", default="", help="heading of the page")
    command.add_argument(
        "--audio",
        type=Path,
        nargs=2,
        metavar=("REF_DIR", "HYP_DIR"),
        help="folders that were scored, for players and pictures of the worst clips",
    )
    command.add_argument(
        "--baseline", type=Path, metavar="FOLDER", help="scored folder to set clip against clip"
    )
    command.add_argument("--baseline-name", default="", help="as charts show it")
    command.add_argument(
        "--ladder",
        type=Path,
        metavar="FILE",
        help="systems by bit rate: anchors.json, or a list of name, bitrate and values",
    )
    command.add_argument(
        "--codes",
        type=Path,
        metavar="FILE",
        help='JSON lines with "codes" of each clip, such as the items.jsonl of recipes.generate, '
        "for how often each entry of a codebook is used",
    )
    command.add_argument(
        "--codebook-size", type=whole_number(1), help="entries there are, for --codes"
    )
    command.add_argument(
        "--bitrate", type=number(above=0), help="bit/s of what FOLDER holds, for --ladder"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the page of a scored folder."""
    folder = arguments.folder
    if (folder / KEY_NAME).is_file():
        return _report_listening(folder, as_json=arguments.json)
    summary = read_summary(folder)
    clips: list[Clip] = []
    if arguments.audio:
        original, reconstructed = map(audio_files, arguments.audio)
        sources = {"original": original, "reconstructed": reconstructed}
        clips = worst_clips(folder, summary, sources)
        _check_shown(folder, [clip.id for clip in clips], original, reconstructed)
    report = folder_report(
        folder,
        title=arguments.title,
        clips=clips,
        provenance=provenance("hh-eval"),
        charts=_charts(arguments, summary),
    )
    page = write_report(report, folder / "report.html")
    if arguments.json:
        print_report({"report": str(page)}, as_json=True)
    else:
        print(page)
    return 0


def _check_shown(
    folder: Path,
    names: Sequence[str],
    original: Mapping[str, Path],
    reconstructed: Mapping[str, Path],
) -> None:
    """Refuse sounds that are others than those whose scores stand beside them.

    Raises:
        ValueError: A clip has changed since it was scored, or is of another folder.
    """
    items = {item["id"]: item for item in read_items(folder)}
    other = []
    for name in names:
        item, sounds = items.get(name, {}), (original.get(name), reconstructed.get(name))
        # A clip with a prompt has a key of that, too.
        if None not in sounds and "key" in item and "prompt" not in item:
            now = Pair(name, *sounds, item.get("text", "")).key
            other += [name] if now != item["key"] else []
    if other:
        raise ValueError(
            f"expected with --audio the sounds that {folder} holds scores of, got others for "
            f"{', '.join(other)}; score them again"
        )


def _report_listening(folder: Path, *, as_json: bool) -> int:
    """Write the page and the figures of a listening test from the answers in its folder."""
    figures = listening_figures(*read_answers(folder))
    write_json(folder / "listening.json", figures)
    page = write_report(listening_report(figures, provenance("hh-eval")), folder / "report.html")
    if as_json:
        print_report({"report": str(page), **figures}, as_json=True)
        return 0
    for row in figures["rows"]:
        found = row.get("preference") or row["score"]
        name = row.get("system") or f"{row['first']} against {row['second']}"
        ends = "" if found["low"] is None else f" ({found['low']:.3g} to {found['high']:.3g})"
        print(f"{name:40} {found['value']:.3g}{ends}, {row['answers']} answers")
    print(page)
    return 0


def _charts(arguments: argparse.Namespace, summary: dict[str, Any]) -> list[LineChart]:
    """Chart quality by bit rate, clips against the baseline and codebook use, as asked for."""
    folder: Path = arguments.folder
    charts: list[LineChart] = []
    if arguments.ladder is not None:
        systems = read_ladder(arguments.ladder)
        if arguments.bitrate is not None:
            name = arguments.title or folder.resolve().name
            # The list may hold the same system from an earlier run.
            systems = [s for s in systems if s.name != name]
            systems.insert(0, summary_system(name, summary, arguments.bitrate))
        charts += rate_charts(systems, summary)
    if arguments.baseline is not None:
        names = (arguments.title, arguments.baseline_name)
        charts += clip_charts(folder, arguments.baseline, names=names)
    if arguments.codes is not None:
        charts.append(_rank_chart(arguments.codes, arguments.codebook_size))
    return charts


def _rank_chart(path: Path, codebook_size: int | None) -> LineChart:
    """Chart the use of a codebook by rank, of the codes in a file.

    Raises:
        ValueError: No such file, no size, or no codes within it.
    """
    if not path.is_file() or codebook_size is None:
        raise ValueError(f"expected --codes FILE with --codebook-size, got {path}, {codebook_size}")
    rows = read_json_lines(path, torn="keep whole")
    clips = [np.asarray(row["codes"]) for row in rows if row.get("codes")]
    if not clips:
        raise ValueError(f'{path}: expected JSON lines with "codes", got none')
    return codebook_rank_chart(count_codes(clips, codebook_size))

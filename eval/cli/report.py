"""`hh-eval report`: the page of a scored folder, written again, beside others where asked for."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from eval.files import read_json_lines
from eval.reporting.charts import clip_charts, rate_charts, read_ladder, summary_system
from eval.reporting.line_chart import Curve, codebook_rank_curve
from eval.reporting.report import Clip, write_report
from eval.reporting.sections import folder_report, item_notes, worst_items
from eval.scoring.summary import read_summary
from eval.sound import load_sound
from eval.tokens.codebook import count_codes

from .options import Commands, add_command, audio_files, provenance

WORST_CLIPS = 5

EXAMPLES = """examples:
  hh-eval report scores/mini --title 'mini codec'
  hh-eval report scores/mini --ladder anchors.json --bitrate 304.7
  hh-eval report scores/mini --codes run/generate/reconstructed/test/items.jsonl \\
    --codebook-size 8192
  hh-eval report scores/mini --baseline scores/opus_6 --audio recordings/ decoded/
"""


def add(commands: Commands) -> None:
    """Adds the command."""
    command = add_command(
        commands,
        "report",
        run,
        summary="write report.html into a scored folder again",
        examples=EXAMPLES,
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="holds summary.json")
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
    command.add_argument("--codebook-size", type=int, help="entries there are, for --codes")
    command.add_argument("--bitrate", type=float, help="bit/s of what FOLDER holds, for --ladder")


def run(arguments: argparse.Namespace) -> int:
    """Writes the page of a scored folder."""
    folder = arguments.folder
    summary = read_summary(folder)
    clips = _clips(folder, summary, *arguments.audio) if arguments.audio else []
    report = folder_report(
        folder,
        title=arguments.title,
        clips=clips,
        provenance=provenance(),
        charts=_charts(arguments, summary),
    )
    page = write_report(report, folder / "report.html")
    print(json.dumps({"report": str(page)}) if arguments.json else page)
    return 0


def _charts(arguments: argparse.Namespace, summary: dict[str, Any]) -> list[Curve]:
    """Quality by bit rate and clips against the baseline, as asked for."""
    folder: Path = arguments.folder
    curves: list[Curve] = []
    if arguments.ladder is not None:
        systems = read_ladder(arguments.ladder)
        if arguments.bitrate is not None:
            name = arguments.title or folder.resolve().name
            systems = [s for s in systems if s.name != name]
            systems.insert(0, summary_system(name, summary, arguments.bitrate))
        curves += rate_charts(systems, summary)
    if arguments.baseline is not None:
        names = (arguments.title, arguments.baseline_name)
        curves += clip_charts(folder, arguments.baseline, names=names)
    if arguments.codes is not None:
        curves.append(_rank_chart(arguments.codes, arguments.codebook_size))
    return curves


def _rank_chart(path: Path, codebook_size: int | None) -> Curve:
    """Use of a codebook by rank, of the codes in a file.

    Raises:
        ValueError: No such file, no size, or no codes within it.
    """
    if not path.is_file() or codebook_size is None:
        raise ValueError(f"expected --codes FILE with --codebook-size, got {path}, {codebook_size}")
    clips = [np.asarray(row["codes"]) for row in read_json_lines(path) if row.get("codes")]
    if not clips:
        raise ValueError(f'{path}: expected JSON lines with "codes", got none')
    return codebook_rank_curve(count_codes(clips, codebook_size))


def _clips(folder: Path, summary: dict[str, Any], ref_dir: Path, hyp_dir: Path) -> list[Clip]:
    """The worst clips with both their sounds."""
    sides = {"original": audio_files(ref_dir), "reconstructed": audio_files(hyp_dir)}
    clips = []
    for name in worst_items(folder, summary, (), WORST_CLIPS):
        sounds = {label: load_sound(files[name]) for label, files in sides.items() if name in files}
        audio = {label: (s.waveform, s.sample_rate) for label, s in sounds.items()}
        clips.append(Clip(name, "", item_notes(folder, name), audio))
    return clips

"""The console script `hh-eval`: what can be measured here, scores of a folder, a report."""

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .curves import number_text
from .files import read_json_lines
from .intelligibility import WerMetric
from .overview import folder_report, item_notes
from .protocols import Metric
from .recognition import DIGITS, PocketSphinxRecognizer
from .registry import INTELLIGIBILITY, METRICS, RECONSTRUCTION, installed_packages, make_metrics
from .registry import obstacles as metric_obstacles
from .report import Clip, write_report
from .scoring import Pair, score_pairs
from .summary import find_figure
from .waveforms import load_sound

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
WORST_CLIPS = 5

EXAMPLES = """examples:
  hh-eval doctor
  hh-eval codec recordings/ decoded/
  hh-eval codec recordings/ decoded/ --out scores/mini --workers 2 --json
  hh-eval codec recordings/ decoded/ --texts texts.jsonl --metrics stoi,pitch,wer_original,wer
  hh-eval report scores/mini
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; 0 when all went well, 1 when items failed, 2 when the call was wrong."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"hh-eval: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    """Commands and options."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "hh-eval", description=__doc__, epilog=EXAMPLES, formatter_class=raw
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor",
        help="list every metric and whether it can run here",
        epilog="example:\n  hh-eval doctor --json",
        formatter_class=raw,
    )
    doctor.set_defaults(run=_doctor)
    codec = commands.add_parser(
        "codec",
        help="score a folder of decoded files against their recordings",
        description="Files are matched by their path below each folder, without suffix. Exits "
        "with 1 when a file of REF_DIR has no match or cannot be scored.",
        epilog=EXAMPLES,
        formatter_class=raw,
    )
    codec.add_argument("ref_dir", type=Path, metavar="REF_DIR", help="recordings")
    codec.add_argument("hyp_dir", type=Path, metavar="HYP_DIR", help="decoded files")
    codec.add_argument("--out", type=Path, help="results (default: HYP_DIR with .eval added)")
    codec.add_argument("--metrics", help=f"of {','.join(METRICS)} (default: all that apply)")
    codec.add_argument("--texts", type=Path, help='JSON lines {"id": "...", "text": "..."} for WER')
    codec.add_argument("--words", help="recognise only these: 'digits' or a comma-separated list")
    codec.add_argument("--workers", type=int, default=0, help="processes beside this one")
    codec.add_argument("--seed", type=int, default=0, help="seed of the intervals")
    codec.set_defaults(run=_codec)
    report = commands.add_parser(
        "report",
        help="write report.html into a scored folder again",
        epilog="example:\n  hh-eval report scores/mini --title 'mini codec'",
        formatter_class=raw,
    )
    report.add_argument("folder", type=Path, metavar="FOLDER", help="holds summary.json")
    report.add_argument("--title", default="", help="heading of the page")
    report.set_defaults(run=_report)
    for command in (doctor, codec, report):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _doctor(arguments: argparse.Namespace) -> int:
    """Lists metrics with their back ends."""
    rows = {}
    for name, factory in METRICS.items():
        metric = factory()
        reasons = metric_obstacles(metric)
        rows[name] = {
            "id": metric.info.id,
            "status": "not ready" if reasons else "ready",
            "obstacles": reasons,
            "packages": installed_packages(metric),
            "definition": metric.info.definition,
        }
    if arguments.json:
        print(json.dumps({"metrics": rows}))
        return 0
    for name, row in rows.items():
        print(f"{name:14} {row['status']:10} {row['id']}")
        for reason in row["obstacles"]:
            print(f"{'':14} {reason}")
    return 0


def _codec(arguments: argparse.Namespace) -> int:
    """Scores HYP_DIR against REF_DIR and writes the report."""
    texts = _texts(arguments.texts)
    pairs = folder_pairs(arguments.ref_dir, arguments.hyp_dir, texts)
    metrics = _chosen_metrics(arguments.metrics, arguments.words, bool(texts))
    out = arguments.out or arguments.hyp_dir.with_name(arguments.hyp_dir.name + ".eval")
    summary = score_pairs(pairs, metrics, out, num_workers=arguments.workers, seed=arguments.seed)
    clips = [
        Clip(
            pair.id,
            pair.text,
            item_notes(out, pair.id),
            {"original": _audio(pair.reference), "reconstructed": _audio(pair.estimate)},
        )
        for pair in _worst(pairs, out, metrics[0])
    ]
    provenance = _provenance()
    page = write_report(folder_report(out, clips=clips, provenance=provenance), out / "report.html")
    _print_summary(summary, page, as_json=arguments.json)
    failed = sum(metric["n_failed"] for metric in summary["metrics"].values())
    return 1 if failed else 0


def folder_pairs(ref_dir: Path, hyp_dir: Path, texts: dict[str, str]) -> list[Pair]:
    """Pairs of two folders; a recording without a decoded file stays in, to be counted as failed.

    Raises:
        ValueError: A folder that is none or holds no audio, or two files of one name.
    """
    references, estimates = _audio_files(ref_dir), _audio_files(hyp_dir)
    unmatched = sorted(set(estimates) - set(references))
    if unmatched:
        print(
            f"hh-eval: {len(unmatched)} files of {hyp_dir} have no recording and are not scored: "
            f"{', '.join(unmatched[:5])}",
            file=sys.stderr,
        )
    return [
        Pair(name, path, estimates.get(name, hyp_dir / f"{name}.wav"), texts.get(name, ""))
        for name, path in references.items()
    ]


def _audio_files(folder: Path) -> dict[str, Path]:
    """Audio files by their path below the folder without suffix, sorted."""
    if not folder.is_dir():
        raise ValueError(f"expected a folder with audio files, got {folder}")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise ValueError(f"expected one file for {name!r}, got {found[name]} and {path}")
            found[name] = path
    if not found:
        raise ValueError(f"expected audio files ({', '.join(SUFFIXES)}) in {folder}, got none")
    return found


def _texts(path: Path | None) -> dict[str, str]:
    """Transcripts by id from a JSON-lines file."""
    if path is None:
        return {}
    if not path.is_file():
        raise ValueError(f"expected a JSON-lines file with texts, got {path}")
    return {str(row["id"]): str(row["text"]) for row in read_json_lines(path) if "text" in row}


def _chosen_metrics(names: str | None, words: str | None, has_texts: bool) -> list[Metric]:
    """Metrics of --metrics, else all that apply, the recogniser closed to --words."""
    default = (*RECONSTRUCTION, *(INTELLIGIBILITY if has_texts else ()))
    chosen = make_metrics(names.split(",") if names else default)
    if words is None:
        return chosen
    closed = PocketSphinxRecognizer(DIGITS if words == "digits" else words.split(","))
    return [
        WerMetric(closed, metric.part, metric.normalizer)
        if isinstance(metric, WerMetric)
        else metric
        for metric in chosen
    ]


def _worst(pairs: Sequence[Pair], folder: Path, metric: Metric) -> list[Pair]:
    """The clips that did worst on the first figure of a metric, the worst first."""
    info = metric.info
    figure = info.figures[0]
    rows = {row["id"]: row for row in read_json_lines(folder / "scores" / f"{info.id}.jsonl")}
    scored = [pair for pair in pairs if rows[pair.id]["values"].get(figure.name) is not None]
    sign = 1.0 if figure.higher_is_better else -1.0
    return sorted(scored, key=lambda p: sign * rows[p.id]["values"][figure.name])[:WORST_CLIPS]


def _audio(source: Any) -> tuple[Any, int]:
    """Waveform and rate of a source that could be scored."""
    sound = load_sound(source)
    return sound.waveform, sound.sample_rate


def _report(arguments: argparse.Namespace) -> int:
    """Writes the page of a scored folder; audio is known to `codec` only, so it shows none."""
    report = folder_report(arguments.folder, title=arguments.title, provenance=_provenance())
    page = write_report(report, arguments.folder / "report.html")
    print(json.dumps({"report": str(page)}) if arguments.json else page)
    return 0


def _provenance() -> dict[str, str]:
    """Command, machine and time."""
    return {
        "command": shlex.join(["hh-eval", *sys.argv[1:]]),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _print_summary(summary: dict[str, Any], page: Path, *, as_json: bool) -> None:
    """The figures on standard output."""
    if as_json:
        print(json.dumps({**summary, "report": str(page)}, allow_nan=False))
        return
    for metric_id, metric in summary["metrics"].items():
        for name in metric["figures"]:
            figure = find_figure(summary, f"{metric_id.split('.')[0]}/{name}") or {}
            ends = figure["ci95"] or ()
            value = "-" if figure["value"] is None else number_text(figure["value"])
            interval = f"[{', '.join(number_text(end) for end in ends)}]"
            done = f"{figure['n_ok']}/{figure['n_expected']}"
            print(f"{metric_id:34} {name:18} {value:>8} {interval:>18} {done:>9}")
    print(page)

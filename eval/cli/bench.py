"""`hh-eval bench`: measure how many times faster than real time metrics are on this machine."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from codec.command_line import Commands, add_command, number, print_report, whole_number
from eval.metrics.registry import RECONSTRUCTION, WHERE_READY
from eval.scoring.speed import measure_metric, measure_set, synthetic_pairs

from .options import add_metric_options, folder_pairs, selected_metrics


def add(commands: Commands) -> None:
    """Add the command."""
    bench = add_command(
        commands,
        "bench",
        run,
        summary="measure the speed of metrics",
        description="Measure each metric alone, then all together over worker processes, on "
        "generated sounds or on a pair of folders. Exits with 1 when the set is slower than "
        "--require, or a clip failed where speed is required.",
        examples="examples:\n  hh-eval bench\n"
        "  hh-eval bench recordings/ decoded/ --metrics default,pesq --require 20",
    )
    bench.add_argument("ref_dir", type=Path, nargs="?", metavar="REF_DIR", help="recordings")
    bench.add_argument("hyp_dir", type=Path, nargs="?", metavar="HYP_DIR", help="decoded files")
    add_metric_options(bench)
    bench.add_argument("--workers", type=whole_number(0), default=2, help="processes")
    bench.add_argument("--seconds", type=number(above=0), default=120.0, help="of generated audio")
    bench.add_argument(
        "--require", type=number(0), default=0.0, metavar="X", help="times real time, by CPU time"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    if (arguments.ref_dir is None) != (arguments.hyp_dir is None):
        raise ValueError("expected REF_DIR and HYP_DIR or neither, got one folder")
    selection = selected_metrics(arguments, RECONSTRUCTION, WHERE_READY)
    if arguments.ref_dir is None:
        pairs = synthetic_pairs(arguments.seconds)
    else:
        pairs = folder_pairs(arguments.ref_dir, arguments.hyp_dir, {})
    # Workers first: metrics that are loaded in this process would not count as theirs.
    together = measure_set(selection.metrics, pairs, arguments.workers)
    alone = [measure_metric(metric, pairs) for metric in selection.metrics]
    # What fails early is fast.
    is_whole = not arguments.require or not any(each.n_failed for each in alone)
    status = 0 if is_whole and together.x_real_time_cpu >= arguments.require else 1
    if arguments.json:
        metrics = [asdict(each) for each in alone]
        report = {"metrics": metrics, "together": asdict(together), "skipped": selection.skipped}
        print_report(report, as_json=True)
        return status
    print(f"{'metric':34} {'load s':>8} {'CPU s / 10 s':>13} {'x real time':>12} {'failed':>7}")
    for each in alone:
        print(
            f"{each.id:34} {each.load_seconds:8.2f} {each.cpu_seconds_per_10s:13.3f} "
            f"{each.x_real_time:12.1f} {each.n_failed:7d}"
        )
    print(
        f"together, {together.num_workers} workers: {together.audio_seconds:g} s of audio in "
        f"{together.wall_seconds:.1f} s, {together.x_real_time:g} x real time, start included; "
        f"loaded, {together.cpu_seconds_per_10s:.3f} CPU s / 10 s, which makes "
        f"{together.x_real_time_cpu:g} x with a core for each"
    )
    return status

"""`hh-eval bench`: how many times faster than real time metrics are on this machine."""

import argparse
import json
import sys
from pathlib import Path

from eval.metrics.registry import RECONSTRUCTION, WHERE_READY, select_metrics
from eval.scoring.speed import bench_table, measure_metric, measure_set, synthetic_pairs
from eval.weights import parse_weights, use_weights

from .options import Commands, add_command, add_metric_options, folder_pairs


def add(commands: Commands) -> None:
    """Adds the command."""
    bench = add_command(
        commands,
        "bench",
        run,
        summary="measure the speed of metrics",
        description="Measures each metric alone, then all together over worker processes, on "
        "generated sounds or on a pair of folders. With --require it exits with 1 when the set "
        "is slower than that.",
        examples="examples:\n  hh-eval bench\n"
        "  hh-eval bench recordings/ decoded/ --metrics default,pesq --require 20",
    )
    bench.add_argument("ref_dir", type=Path, nargs="?", metavar="REF_DIR", help="recordings")
    bench.add_argument("hyp_dir", type=Path, nargs="?", metavar="HYP_DIR", help="decoded files")
    add_metric_options(bench)
    bench.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    bench.add_argument(
        "--seconds", type=float, default=120.0, help="generated audio (default: 120 s)"
    )
    bench.add_argument(
        "--require", type=float, default=0.0, metavar="X", help="times real time, by CPU time"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints."""
    if (arguments.ref_dir is None) != (arguments.hyp_dir is None):
        raise ValueError("expected REF_DIR and HYP_DIR or neither, got one folder")
    if arguments.workers < 0 or arguments.seconds <= 0:
        raise ValueError(
            f"expected workers >= 0 and seconds > 0, got {arguments.workers}, {arguments.seconds}"
        )
    use_weights(parse_weights(arguments.weight))
    selection = select_metrics(
        arguments.metrics,
        RECONSTRUCTION,
        where_ready=WHERE_READY,
        skip_unavailable=arguments.skip_unavailable,
    )
    if arguments.ref_dir is None:
        pairs = synthetic_pairs(arguments.seconds)
    else:
        pairs = folder_pairs(arguments.ref_dir, arguments.hyp_dir, {})
    # Workers first: what this process loads would not count as theirs.
    together = measure_set(selection.metrics, pairs, arguments.workers)
    alone = [measure_metric(metric, pairs) for metric in selection.metrics]
    if arguments.json:
        print(json.dumps(bench_table(alone, together) | {"skipped": selection.skipped}))
    else:
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
        for name in selection.skipped:
            print(f"left out: {name}", file=sys.stderr)
    return 1 if together.x_real_time_cpu < arguments.require else 0

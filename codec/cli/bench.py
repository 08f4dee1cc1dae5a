"""`hh-codec bench`: our presets and other codecs, measured side by side."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from codec.checks import LARGEST
from codec.command_line import (
    DONE,
    Commands,
    add_command,
    name_list,
    number,
    print_report,
    whole_number,
)

HEADER = ("", "kbit/s", "RTF", "RTF range", "CPU s/s", "params M", "GMAC/s", "peak MiB")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "bench",
        run,
        summary="speed, size and memory of codecs side by side",
        description="Speed, size and memory of our presets and of other codecs, all at random\n"
        "weights, in one run of some minutes; the other codecs need the extra `peers`.",
        examples="example:\n  hh-codec bench --systems hh_24khz,mimi --duration 10 --json",
    )
    parser.add_argument(
        "--systems", type=name_list, metavar="A,B", help="which ones (default: all)"
    )
    parser.add_argument(
        "--duration", type=number(1, most=LARGEST), default=10.0, help="of the audio, s"
    )
    parser.add_argument(
        "--repeats", type=whole_number(1), default=5, help="passes of each; slow ones 2"
    )
    parser.add_argument(
        "--threads", type=whole_number(1), help="of torch (default: its own choice)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; status 0, also where a bar is missed."""
    import torch

    from codec.bench.codecs import SYSTEMS, bench

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    names = list(SYSTEMS) if arguments.systems is None else arguments.systems

    def progress(text: str) -> None:
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    # A log would hold every line of it.
    show = progress if sys.stderr.isatty() else lambda text: None
    report = bench(names, duration=arguments.duration, repeats=arguments.repeats, progress=show)
    show("")
    if arguments.json:
        print_report(report, as_json=True)
    else:
        print(as_text(report))
    return DONE


def as_text(report: dict[str, Any]) -> str:
    """Lay out the report of `bench` as a table, with the machine that it was measured on."""
    rows: list[tuple[str, ...]] = [HEADER]
    for name, system in report["systems"].items():
        for direction in ("encode", "decode"):
            part = system[direction]
            low, high = part["real_time_factor_range"]
            rows.append(
                (
                    f"{name} {direction}",
                    f"{system['bitrate'] / 1000:.2f}",
                    f"{part['real_time_factor']:.4f}",
                    f"{low:.4f}-{high:.4f}",
                    f"{part['cpu_factor']:.4f}",
                    f"{part['parameters'] / 1e6:.2f}",
                    f"{part['gmac_per_s']:.2f}",
                    "-" if part["peak_memory_mib"] is None else f"{part['peak_memory_mib']:.0f}",
                )
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = [
        "  ".join(cell.ljust(width) if not column else cell.rjust(width)
                  for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]  # fmt: skip
    for title, ratio in report["ratios"].items():
        outcome = "reached" if ratio["reached"] else "missed"
        lines.append(
            f"{title}: {ratio['ratio']:.2f} (bar {ratio['bar']:g}, {outcome}; "
            f"{ratio['cpu_ratio']:.2f} by processor time)"
        )
    lines += [f"skipped: {name}: {reason}" for name, reason in report["skipped"].items()]
    machine = report["machine"]
    lines.append(
        f"{report['duration']:g} s of audio; {machine['processor']}, {machine['threads']} threads "
        f"of {machine['cores']} cores, torch {machine['torch']}, {report['date']}"
    )
    return "\n".join(lines)

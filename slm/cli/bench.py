"""`hh-slm bench`: speed of generation and of training beside other decoders, the same weights."""

from __future__ import annotations

import argparse

from codec.command_line import DONE, Commands, add_command, print_report
from codec.devices import DEVICE_HELP, usable_device

from .options import whole_number


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "bench",
        run,
        summary="speed beside the stock decoder, same weights",
        examples="example:\n  hh-slm bench generate --size 10M --only stock --only native",
    )
    add, count = command.add_argument, whole_number(1)
    add("what", choices=["generate", "train"])
    add("--size", default="10M", help="1M, 10M, 43M, 125M or 350M parameters")
    add("--new-tokens", type=count, default=128, help="generated a row and round")
    add("--rounds", type=count, default=3, help="of which the fastest counts")
    add("--batch-size", type=count, default=16, help="of the larger batch")
    add("--threads", type=whole_number(0), default=0, help="0 leaves it to torch")
    add("--only", action="append", help="generate: a contestant; again for more")
    add("--device", default="cpu", help=DEVICE_HELP)
    add("--rows", type=count, default=2, help="train: of a step")
    add("--row-tokens", type=count, default=1024, help="train: of a row")
    add("--bf16", action="store_true", help="train: autocast to bfloat16")
    add("--compile", action="store_true", help="train: compile all contestants")
    add("--memory", action="store_true", help="also peak memory, a process for each contestant")
    add("--markdown", action="store_true", help="print Markdown tables")


def run(arguments: argparse.Namespace) -> int:
    """Time the contestants and print the report."""
    if arguments.json and arguments.markdown:
        raise ValueError("expected --json or --markdown, got both")
    import torch  # not at the top: help must not wait for it

    device = str(usable_device(arguments.device))
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.what == "train":
        from slm.bench.training import bench_training, table

        report = bench_training(
            arguments.size,
            row_tokens=arguments.row_tokens,
            rows=arguments.rows,
            rounds=arguments.rounds,
            device=device,
            bf16=arguments.bf16,
            compile=arguments.compile,
        )
    else:
        from slm.bench.generation import bench_generation, table

        report = bench_generation(
            arguments.size,
            new_tokens=arguments.new_tokens,
            rounds=arguments.rounds,
            batch_size=arguments.batch_size,
            only=arguments.only or (),
            memory=arguments.memory,
            device=device,
        )
    if arguments.markdown:
        print(table(report))
    else:
        print_report(report, as_json=arguments.json)
    return DONE

"""Start-up: `--help` of the console commands, and what imports cost beyond torch."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.harness.benchmark import Benchmark, Contestant, Figure
from benchmarks.harness.reference_work import process

COMMANDS = ("codec", "slm", "eval")
IMPORTS = {
    "codec": "from codec import HHCodec",
    "slm": "from slm import SpeechLM, Synthesizer",
    "eval": "from eval.metrics import registry; from eval.scoring import score",
}
FULL = ("full",)


def build_help(size: str, folder: Path) -> dict[str, Contestant]:
    """Build processes that print their help."""
    contestants = {
        f"{name} --help": Contestant(partial(process, "-m", name, "--help")) for name in COMMANDS
    }
    contestants["python"] = Contestant(partial(process, "-c", "import argparse, json, pathlib"))
    return contestants


def build_imports(size: str, folder: Path) -> dict[str, Contestant]:
    """Build processes that load torch, and then a package of ours."""
    lines = {**IMPORTS, "all three": "; ".join(IMPORTS.values())}
    contestants = {
        name: Contestant(partial(process, "-c", f"import torch; {line}"))
        for name, line in lines.items()
    }
    contestants["torch"] = Contestant(partial(process, "-c", "import torch"))
    return contestants


BENCHMARKS = (
    Benchmark(
        "startup.help",
        "print the help of a command",
        "starts",
        build_help,
        tuple(
            Figure(
                f"{name} --help",
                "python",
                f"hh-{name} --help beside a Python process that imports argparse, json and pathlib",
            )
            for name in COMMANDS
        ),
    ),
    Benchmark(
        "startup.import",
        "import a package after torch",
        "starts",
        build_imports,
        (
            Figure("all three", "torch", "torch, codec, slm and eval beside torch alone"),
            *(
                Figure(name, "torch", f"torch and {name} beside torch alone; 1 would be free", FULL)
                for name in IMPORTS
            ),
        ),
        rounds=2,
        warm=False,
    ),
)
CURVES = ()

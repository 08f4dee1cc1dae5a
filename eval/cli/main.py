"""The console script `hh-eval`: what can be measured, scores, comparisons, reports."""

import argparse
import sys
from collections.abc import Sequence

from . import adapt, bench, codec, compare, doctor, report, slm, tts

# In the order of the help. Each module has `add(commands)`.
COMMANDS = (doctor, bench, codec, tts, slm, compare, adapt, report)

EXAMPLES = """examples:
  hh-eval doctor
  hh-eval codec recordings/ decoded/
  hh-eval codec recordings/ decoded/ --out scores/mini --workers 2 --json
  hh-eval tts meta.lst spoken/ --out scores/tts
  hh-eval slm pairs/pairs.jsonl --scores pairs/scores.jsonl
  hh-eval compare scores/mini scores/opus_6
  hh-eval adapt runs/adapt
  hh-eval report scores/mini
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; 0 when all went well, 1 when items failed, 2 when the call was wrong."""
    arguments = _parser().parse_args(_joined(sys.argv[1:] if argv is None else argv))
    try:
        return arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"hh-eval: {error}", file=sys.stderr)
        return 2


def _joined(argv: Sequence[str]) -> list[str]:
    """The call with `--metrics -name` as `--metrics=-name`, which argparse would not take."""
    joined: list[str] = []
    for word in argv:
        drops = word.startswith("-") and not word.startswith("--") and len(word) > 2
        if drops and joined and joined[-1] == "--metrics":
            joined[-1] = f"--metrics={word}"
        else:
            joined.append(word)
    return joined


def _parser() -> argparse.ArgumentParser:
    """Commands and options."""
    parser = argparse.ArgumentParser(
        "hh-eval",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser

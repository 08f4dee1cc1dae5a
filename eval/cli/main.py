"""The console script `hh-eval`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from codec.command_line import Command, run_command_line

from . import adapt, bench, codec, compare, doctor, listen, report, slm, tts

# In the order of the help.
COMMANDS: Sequence[Command] = (doctor, bench, codec, tts, slm, compare, adapt, listen, report)

EXAMPLES = """examples:
  hh-eval doctor
  hh-eval codec recordings/ decoded/
  hh-eval codec recordings/ decoded/ --out scores/mini --workers 2 --json
  hh-eval tts meta.lst spoken/ --out scores/tts
  hh-eval slm pairs/pairs.jsonl --scores pairs/scores.jsonl
  hh-eval compare scores/mini scores/opus_6
  hh-eval adapt runs/adapt
  hh-eval listen ours=decoded/ opus=opus_6/ --reference recordings/ --out listening
  hh-eval report scores/mini
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 when all went well, 1 when items failed, 2 when the call was wrong."""
    words: list[str] = []
    for word in sys.argv[1:] if argv is None else argv:
        # argparse takes `--metrics -pitch` for two options, so it gets `--metrics=-pitch`.
        is_drop = word.startswith("-") and not word.startswith("--") and len(word) > 2
        if is_drop and words and words[-1] == "--metrics":
            words[-1] = f"--metrics={word}"
        else:
            words.append(word)
    return run_command_line(
        "hh-eval",
        COMMANDS,
        words,
        description="Score codecs, generated speech and language models; compare and report.",
        examples=EXAMPLES,
    )

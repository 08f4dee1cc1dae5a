"""Command line of the speech language model, `hh-slm`."""

from __future__ import annotations

from collections.abc import Sequence

from codec.command_line import Command, run_command_line

from . import bench, compress, normalize, serve, speech, tokens, transcribe, tts

COMMANDS: Sequence[Command] = (tts, speech, transcribe, normalize, compress, tokens, serve, bench)
EXAMPLES = """examples:
  hh-slm tts "Good morning." -o morning.wav
  hh-slm tts "Good morning." --prompt me.wav -o me.flac
  hh-slm tts "Good morning." --voice kathleen --best-of 4 -o best.wav
  hh-slm tts "Good morning." --codec models/codec --lm models/slm -o morning.wav
  hh-slm tts --file texts.txt -o spoken --resume
  hh-slm tts --file seedtts_testset/en/meta.lst -o spoken --resume
  hh-slm tts "Good morning." --stream -o - | aplay -t raw -f S16_LE -r 24000
  hh-slm continue start.wav --seconds 4 -o longer.wav
  hh-slm score take1.wav take2.wav
  hh-slm transcribe take1.wav recordings/ --lm MODEL
  hh-slm compress codes/ small/
  hh-slm export-tokens tokens/train train.parquet
  hh-slm normalize "Dr. Smith paid $5.20 at 3:45 p.m."
  hh-slm serve --port 8000
  hh-slm bench generate --size 43M --memory --markdown
  hh-slm bench train --size 10M
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit status: 0 when all was done, 1 when some of it could not be (the report says what),
        2 when the call was wrong.
    """
    return run_command_line(
        "hh-slm",
        COMMANDS,
        argv,
        description="Speak a text, continue or transcribe a recording, compute how likely "
        "recordings are, show how a text is spoken, compress codes, hand a corpus of them on, or "
        "serve speech over HTTP.",
        examples=EXAMPLES,
    )

"""Command line of the speech language model: `hh-slm tts | continue | score | bench`."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from slm.generation.config import ENGINES, GenerationSettings

from .options import SEEDS, Incomplete, seconds, whole_number

# What speaks where nothing else is asked for; both come with the packages.
DEFAULT_CODEC, DEFAULT_LM = "hh-mini-24k", "hh-mini-slm"
_EXAMPLES = """examples:
  hh-slm tts "Good morning." -o morning.wav
  hh-slm tts "Good morning." --prompt me.wav -o me.flac
  hh-slm tts "Good morning." --voice kathleen --best-of 4 -o best.wav
  hh-slm tts "Good morning." --codec models/codec --lm models/slm -o morning.wav
  hh-slm tts --file texts.txt -o spoken --resume
  hh-slm tts "Good morning." --stream -o - | aplay -t raw -f S16_LE -r 24000
  hh-slm continue start.wav --seconds 4 -o longer.wav
  hh-slm score take1.wav take2.wav
  hh-slm bench generate --size 43M --memory --markdown
  hh-slm bench train --size 10M
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit status: 0, 1 where some of what was asked for could not be done (the report says
        what), 2 where nothing was; errors go to stderr.
    """
    arguments, status = _parser().parse_args(argv), 0
    try:
        report = _run(arguments)
    except Incomplete as incomplete:
        report, status = incomplete.report, 1
    except (ValueError, OSError) as error:
        print(f"hh-slm {arguments.command}: {error}", file=sys.stderr)
        return 2
    # where speech goes to stdout, the report must not
    to = sys.stderr if getattr(arguments, "out", "") == "-" else sys.stdout
    with redirect_stdout(to):
        if getattr(arguments, "markdown", False):
            print(_markdown(arguments.what, report))
        elif arguments.json:
            print(json.dumps(report, ensure_ascii=False))
        else:
            _print_table(report)
    return status


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    from . import speech as commands  # loads torch, which --help can do without

    return getattr(commands, f"run_{arguments.command}")(arguments)


def _markdown(what: str, report: dict[str, Any]) -> str:
    from slm.bench import generation as bench_generation
    from slm.bench import training as bench_training

    return (bench_generation if what == "generate" else bench_training).table(report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hh-slm",
        description="Speak a text, continue a recording, or say how likely recordings are.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)

    tts = commands.add_parser("tts", help="speak a text")
    tts.add_argument("text", nargs="?", help="what to say")
    tts.add_argument("--file", help="texts: one a line, or .jsonl with id, text, prompt, voice ...")
    tts.add_argument("--prompt", help="recording whose voice to take")
    tts.add_argument("--prompt-text", help="its transcript: speak on from it, as one utterance")
    tts.add_argument("--voice", help="named voice of the language model (its default, if any)")
    _add_choice(tts)
    _add_attempts(tts)
    _add_models(tts)
    _add_generation(tts)

    going_on = commands.add_parser("continue", help="continue a recording")
    going_on.add_argument("audio", help="recording to continue")
    going_on.add_argument("--seconds", type=seconds, default=3.0, help="longest continuation, s")
    going_on.add_argument("--text", help="transcript of the recording and of what is to follow")
    _add_attempts(going_on)
    _add_models(going_on)
    _add_generation(going_on)

    score = commands.add_parser("score", help="log-likelihood of recordings, nats a code")
    score.add_argument("audio", nargs="+", help="recordings")
    score.add_argument("--text", help="transcript, the same for all")
    score.add_argument("--prompt", help="another recording of the speaker")
    _add_models(score)

    _add_bench(commands.add_parser("bench", help="speed beside the stock decoder, same weights"))
    return parser


def _add_bench(bench: argparse.ArgumentParser) -> None:
    bench.add_argument("what", choices=["generate", "train"])
    bench.add_argument("--size", default="10M", help="1M, 10M, 43M, 125M or 350M parameters")
    bench.add_argument(
        "--new-tokens", type=whole_number(1), default=128, help="generated a row and round"
    )
    bench.add_argument(
        "--rounds", type=whole_number(1), default=3, help="of which the fastest counts"
    )
    bench.add_argument("--batch-size", type=whole_number(1), default=16, help="of the larger batch")
    bench.add_argument("--threads", type=whole_number(0), default=0, help="0 leaves it to torch")
    bench.add_argument("--only", action="append", help="generate: a contestant; again for more")
    bench.add_argument("--device", default="cpu", help="cpu or cuda")
    bench.add_argument("--rows", type=whole_number(1), default=2, help="train: of a step")
    bench.add_argument("--row-tokens", type=whole_number(1), default=1024, help="train: of a row")
    bench.add_argument("--bf16", action="store_true", help="train: autocast to bfloat16")
    bench.add_argument("--compile", action="store_true", help="train: compile all contestants")
    bench.add_argument(
        "--memory", action="store_true", help="also peak memory, a process for each contestant"
    )
    form = bench.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument("--markdown", action="store_true", help="print Markdown tables")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--best-of", type=whole_number(1), default=1, help="candidates, the best is kept"
    )
    parser.add_argument(
        "--verifier",
        action="append",
        help="likelihood (default), an installed one or FILE.py:CALLABLE; again for a tie-breaker",
    )
    parser.add_argument(
        "--rows", type=whole_number(1), help="texts or candidates spoken at a time, at most (16)"
    )
    parser.add_argument(
        "--stream", action="store_true", help="with -o -: raw 16-bit samples to stdout as they come"
    )
    parser.add_argument("--long", action="store_true", help="sentence by sentence, in one voice")
    parser.add_argument("--normalize", action="store_true", help="write numbers out (English)")
    parser.add_argument("--resume", action="store_true", help="leave files alone that are there")
    parser.add_argument("--format", choices=["wav", "flac"], default="wav", help="with --file")


def _add_attempts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--attempts", type=whole_number(1), default=3, help="tries where speech runs away"
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    kinds = "model folder, bundled name or hub repository"
    parser.add_argument("--codec", default=DEFAULT_CODEC, help=f"{kinds} ({DEFAULT_CODEC})")
    parser.add_argument("--lm", default=DEFAULT_LM, help=f"{kinds} ({DEFAULT_LM})")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_generation(parser: argparse.ArgumentParser) -> None:
    default = GenerationSettings()
    parser.add_argument(
        "-o", "--out", required=True, help=".wav or .flac to write; a folder with --file"
    )
    parser.add_argument(
        "--seed", type=whole_number(0, SEEDS), default=0, help="the same seed speaks the same"
    )
    parser.add_argument("--temperature", type=float, help="default: as suits the model")
    parser.add_argument("--top-k", type=int, default=default.top_k, help="0 keeps all")
    parser.add_argument("--top-p", type=float, help="1 keeps all; default: as suits it")
    parser.add_argument("--min-p", type=float, default=default.min_p, help="0 keeps all")
    parser.add_argument(
        "--repetition-window", type=int, default=0, help="codes looked back over; 0 is off"
    )
    parser.add_argument("--guidance", type=float, default=1.0, help="on the text; 1 is none")
    parser.add_argument("--weights", default="exact", help="exact, bf16 or int8")
    parser.add_argument("--engine", default="auto", help=f"of the steps: {', '.join(ENGINES)}")


def _print_table(report: dict[str, Any], indent: str = "") -> None:
    width = max(map(len, report), default=0)
    for name, value in report.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            _print_table(value, indent + "  ")
        else:
            text = f"{value:.4f}" if isinstance(value, float) else str(value)
            print(f"{indent}{name:<{width}}  {text}")

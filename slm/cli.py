"""Command line of the speech language model: `hh-slm tts | continue | score`."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from .config import GenerationSettings
from .synthesis import Synthesis, Synthesizer

_EXAMPLES = """examples:
  hh-slm tts "Good morning." --codec models/codec --lm models/slm --out morning.wav
  hh-slm tts "Good morning." --codec models/codec --lm models/slm --prompt me.wav --out me.flac
  hh-slm tts "Good morning." --codec models/codec --lm models/slm --voice kathleen --out k.wav
  hh-slm continue start.wav --seconds 4 --codec models/codec --lm models/slm --out longer.wav
  hh-slm score take1.wav take2.wav --text "Good morning." --codec models/codec --lm models/slm
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; errors go to stderr and give exit status 2."""
    arguments = _parser().parse_args(argv)
    try:
        report = arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"hh-slm {arguments.command}: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        _print_table(report)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hh-slm",
        description="Speak a text, continue a recording, or say how likely recordings are.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)

    tts = commands.add_parser("tts", help="speak a text")
    tts.set_defaults(run=_tts)
    tts.add_argument("text", help="what to say")
    tts.add_argument("--prompt", help="recording whose voice to take")
    tts.add_argument("--prompt-text", help="its transcript: speak on from it, as one utterance")
    tts.add_argument("--voice", help="named voice stored with the language model")
    _add_models(tts)
    _add_generation(tts)

    going_on = commands.add_parser("continue", help="continue a recording")
    going_on.set_defaults(run=_continue)
    going_on.add_argument("audio", help="recording to continue")
    going_on.add_argument("--seconds", type=float, default=3.0, help="longest continuation, s")
    going_on.add_argument("--text", help="transcript of the recording and of what is to follow")
    _add_models(going_on)
    _add_generation(going_on)

    score = commands.add_parser("score", help="log-likelihood of recordings, nats a code")
    score.set_defaults(run=_score)
    score.add_argument("audio", nargs="+", help="recordings")
    score.add_argument("--text", help="transcript, the same for all")
    score.add_argument("--prompt", help="another recording of the speaker")
    _add_models(score)
    return parser


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--codec", required=True, help="codec folder")
    parser.add_argument("--lm", required=True, help="language model folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _add_generation(parser: argparse.ArgumentParser) -> None:
    default = GenerationSettings()
    parser.add_argument("--out", required=True, help="file to write, .wav or .flac")
    parser.add_argument("--seed", type=int, default=0, help="the same seed speaks the same")
    parser.add_argument("--temperature", type=float, default=default.temperature)
    parser.add_argument("--top-k", type=int, default=default.top_k, help="0 keeps all")
    parser.add_argument("--top-p", type=float, default=default.top_p, help="1 keeps all")


def _settings(arguments: argparse.Namespace) -> GenerationSettings:
    return GenerationSettings(
        temperature=arguments.temperature, top_k=arguments.top_k, top_p=arguments.top_p
    )


def _tts(arguments: argparse.Namespace) -> dict[str, Any]:
    settings = _settings(arguments)
    synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
    unknown = synthesizer.tokenizer.unknown_characters(arguments.text)
    if unknown:
        print(f"hh-slm tts: the text model never saw {unknown!r}", file=sys.stderr)
    result = synthesizer.tts(
        arguments.text,
        prompt=None if arguments.prompt is None else synthesizer.read(arguments.prompt),
        prompt_text=arguments.prompt_text,
        voice=arguments.voice,
        seed=arguments.seed,
        settings=settings,
    )
    return _written(result, arguments.out)


def _continue(arguments: argparse.Namespace) -> dict[str, Any]:
    settings = _settings(arguments)
    synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
    result = synthesizer.continue_speech(
        synthesizer.read(arguments.audio),
        arguments.seconds,
        text=arguments.text,
        seed=arguments.seed,
        settings=settings,
    )
    return _written(result, arguments.out)


def _score(arguments: argparse.Namespace) -> dict[str, Any]:
    synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
    prompt = None if arguments.prompt is None else synthesizer.read(arguments.prompt)
    report = {}
    for path in arguments.audio:
        score = synthesizer.score(synthesizer.read(path), text=arguments.text, prompt=prompt)
        report[path] = {
            "log_likelihood": score.log_likelihood,
            "log_likelihood_per_code": score.log_likelihood_per_code,
            "num_codes": score.num_codes,
        }
    return report


def _written(result: Synthesis, path: str) -> dict[str, Any]:
    result.save(path)
    return {
        "out": path,
        "duration": result.duration,
        "num_codes": len(result.codes),
        "num_given_codes": result.num_given_codes,
        "truncated": result.truncated,
        "log_likelihood": result.log_likelihood,
        "seed": result.seed,
    }


def _print_table(report: dict[str, Any], indent: str = "") -> None:
    width = max(map(len, report))
    for name, value in report.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            _print_table(value, indent + "  ")
        else:
            text = f"{value:.4f}" if isinstance(value, float) else str(value)
            print(f"{indent}{name:<{width}}  {text}")

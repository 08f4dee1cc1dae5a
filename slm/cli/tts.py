"""`hh-slm tts`: one text to a file or a stream, or a file of texts to a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import closing, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.command_line import (
    DONE,
    FAILED,
    Commands,
    add_command,
    number,
    print_report,
    without_collection,
)
from codec.error_text import message_of
from codec.files.derived import LOG_NAME, Origins
from codec.files.json_lines import appending
from codec.files.names import item_path

from .options import (
    add_generation,
    add_models,
    check_folder,
    check_not_read,
    check_sound,
    described,
    sampling,
    whole_number,
)
from .synthesis import ConfiguredSynthesizer

if TYPE_CHECKING:
    from slm.synthesis.requests import SpeechRequest
    from slm.synthesis.result import Synthesis

REPORT_NAME = "report.jsonl"
EXAMPLES = """examples:
  hh-slm tts "Good morning." -o morning.wav
  hh-slm tts "Good morning." --stream -o - | aplay -t raw -f S16_LE -r 24000
  hh-slm tts - --long -o story.wav < story.txt
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "tts", run, summary="speak a text", examples=EXAMPLES)
    add = command.add_argument
    add("text", nargs="?", help="the text; - reads it from stdin")
    add("--file", help="texts: one a line, .jsonl (id, text, prompt, voice ...) or meta.lst")
    add("--prompt", help="recording of the voice")
    add("--prompt-text", help="its transcript: speak on from it, as one utterance")
    add("--voice", help="named voice of the language model (its default, if any)")
    add("--best-of", type=whole_number(1), default=1, help="candidates, the best is kept")
    add(
        "--verifier",
        action="append",
        help="likelihood (default), an installed one or FILE.py:CALLABLE; again for a tie-breaker",
    )
    add("--rows", type=whole_number(1), help="texts or candidates at a time, at most (16)")
    add("--stream", action="store_true", help="with -o -: raw 16-bit samples as they come")
    add("--long", action="store_true", help="sentence by sentence, in one voice")
    add("--language", default="en", help="of the texts, as manifests spell it (en)")
    add("--speed", type=number(0.25, most=4), default=1.0, help="times as fast as the model speaks")
    add("--normalize", action="store_true", help="for text models of before: write numbers out")
    add("--resume", action="store_true", help="leave alone what is there of the same call")
    add("--format", choices=["wav", "flac"], help="with --file (wav)")
    add_models(command)
    add_generation(command, out=".wav or .flac to write; a folder with --file")


def run(arguments: argparse.Namespace) -> int:
    """Write one text to --out, or a file of texts to the folder --out.

    Raises:
        ValueError: The call is wrong; found before any speech is generated, but for the rows of a
            file.
    """
    # Importing and loading make no garbage worth a search.
    with without_collection():
        synthesizer, requests = _loaded(arguments)
    synthesizer.warn_of_transcripts(requests.values())
    alone = arguments.file is None
    if arguments.stream:
        report = synthesizer.stream(*requests.values())
        with redirect_stdout(sys.stderr):  # stdout holds the samples
            print_report(report, as_json=arguments.json)
        return DONE
    if not alone:
        return _speak_file(synthesizer, requests, arguments)
    # One text to one file.
    (request,), out = requests.values(), Path(arguments.out)
    # Without --resume no file is left beside the speech.
    origins = Origins(out.parent / LOG_NAME) if arguments.resume else None
    if origins is not None and _is_kept(origins, out, digest := synthesizer.digest(request)):
        origins.begin({out: digest}, ())
        print_report({"out": arguments.out, "already_there": 1}, as_json=arguments.json)
        return DONE
    result, ranking = synthesizer.synthesize_batch([request])[0]
    result.save(arguments.out)
    if origins is not None:
        origins.note(out, synthesizer.digest(request))
    print_report(described(result, arguments.out, ranking), as_json=arguments.json)
    return DONE


def _loaded(
    arguments: argparse.Namespace,
) -> tuple[ConfiguredSynthesizer, dict[str, SpeechRequest]]:
    """The models of a call, and its requests, those without a voice with the model's default."""
    # Check all that needs no model before one is loaded.
    requests = _requests(arguments)
    _check(arguments, requests)
    sampling(arguments)
    from slm.generation.best_of import load_verifier
    from slm.model.speech_lm import pretrained_folder
    from slm.synthesis.voices import default_voice

    verifiers = dict(map(load_verifier, arguments.verifier or ["likelihood"]))
    synthesizer = ConfiguredSynthesizer(arguments, verifiers)
    voice = default_voice(pretrained_folder(arguments.lm))
    return synthesizer, {
        name: replace(request, voice=voice)
        if request.prompt is None and request.voice is None
        else request
        for name, request in requests.items()
    }


def _is_kept(origins: Origins, path: Path, digest: str) -> bool:
    """True if speech is there that need not be made again; of unknown origin with a remark."""
    if not path.exists() or not origins.is_new:
        return origins.is_current(path, digest)
    print(f"{path}: left alone, of an earlier call with unknown settings", file=sys.stderr)
    return True


def _requests(arguments: argparse.Namespace) -> dict[str, SpeechRequest]:
    """The texts of the call or of the file by id, numbers written out where asked for."""
    from slm.synthesis.requests import SpeechRequest
    from slm.text.languages import language_code
    from slm.text.normalization import normalize_text

    from .batch_file import piped_text, read_requests

    # Exactly one of the two.
    if (arguments.text is None) == (arguments.file is None):
        got = "neither" if arguments.text is None else "both"
        raise ValueError(f"expected a text (- reads it from standard input) or --file, got {got}")
    language_code(arguments.language)
    text = piped_text() if arguments.text == "-" else arguments.text or ""
    default = SpeechRequest(
        text,
        arguments.prompt,
        arguments.prompt_text,
        arguments.voice,
        arguments.seed,
        arguments.language,
        arguments.speed,
    )
    requests = {"": default}
    if arguments.file is not None:
        requests = read_requests(arguments.file, default)
    if arguments.normalize:
        requests = {
            name: replace(request, text=normalize_text(request.text, request.language))
            for name, request in requests.items()
        }
    return requests


def _check(arguments: argparse.Namespace, requests: Mapping[str, SpeechRequest]) -> None:
    """Raise `ValueError` for options that exclude one another."""
    if arguments.stream:
        if arguments.out != "-" or arguments.file or arguments.long or arguments.best_of > 1:
            raise ValueError("expected --stream with -o - and one text, got more or another --out")
        if arguments.format or arguments.resume:
            raise ValueError("expected --stream without --format and --resume, got one of them")
        if sys.stdout is None:
            raise OSError("expected an open standard output, got a closed one")
    else:
        (check_sound if arguments.file is None else check_folder)(arguments.out)
        prompts = [None if each.prompt is None else str(each.prompt) for each in requests.values()]
        named = arguments.file is None and arguments.format
        if named and Path(arguments.out).suffix.lower() != _suffix(arguments):
            raise ValueError(
                f"expected --out to end in {_suffix(arguments)}, as --format asks for, got "
                f"{arguments.out!r}"
            )
        check_not_read(_outputs(arguments, requests), [arguments.file, *prompts])
    _check_words(requests)
    if arguments.long and arguments.best_of > 1:
        raise ValueError("expected --long or --best-of, got both")
    if arguments.long and any(request.prompt_text for request in requests.values()):
        raise ValueError("expected --long without a transcript of the prompt, got one")


def _check_words(requests: Mapping[str, SpeechRequest]) -> None:
    """Raise `ValueError` where no text has a word, so that nothing could be spoken."""
    from slm.text.normalization import normalize_text

    # Of a list those that have none are named as they come, and the others spoken.
    spoken = (normalize_text(each.text, each.language) for each in requests.values())
    if not any(character.isalnum() for text in spoken for character in text):
        text = next(iter(requests.values())).text
        raise ValueError(f"expected text with at least one word, got {text!r:.80}")


def _outputs(arguments: argparse.Namespace, requests: Mapping[str, SpeechRequest]) -> list[Path]:
    """Files that the call writes."""
    if arguments.file is None:
        return [Path(arguments.out)]
    named = [item_path(arguments.out, name, _suffix(arguments)) for name in requests]
    return [Path(arguments.out) / REPORT_NAME, *named]


def _suffix(arguments: argparse.Namespace) -> str:
    """Of the files of a folder."""
    return f".{arguments.format or 'wav'}"


def _saved(result: Synthesis, path: Path) -> str:
    """Save a result; returns '' or the reason why it could not be, so that the rest goes on."""
    try:
        result.save(path)
    except (ValueError, OSError) as error:
        return message_of(error)
    return ""


def _speak_file(
    synthesizer: ConfiguredSynthesizer,
    requests: Mapping[str, SpeechRequest],
    arguments: argparse.Namespace,
) -> int:
    """Every request to a file of its own; `report.jsonl` beside them grows by a line a request."""
    from tqdm import tqdm

    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    targets = {name: item_path(folder, name, _suffix(arguments)) for name in requests}
    origins = Origins(folder / LOG_NAME)
    digests = {name: synthesizer.digest(request) for name, request in requests.items()}
    # What an earlier call made by the same settings is kept, with --resume.
    waiting = {
        name: request
        for name, request in requests.items()
        if not (arguments.resume and _is_kept(origins, targets[name], digests[name]))
    }
    kept = {targets[name]: digests[name] for name in requests if name not in waiting}
    origins.begin(kept, (targets[name] for name in waiting))
    items: dict[str, Any] = {}
    failed: dict[str, str] = {}
    # A resumed run goes on at the end of its report.
    if not arguments.resume:
        (folder / REPORT_NAME).unlink(missing_ok=True)
    with (
        appending(folder / REPORT_NAME) as append,
        closing(tqdm(total=len(waiting), unit="text", disable=None, file=sys.stderr)) as bar,
    ):
        for name, spoken in synthesizer.synthesize_each(waiting):
            # A text that could not be spoken, or speech that could not be written.
            problem = spoken if isinstance(spoken, str) else _saved(spoken[0], targets[name])
            if isinstance(spoken, str) or problem:
                failed[name], line = problem, {"error": problem}
                print(f"failed: {name}: {problem}", file=sys.stderr)
            else:
                line = items[name] = described(spoken[0], str(targets[name]), spoken[1])
                origins.note(targets[name], digests[name])
            append({"id": name, **line})
            bar.update()
    report = {
        "spoken": len(items),
        "already_there": len(requests) - len(waiting),
        "runaway": sum(item["truncated"] for item in items.values()),
        "rejected_attempts": sum(len(item["rejected"]) for item in items.values()),
        "items": items,
        "failed": failed,
    }
    print_report(report, as_json=arguments.json)
    return FAILED if failed else DONE

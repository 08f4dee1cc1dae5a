"""`hh-slm tts`: one text to a file or a stream, or a file of texts to a folder."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.command_line import (
    DONE,
    FAILED,
    Commands,
    add_command,
    print_report,
    without_collection,
)
from codec.derived import LOG_NAME, Origins, digest_of, file_state
from codec.file_names import item_path
from codec.json_lines import appending

from .options import (
    add_generation,
    add_models,
    check_folder,
    check_sound,
    described,
    load_synthesizer,
    sampling,
    whole_number,
)

if TYPE_CHECKING:
    from slm.generation.best_of import Ranking, Verifier
    from slm.synthesis.requests import SpeechRequest
    from slm.synthesis.result import Synthesis

REPORT_NAME = "report.jsonl"


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "tts", run, summary="speak a text")
    add = command.add_argument
    add("text", nargs="?", help="the text")
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
    add("--normalize", action="store_true", help="for text models of before: write numbers out")
    add("--resume", action="store_true", help="leave alone what is there of the same call")
    add("--format", choices=["wav", "flac"], default="wav", help="with --file")
    add_models(command)
    add_generation(command, out=".wav or .flac to write; a folder with --file")


def run(arguments: argparse.Namespace) -> int:
    """Write one text to --out, or a file of texts to the folder --out.

    Raises:
        ValueError: The call is wrong; found before any speech is generated, but for the rows of a
            file.
    """
    with without_collection():
        speaker, requests = _loaded(arguments)
    speaker.warn_of_transcripts(requests.values())
    alone = arguments.file is None
    if arguments.stream:
        report = speaker.stream(*requests.values())
        with redirect_stdout(sys.stderr):  # stdout holds the samples
            print_report(report, as_json=arguments.json)
        return DONE
    if not alone:
        return _speak_file(speaker, requests, arguments)
    (request,), out = requests.values(), Path(arguments.out)
    # Without --resume no file is left beside the speech.
    kept = _Kept(out.parent) if arguments.resume else None
    if kept is not None and kept.is_current(out, speaker.digest(request)):
        print_report({"out": arguments.out, "already_there": 1}, as_json=arguments.json)
        return DONE
    result, ranking = speaker.together([request])[0]
    result.save(arguments.out)
    if kept is not None:
        kept.origins.note(out, speaker.digest(request))
    print_report(described(result, arguments.out, ranking), as_json=arguments.json)
    return DONE


def _loaded(arguments: argparse.Namespace) -> tuple[_Speaker, dict[str, SpeechRequest]]:
    """The models of a call, and its requests, those without a voice with the model's default."""
    # Check all that needs no model before one is loaded.
    requests = _requests(arguments)
    _check(arguments, requests)
    sampling(arguments)
    from slm.generation.best_of import load_verifier
    from slm.model.speech_lm import pretrained_folder
    from slm.synthesis.voices import default_voice

    verifiers = dict(map(load_verifier, arguments.verifier or ["likelihood"]))
    speaker = _Speaker(arguments, verifiers)
    voice = default_voice(pretrained_folder(arguments.lm))
    return speaker, {
        name: replace(request, voice=voice)
        if request.prompt is None and request.voice is None
        else request
        for name, request in requests.items()
    }


class _Kept:
    """Speech of earlier calls in a folder, and what it was made from."""

    def __init__(self, folder: Path) -> None:
        self.origins = Origins(folder / LOG_NAME)

    def is_current(self, path: Path, digest: str) -> bool:
        """True if speech is there that need not be made again; of unknown origin with a note."""
        if not path.exists() or not self.origins.is_new:
            return self.origins.is_current(path, digest)
        print(f"{path}: left alone, of an earlier call with unknown settings", file=sys.stderr)
        # From here on a change shows.
        self.origins.note(path, digest)
        return True


def _requests(arguments: argparse.Namespace) -> dict[str, SpeechRequest]:
    """The texts of the call or of the file by id, numbers written out where asked for."""
    from slm.synthesis.requests import SpeechRequest
    from slm.text.normalization import normalize_text

    from .batch_file import read_requests

    if (arguments.text is None) == (arguments.file is None):
        raise ValueError("expected a text or --file, got both or neither")
    default = SpeechRequest(
        arguments.text or "",
        arguments.prompt,
        arguments.prompt_text,
        arguments.voice,
        arguments.seed,
        arguments.language,
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
    else:
        (check_sound if arguments.file is None else check_folder)(arguments.out)
    if arguments.long and arguments.best_of > 1:
        raise ValueError("expected --long or --best-of, got both")
    if arguments.long and any(request.prompt_text for request in requests.values()):
        raise ValueError("expected --long without a transcript of the prompt, got one")


class _Speaker:
    """A synthesizer with the options of the call."""

    def __init__(self, arguments: argparse.Namespace, verifiers: Mapping[str, Verifier]) -> None:
        from slm.model.speech_lm import pretrained_folder
        from slm.synthesis.synthesizer import MAX_ROWS

        self.synthesizer = load_synthesizer(arguments)
        self.settings = sampling(arguments, self.synthesizer.lm.config)
        self.is_long, self.best_of = arguments.long, arguments.best_of
        self.verifiers, self.max_rows = verifiers, arguments.rows or MAX_ROWS
        # What decides the speech beside the request.
        scripts = [each.rsplit(":", 1)[0] for each in arguments.verifier or ()]
        self._origin = [
            self.synthesizer.codec.fingerprint,
            [file_state(path)[1:] for path in sorted(pretrained_folder(arguments.lm).iterdir())],
            asdict(self.settings),
            [arguments.attempts, self.is_long, self.best_of, arguments.verifier],
            [file_state(path) for path in scripts if path.endswith(".py")],
        ]
        self.options: dict[str, Any] = {
            "settings": self.settings,
            "max_attempts": arguments.attempts,
            "max_rows": self.max_rows,
        }

    def digest(self, request: SpeechRequest) -> str:
        """Digest of all that decides the speech of a request, its recording of a voice too."""
        prompt = None if request.prompt is None else file_state(str(request.prompt))[1:]
        return digest_of(vars(request), prompt, self._origin)

    def each(
        self, requests: Mapping[str, SpeechRequest]
    ) -> Iterator[tuple[str, tuple[Synthesis, Ranking | None] | str]]:
        """Results by id, or why there is none, a few requests at a time."""
        # Sentences and candidates of one request are a batch already.
        count = 1 if self.is_long or self.best_of > 1 else self.max_rows
        names = list(requests)
        for first in range(0, len(names), count):
            group = names[first : first + count]
            try:
                made = self.together([requests[name] for name in group])
                yield from zip(group, made, strict=True)
            except (ValueError, OSError) as error:
                if len(group) == 1:
                    yield group[0], str(error)
                    continue
                # One of them fails: speak each alone.
                for name in group:
                    yield from self.each({name: requests[name]})

    def together(self, requests: Sequence[SpeechRequest]) -> list[tuple[Synthesis, Ranking | None]]:
        """Requests in one batch; several candidates or sentences are a batch of one request."""
        from tqdm import tqdm

        from slm.synthesis.long_text import join, speak_best, speak_long

        for request in requests:
            self._warn_of_unknown(request)
        request, options = requests[0], self.options
        voice = {"prompt": request.prompt, "voice": request.voice, "seed": request.seed}
        voice["language"] = request.language
        if self.is_long:
            options = {**options, **voice}
            with closing(tqdm(unit="sentence", disable=None, file=sys.stderr)) as bar:

                def show(done: int, total: int) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                parts = speak_long(self.synthesizer, request.text, on_progress=show, **options)
            return [(join(parts, seed=request.seed), None)]
        if self.best_of > 1:
            best = speak_best(
                self.synthesizer,
                request.text,
                self.best_of,
                self.verifiers,
                prompt_text=request.prompt_text,
                **voice,
                **options,
            )
            return [(best.best, best.ranking)]
        return [(each, None) for each in self.synthesizer.synthesize(requests, **options)]

    def stream(self, request: SpeechRequest) -> dict[str, Any]:
        """Write 16-bit little-endian samples, mono, to stdout while they are generated."""
        import numpy as np

        self._warn_of_unknown(request)
        rate, count, begun, first = self.synthesizer.codec.sample_rate, 0, time.perf_counter(), 0.0
        for chunk in self.synthesizer.stream(settings=self.settings, **vars(request)):
            first = first if count else time.perf_counter() - begun
            # Not scaled by 32768, which 1.0 would overflow.
            samples = np.round(np.clip(chunk, -1.0, 1.0) * 32767).astype("<i2")
            sys.stdout.buffer.write(samples.tobytes())
            sys.stdout.buffer.flush()
            count += len(chunk)
        return {
            "out": "-",
            "sample_rate": rate,
            "duration": count / rate,
            "first_sound_after": first,
            "spoken_in": time.perf_counter() - begun,
        }

    def warn_of_transcripts(self, requests: Iterable[SpeechRequest]) -> None:
        """Name on stderr, once a call, the transcripts of prompts that the model does not read."""
        given = [request.prompt_text for request in requests if request.prompt_text]
        if given and self.synthesizer.lm.config.is_aligned:
            print(
                "warning: this model of aligned speech takes the voice of a prompt alone; nothing "
                f"is done with the transcript {given[0][:40]!r}"
                + (f" and {len(given) - 1} more" if given[1:] else ""),
                file=sys.stderr,
            )

    def _warn_of_unknown(self, request: SpeechRequest) -> None:
        """Name on stderr what of a text is left out or was never in the training texts."""
        from slm.text.characters import unspoken

        tokenizer = self.synthesizer.tokenizer
        unknown = tokenizer.unknown_characters(tokenizer.spoken(request.text, request.language))
        if unknown:
            print(f"warning: the text model was trained without {unknown!r}", file=sys.stderr)
        if left_out := unspoken(request.text):
            print(f"warning: nothing is said for {left_out!r}", file=sys.stderr)


def _saved(result: Synthesis, path: Path) -> str:
    """Save a result; returns '' or the reason why it could not be, so that the rest goes on."""
    try:
        result.save(path)
    except (ValueError, OSError) as error:
        return str(error) or type(error).__name__
    return ""


def _speak_file(
    speaker: _Speaker, requests: Mapping[str, SpeechRequest], arguments: argparse.Namespace
) -> int:
    """Every request to a file of its own; `report.jsonl` beside them grows by a line a request."""
    from tqdm import tqdm

    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    targets = {name: item_path(folder, name, f".{arguments.format}") for name in requests}
    kept = _Kept(folder)
    digests = {name: speaker.digest(request) for name, request in requests.items()}
    waiting = {
        name: request
        for name, request in requests.items()
        if not (arguments.resume and kept.is_current(targets[name], digests[name]))
    }
    kept.origins.begin()
    kept.origins.forget(targets[name] for name in waiting)
    items: dict[str, Any] = {}
    failed: dict[str, str] = {}
    # A resumed run goes on at the end of its report.
    if not arguments.resume:
        (folder / REPORT_NAME).unlink(missing_ok=True)
    with (
        appending(folder / REPORT_NAME) as append,
        closing(tqdm(total=len(waiting), unit="text", disable=None, file=sys.stderr)) as bar,
    ):
        for name, spoken in speaker.each(waiting):
            problem = spoken if isinstance(spoken, str) else _saved(spoken[0], targets[name])
            if isinstance(spoken, str) or problem:
                failed[name], line = problem, {"error": problem}
                print(f"failed: {name}: {problem}", file=sys.stderr)
            else:
                line = items[name] = described(spoken[0], str(targets[name]), spoken[1])
                kept.origins.note(targets[name], digests[name])
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

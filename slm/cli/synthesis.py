"""A synthesizer with the options of a call of `hh-slm tts`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from codec.error_text import message_of
from codec.files.derived import digest_of, file_state

from .options import load_synthesizer, sampling

if TYPE_CHECKING:
    from slm.generation.best_of import Ranking, Verifier
    from slm.synthesis.requests import SpeechRequest
    from slm.synthesis.result import Synthesis


class ConfiguredSynthesizer:
    """A synthesizer with the options of a call.

    Args:
        arguments: Of the command line.
        verifiers: Of `speak_best`, by name.

    Raises:
        ValueError: A model is missing, or a setting is out of range.
    """

    def __init__(self, arguments: argparse.Namespace, verifiers: Mapping[str, Verifier]) -> None:
        from slm.model.speech_lm import pretrained_folder
        from slm.synthesis.synthesizer import MAX_ROWS

        self.synthesizer = load_synthesizer(arguments)
        self.settings = sampling(arguments, self.synthesizer.lm.config)
        self.is_long, self.best_of = arguments.long, arguments.best_of
        self.verifiers, self.max_rows = verifiers, arguments.rows or MAX_ROWS
        # What decides the speech beside the request and the codec.
        scripts = [each.rsplit(":", 1)[0] for each in arguments.verifier or ()]
        self._origin = [
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
        # The fingerprint reads all weights, which speech that is not resumed has no need of.
        origin = [self.synthesizer.codec.fingerprint, *self._origin]
        return digest_of(vars(request), prompt, origin)

    def synthesize_each(
        self, requests: Mapping[str, SpeechRequest]
    ) -> Iterator[tuple[str, tuple[Synthesis, Ranking | None] | str]]:
        """Speak requests, a few at a time.

        Yields:
            Id, and the result with the ranking of its candidates (None of one candidate), or the
            reason why there is none.
        """
        # Sentences and candidates of one request are a batch already.
        count = 1 if self.is_long or self.best_of > 1 else self.max_rows
        names = list(requests)
        for first in range(0, len(names), count):
            group = names[first : first + count]
            try:
                made = self.synthesize_batch([requests[name] for name in group])
                yield from zip(group, made, strict=True)
            except (ValueError, OSError) as error:
                if len(group) == 1:
                    yield group[0], message_of(error)
                    continue
                # One of them fails: speak each alone.
                for name in group:
                    yield from self.synthesize_each({name: requests[name]})

    def synthesize_batch(
        self, requests: Sequence[SpeechRequest]
    ) -> list[tuple[Synthesis, Ranking | None]]:
        """Speak requests in one batch; several candidates or sentences are a batch of one request.

        Raises:
            ValueError: A text or prompt that cannot be spoken, or no end after all attempts.
            OSError: A prompt cannot be opened.
        """
        from tqdm import tqdm

        from slm.synthesis.long_text import join, speak_best, speak_long

        for request in requests:
            self._warn_of_unknown(request)
        request, options = requests[0], self.options
        voice = {"prompt": request.prompt, "voice": request.voice, "seed": request.seed}
        voice |= {"language": request.language, "speed": request.speed}
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
        """Write 16-bit little-endian samples, mono, to stdout while they are generated.

        Returns:
            Seconds of the speech, until its first samples, and of the whole call.

        Raises:
            ValueError: A text or prompt that cannot be spoken.
            OSError: A prompt cannot be opened, or stdout is closed.
        """
        from slm.synthesis.result import pcm_bytes

        self._warn_of_unknown(request)
        rate, count, begun, first = self.synthesizer.codec.sample_rate, 0, time.perf_counter(), 0.0
        for chunk in self.synthesizer.stream(settings=self.settings, **vars(request)):
            first = first if count else time.perf_counter() - begun
            sys.stdout.buffer.write(pcm_bytes(chunk))
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
        unknown = tokenizer.unknown_characters(request.text, request.language)
        if unknown:
            print(f"warning: the text model was trained without {unknown!r}", file=sys.stderr)
        if left_out := unspoken(request.text):
            print(f"warning: no words for {left_out!r}", file=sys.stderr)

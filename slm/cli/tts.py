"""`hh-slm tts`: one text to a file, or a file of texts to a folder."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from slm.generation.best_of import Ranking, Verifier, load_verifier
from slm.generation.config import GenerationSettings
from slm.model.speech_lm import pretrained_folder
from slm.synthesis.long_text import join, speak_best, speak_long
from slm.synthesis.result import Synthesis
from slm.synthesis.synthesizer import MAX_ROWS, Synthesizer
from slm.synthesis.voices import default_voice
from slm.text.normalization import normalize_text

from .batch_file import Job, read_jobs
from .options import Incomplete, check_folder, check_sound
from .outcome import described, sampling

REPORT_NAME = "report.jsonl"
_Spoken = tuple[Synthesis, Ranking | None]


def run_tts(arguments: argparse.Namespace) -> dict[str, Any]:
    """One text to --out, or a file of texts to the folder --out.

    Raises:
        ValueError: What was asked for cannot be; found before any speech is made, but for the rows
            of a file.
        Incomplete: Rows of a file could not be spoken.
    """
    jobs = _jobs(arguments)
    _check(arguments, jobs)
    sampling(arguments)
    verifiers = dict(map(load_verifier, arguments.verifier or ["likelihood"]))
    alone = arguments.file is None
    if alone and arguments.resume and Path(arguments.out).exists():
        return {"out": arguments.out, "already_there": 1}
    synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
    if arguments.prompt is None and arguments.voice is None:
        arguments.voice = default_voice(pretrained_folder(arguments.lm))
    speaker = _Speaker(
        synthesizer, arguments, sampling(arguments, synthesizer.lm.config), verifiers
    )
    if arguments.stream:
        return speaker.stream(jobs[0])
    if alone:
        result, ranking = speaker.together(jobs)[0]
        result.save(arguments.out)
        return described(result, arguments.out, ranking)
    return _speak_file(speaker, jobs, arguments)


def _jobs(arguments: argparse.Namespace) -> list[Job]:
    """The texts of the command line or of the file, as they are to be said."""
    if (arguments.text is None) == (arguments.file is None):
        raise ValueError("expected a text or --file, got both or neither")
    jobs = [Job("", arguments.text)] if arguments.file is None else read_jobs(arguments.file)
    if not arguments.normalize:
        return jobs
    return [replace(job, text=normalize_text(job.text)) for job in jobs]


def _check(arguments: argparse.Namespace, jobs: Sequence[Job]) -> None:
    if arguments.stream:
        if arguments.out != "-" or arguments.file or arguments.long or arguments.best_of > 1:
            raise ValueError("expected --stream with -o - and one text, got more or another place")
    else:
        (check_sound if arguments.file is None else check_folder)(arguments.out)
    if arguments.long and arguments.best_of > 1:
        raise ValueError("expected --long or --best-of, got both")
    if arguments.long and (arguments.prompt_text or any(job.prompt_text for job in jobs)):
        raise ValueError("expected --long without a transcript of the prompt, got one")
    if arguments.prompt is not None and arguments.voice is not None:
        raise ValueError("expected --prompt or --voice, got both")
    if arguments.prompt_text is not None and arguments.prompt is None:
        raise ValueError("expected --prompt with --prompt-text, got no prompt")


@dataclass
class _Speaker:
    """Speaks jobs as the command line asks."""

    synthesizer: Synthesizer
    arguments: argparse.Namespace
    settings: GenerationSettings
    verifiers: dict[str, Verifier]

    @property
    def rows(self) -> int:
        """Texts, sentences or candidates spoken at a time, at most."""
        return self.arguments.rows or MAX_ROWS

    def each(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, _Spoken | str]]:
        """Jobs with what came of them, or why nothing did; a few are spoken at a time."""
        count = 1 if self.arguments.long or self.arguments.best_of > 1 else self.rows
        for first in range(0, len(jobs), count):
            group = jobs[first : first + count]
            try:
                yield from zip(group, self.together(group), strict=True)
            except (ValueError, OSError) as error:
                if len(group) == 1:
                    yield group[0], str(error)
                    continue
                for job in group:  # one of them; find out which
                    yield job, self._alone(job)

    def together(self, jobs: Sequence[Job]) -> list[_Spoken]:
        """Jobs in one batch; several candidates or sentences are a batch of one job."""
        arguments, rows = self.arguments, [self._row(job) for job in jobs]
        options: dict[str, Any] = {
            "settings": self.settings,
            "max_attempts": arguments.attempts,
            "max_rows": self.rows,
        }
        if arguments.long:
            row = rows[0]
            del row["prompt_text"]
            parts = speak_long(self.synthesizer, jobs[0].text, **row, **options)
            return [(join(parts, seed=row["seed"]), None)]
        if arguments.best_of > 1:
            count, verifiers = arguments.best_of, self.verifiers
            best = speak_best(
                self.synthesizer, jobs[0].text, count, verifiers, **rows[0], **options
            )
            return [(best.best, best.ranking)]
        columns = {f"{name}s": [row[name] for row in rows] for name in rows[0]}
        texts = [job.text for job in jobs]
        made = self.synthesizer.tts_batch(texts, **columns, **options)
        return [(each, None) for each in made]

    def stream(self, job: Job) -> dict[str, Any]:
        """Write a job to stdout while it is being spoken: 16-bit little-endian samples, mono."""
        rate, count, begun, first = self.synthesizer.codec.sample_rate, 0, time.perf_counter(), 0.0
        for chunk in self.synthesizer.stream(job.text, settings=self.settings, **self._row(job)):
            first = first if count else time.perf_counter() - begun
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

    def _alone(self, job: Job) -> _Spoken | str:
        try:
            return self.together([job])[0]
        except (ValueError, OSError) as error:
            return str(error)

    def _row(self, job: Job) -> dict[str, Any]:
        """Voice and seed of a job; the command line's where it has none of its own."""
        unknown = self.synthesizer.tokenizer.unknown_characters(job.text)
        if unknown:
            print(f"hh-slm tts: the text model never saw {unknown!r}", file=sys.stderr)
        own = job.prompt is not None or job.voice is not None
        voice = job if own else self.arguments
        return {
            "prompt": None if voice.prompt is None else self.synthesizer.read(voice.prompt),
            "prompt_text": voice.prompt_text,
            "voice": voice.voice,
            "seed": self.arguments.seed if job.seed is None else job.seed,
        }


def _speak_file(
    speaker: _Speaker, jobs: Sequence[Job], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Every row to a file of its own; `report.jsonl` beside them grows by a line a row."""
    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    targets = {job.id: folder / f"{job.id}.{arguments.format}" for job in jobs}
    waiting = [j for j in jobs if not (arguments.resume and targets[j.id].exists())]
    items: dict[str, Any] = {}
    failed: dict[str, str] = {}
    mode = "a" if arguments.resume else "w"
    with (
        (folder / REPORT_NAME).open(mode, encoding="utf-8") as report,
        closing(tqdm(total=len(waiting), unit="text", disable=None, file=sys.stderr)) as bar,
    ):
        for job, spoken in speaker.each(waiting):
            if isinstance(spoken, str):
                failed[job.id], line = spoken, {"error": spoken}
                print(f"hh-slm tts: {job.id}: {spoken}", file=sys.stderr)
            else:
                spoken[0].save(targets[job.id])
                line = items[job.id] = described(spoken[0], str(targets[job.id]), spoken[1])
            print(json.dumps({"id": job.id, **line}, ensure_ascii=False), file=report, flush=True)
            bar.update()
    summary = {
        "spoken": len(items),
        "already_there": len(jobs) - len(waiting),
        "runaway": sum(item["truncated"] for item in items.values()),
        "rejected_attempts": sum(len(item["rejected"]) for item in items.values()),
        "items": items,
        "failed": failed,
    }
    if failed:
        raise Incomplete(summary)
    return summary

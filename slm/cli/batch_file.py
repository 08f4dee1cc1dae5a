"""Batches of texts from a file: one text a line, or JSON objects with what each row needs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .options import SEEDS

_TEXTS = ("text", "prompt", "prompt_text", "voice")
_KEYS = {"id", "seed", *_TEXTS}


@dataclass(frozen=True)
class Job:
    """One text to speak.

    Attributes:
        id: Names its file.
        text: What to say.
        prompt: Recording whose voice to take.
        prompt_text: Its transcript.
        voice: A named voice instead.
        seed: None leaves it to the caller.
    """

    id: str
    text: str
    prompt: str | None = None
    prompt_text: str | None = None
    voice: str | None = None
    seed: int | None = None


def read_jobs(path: Path | str) -> list[Job]:
    """Jobs of a text file (ids 00001, 00002 ... by line) or of a .jsonl file, in UTF-8.

    Raises:
        ValueError: The file is not UTF-8, or a row is not understood, lacks its text, has a value
            of the wrong type, or shares its id with another.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"expected UTF-8 text in {path}, got {error}") from error
    # Not splitlines: a JSON string may hold U+2028 and other marks that are no end of line here.
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line]
    if path.suffix == ".jsonl":
        jobs = [_parsed(line, f"{path}:{number}", number) for number, line in lines]
    else:
        jobs = [Job(f"{number:05d}", line) for number, line in lines]
    if not jobs:
        raise ValueError(f"expected texts in {path}, got none")
    _check_ids(jobs, path)
    return jobs


def _parsed(line: str, place: str, number: int) -> Job:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{place}: expected a JSON object, got {line[:40]!r}") from error
    if not isinstance(row, dict) or set(row) - _KEYS or "text" not in row:
        raise ValueError(
            f"{place}: expected an object with a text and keys of {sorted(_KEYS)}, "
            f"got {line[:80]!r}"
        )
    for key, value in row.items():
        _check_value(key, value, place)
    if not row["text"].strip():
        raise ValueError(f"{place}: expected a text with something to say, got {row['text']!r}")
    if row.get("prompt_text") is not None and row.get("prompt") is None:
        raise ValueError(f"{place}: expected a prompt with its prompt_text, got no prompt")
    if row.get("prompt") is not None and row.get("voice") is not None:
        raise ValueError(f"{place}: expected a prompt or a voice, got both")
    return Job(**{**row, "id": str(row.get("id", f"{number:05d}"))})


def _check_value(key: str, value: Any, place: str) -> None:
    """Raise `ValueError` for a value of the wrong type; null is allowed where a key may be left."""
    if key in _TEXTS:
        fits = isinstance(value, str) or (value is None and key != "text")
        expected = "a string"
    elif key == "seed":
        fits = value is None or (type(value) is int and 0 <= value < SEEDS)
        expected = f"a whole number in [0, {SEEDS})"
    else:
        fits, expected = type(value) in (str, int), "a string or a whole number"
    if not fits:
        raise ValueError(f"{place}: expected {expected} as {key}, got {json.dumps(value)[:40]}")


def _check_ids(jobs: Sequence[Job], path: Path) -> None:
    seen: set[str] = set()
    for job in jobs:
        wrong = job.id in {"", ".", ".."} or any(each in job.id for each in "/\\\0")
        if job.id in seen or wrong:
            raise ValueError(f"expected ids in {path} that name one file each, got {job.id!r}")
        seen.add(job.id)

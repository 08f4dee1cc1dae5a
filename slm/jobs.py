"""Batches of texts from a file: one text a line, or JSON objects with what each row needs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_KEYS = {"id", "text", "prompt", "prompt_text", "voice", "seed"}


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
    """Jobs of a text file (ids 00001, 00002 ... by line) or of a .jsonl file.

    Raises:
        ValueError: A row is not understood, lacks its text, or shares its id with another.
    """
    path = Path(path)
    numbered = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    lines = [(number, line.strip()) for number, line in numbered if line.strip()]
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
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: expected a JSON object, got {line[:40]!r}") from error
    if not isinstance(row, dict) or set(row) - _KEYS or not str(row.get("text", "")).strip():
        raise ValueError(
            f"{place}: expected an object with a text and keys of {sorted(_KEYS)}, "
            f"got {line[:80]!r}"
        )
    return Job(**{**row, "id": str(row.get("id", f"{number:05d}"))})


def _check_ids(jobs: Sequence[Job], path: Path) -> None:
    seen: set[str] = set()
    for job in jobs:
        if job.id in seen or job.id in {"", ".", ".."} or "/" in job.id or "\\" in job.id:
            raise ValueError(f"expected ids in {path} that name one file each, got {job.id!r}")
        seen.add(job.id)

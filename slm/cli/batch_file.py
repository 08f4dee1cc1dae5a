"""Texts to speak, from standard input or a file.

Files hold one a line, JSON lines with the voice and the seed of each, or a `meta.lst`.

A `meta.lst` is a list of seed-tts-eval, `utt|prompt_text|prompt_wav|text[|reference_wav]` a line,
its paths from its own folder on (https://github.com/BytedanceSpeech/seed-tts-eval). JSON lines may
hold the `reference` and `speaker` by which `hh-eval tts` judges the same rows.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from codec.files.json_lines import iter_json_lines, read_lines
from codec.files.names import folded, name_problem
from slm.synthesis.requests import SpeechRequest
from slm.text.languages import language_code

from .options import SEEDS

_TEXTS = ("text", "prompt", "prompt_text", "voice", "language")
# What judges of the speech read of the same rows.
_JUDGED = ("reference", "speaker")
_KEYS = {"id", "seed", "speed", *_TEXTS, *_JUDGED}
# What a row without it takes from the call.
_COMMON = ("seed", "language", "speed")
META_SUFFIX = ".lst"
_META = "utt|prompt_text|prompt_wav|text[|reference_wav]"


def piped_text() -> str:
    """The text on standard input, lines and all.

    Raises:
        OSError: Standard input is closed.
        ValueError: It is not UTF-8.
    """
    if sys.stdin is None:
        raise OSError("expected an open standard input, got a closed one")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"expected text in UTF-8 on standard input: {error}") from error


def read_requests(path: Path | str, default: SpeechRequest) -> dict[str, SpeechRequest]:
    """Requests by id of a text file (ids 00001, 00002 ... by line), a .jsonl or a .lst, in UTF-8.

    Args:
        path: Of the file.
        default: Gives its seed, language and speed to rows without, and its voice to rows with
            neither a prompt nor a voice.

    Raises:
        ValueError: The file is not UTF-8, has no text or is a table of another suffix; or a row is
            not JSON (of a .lst: has not its four or five fields), lacks its text, has a value of
            the wrong type, or shares its id with another.
    """
    path = Path(path)
    rows: list[tuple[str, SpeechRequest]]
    if path.suffix == ".jsonl":
        rows = [
            _parsed(row, default, f"{path}:{number}", number)
            for number, row in iter_json_lines(path)
        ]
    elif path.suffix == META_SUFFIX:
        rows = [
            _from_meta(line, default, f"{path}:{number}", path.parent)
            for number, line in read_lines(path)
            if line.strip()
        ]
    else:
        lines = [(number, line.strip()) for number, line in read_lines(path)]
        fields = [line.count("|") for _, line in lines if line]
        # A list of ids, prompts and texts would be read aloud as it stands.
        if fields and min(fields) >= 2:
            raise ValueError(
                f"expected one text a line in {path}, got a table with | between its fields; "
                "name a list of seed-tts-eval .lst, or write .jsonl rows with id, text, prompt"
            )
        rows = [(f"{number:05d}", replace(default, text=line)) for number, line in lines if line]
    if not rows:
        raise ValueError(f"expected texts in {path}, got none")
    requests: dict[str, SpeechRequest] = {}
    taken: set[str] = set()
    for name, request in rows:
        # An id names a file in one folder, on a disk of any kind.
        problem = "an id without slashes" if "/" in name else name_problem(name, ".flac")
        if problem or folded(name) in taken:
            because = f" ({problem})" if problem else ""
            raise ValueError(
                f"expected ids in {path} that name one file each{because}, got {name[:80]!r}"
            )
        taken.add(folded(name))
        requests[name] = request
    return requests


def _from_meta(
    line: str, default: SpeechRequest, place: str, folder: Path
) -> tuple[str, SpeechRequest]:
    """Id and request of a line of a meta.lst; without a prompt it has the voice of the call."""
    fields = [field.strip() for field in line.split("|")]
    if len(fields) not in (4, 5) or not fields[0] or not fields[3]:
        raise ValueError(f"{place}: expected {_META}, got {line[:80]!r}")
    name, prompt_text, prompt, text = fields[:4]
    # Some lists name the utterance by its file.
    name = name.removesuffix(".wav")
    if not prompt:
        return name, replace(default, text=text)
    common = {key: getattr(default, key) for key in _COMMON}
    return name, SpeechRequest(text, str(folder / prompt), prompt_text or None, **common)


def _parsed(
    row: dict[str, Any], default: SpeechRequest, place: str, number: int
) -> tuple[str, SpeechRequest]:
    """Id and request of a JSON row."""
    if set(row) - _KEYS or "text" not in row:
        raise ValueError(
            f"{place}: expected an object with a text and keys of {sorted(_KEYS)}, "
            f"got {json.dumps(row)[:80]}"
        )
    for key, value in row.items():
        _check_value(key, value, place)
    if not row["text"].strip():
        raise ValueError(f"{place}: expected a text with words, got {row['text']!r}")
    name = str(row.pop("id", f"{number:05d}"))
    given = {key: value for key, value in row.items() if value is not None and key not in _JUDGED}
    common = {key: getattr(default, key) for key in _COMMON}
    try:
        if not {"prompt", "voice", "prompt_text"} & set(given):
            return name, replace(default, **given)
        return name, SpeechRequest(**{**common, **given})
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _check_value(key: str, value: Any, place: str) -> None:
    """Raise `ValueError` for a value of the wrong type; null is allowed where a key may be left."""
    if key in (*_TEXTS, *_JUDGED):
        fits = isinstance(value, str) or (value is None and key != "text")
        expected = "a string"
    elif key == "seed":
        fits = value is None or (type(value) is int and 0 <= value < SEEDS)
        expected = f"a whole number in [0, {SEEDS})"
    elif key == "speed":
        fits = value is None or type(value) in (int, float)
        expected = "a number"
    else:
        fits, expected = type(value) in (str, int), "a string or a whole number"
    if not fits:
        raise ValueError(f"{place}: expected {expected} as {key}, got {json.dumps(value)[:40]}")
    if key == "language" and isinstance(value, str):
        try:
            language_code(value)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error

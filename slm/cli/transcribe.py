"""`hh-slm transcribe`: the text of recordings, of `.hhc` files and of token stores."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec.command_line import DONE, FAILED, Commands, add_command
from codec.devices import usable_device
from codec.error_text import printable, reason_of
from codec.files import write_text
from codec.files.json_text import json_text
from codec.files.names import check_place
from slm.generation.config import ENGINES, WEIGHTS, TranscriptionSettings

from .options import SEEDS, add_models, check_not_read, codec_of, whole_number

if TYPE_CHECKING:
    from slm.synthesis.transcriber import Spoken, Transcriber

_CODES = ".hhc"
# In a name they would end the line, or the name.
_ESCAPED = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})


def add(commands: Commands) -> None:
    """Add the command."""
    own = TranscriptionSettings()
    command = add_command(
        commands,
        "transcribe",
        run,
        summary="the text of recordings, by a model that was trained to transcribe",
        description="The text of recordings, as the text model spells it: lower case, numbers in "
        "words. A recording that cannot be transcribed is reported with its error, and the exit "
        "status is 1.",
        examples="examples:\n  hh-slm transcribe speech.wav --lm runs/mine/train_slm/model\n"
        "  hh-slm transcribe recordings/ codes.hhc --lm MODEL -o texts.jsonl\n"
        "  hh-slm transcribe runs/mine/encode_corpus/valid --lm MODEL --beam 1",
    )
    add = command.add_argument
    add("audio", nargs="+", help="recordings, .hhc files, folders of them, or token stores")
    add("-o", "--out", type=Path, help=".jsonl or .txt to write in place of printing")
    add("--beam", type=whole_number(1, 65), default=own.beam, help="texts that are followed")
    add("--temperature", type=float, default=own.temperature, help="above 0: draw, with --beam 1")
    add("--seed", type=whole_number(0, SEEDS), default=0, help="of the draws")
    add("--length-power", type=float, default=own.length_power, help="1 compares means, 0 sums")
    add("--max-tokens", type=whole_number(1), help="longest text; default: as speech can have")
    add("--rows", type=whole_number(1), default=16, help="recordings at a time, at most")
    add("--weights", default=own.weights, help=", ".join(WEIGHTS))
    add("--engine", default=own.engine, help=f"of the steps: {', '.join(ENGINES)}")
    add_models(command)


def run(arguments: argparse.Namespace) -> int:
    """Print or write the text of every recording."""
    from tqdm import tqdm

    settings = TranscriptionSettings(
        beam=arguments.beam,
        temperature=arguments.temperature,
        length_power=arguments.length_power,
        max_text_tokens=arguments.max_tokens,
        weights=arguments.weights,
        engine=arguments.engine,
    )
    # All that can be wrong with the call, before a model is loaded.
    _check_out(arguments.out)
    given = _sources(arguments.audio)
    check_not_read([arguments.out] if arguments.out else [], map(str, given.values()))
    transcriber = _loaded(arguments, given)
    given |= _stored(given, transcriber.codec_names)
    names = [name for name, each in given.items() if each is not None]
    report: dict[str, dict[str, Any]] = {}
    with closing(tqdm(total=len(names), unit="recording", disable=None, file=sys.stderr)) as bar:
        # Recordings of a batch share the steps of the model.
        for first in range(0, len(names), arguments.rows):
            part = names[first : first + arguments.rows]
            found = _transcribed(
                transcriber, [given[name] for name in part], settings, arguments.seed
            )
            report |= zip(part, found, strict=True)
            bar.update(len(part))
    _show(report, arguments)
    return FAILED if any("error" in row for row in report.values()) else DONE


def _check_out(path: Path | None) -> None:
    """Raise `ValueError` for a file that the texts cannot be written to."""
    if path is not None and path.suffix.lower() not in (".jsonl", ".txt"):
        raise ValueError(f"expected --out to end in .jsonl or .txt, got {str(path)!r}")
    if path is not None and path.is_dir():
        raise ValueError(f"expected --out to name a file, got the folder {str(path)!r}")
    if path is not None:
        check_place(path)


def _sources(paths: Iterable[str]) -> dict[str, Any]:
    """Every recording by name, each once: the path of a file, None for a token store.

    Raises:
        ValueError: Nothing of that name, or a folder without recordings.
    """
    from codec.audio.io import RECORDINGS
    from codec.files.names import given_files
    from slm.data.shards import HEADER

    found: dict[str, Any] = {}
    for path in map(Path, paths):
        # Its rows are read later, when the model's codec is known.
        if (path / HEADER).is_file():
            found[str(path)] = None
        else:
            found |= {str(file): file for file in given_files(path, (*RECORDINGS, _CODES))}
    return found


def _stored(given: Mapping[str, Any], codec_names: Sequence[str]) -> dict[str, Any]:
    """Codes of the rows of the token stores among what is given, by folder and id.

    Raises:
        ValueError: A store of another codec, or rows of two stores that go by one name.
    """
    from slm.data.token_store import TokenStore

    stores = {name: TokenStore(name, codec_names) for name, each in given.items() if each is None}
    for store in stores.values():
        store.check()
    found: dict[str, Any] = {}
    for name, store in stores.items():
        for index, row in enumerate(store.rows):
            full = f"{name}/{row['id']}"
            if full in found or full in given:
                raise ValueError(f"expected each name once, got {full!r} of {name} again")
            found[full] = store.codes(index)
    return found


def _loaded(arguments: argparse.Namespace, given: Mapping[str, Any]) -> Transcriber:
    """The models on their device; the codec where there is sound to encode."""
    device = usable_device(arguments.device)
    from slm.synthesis.transcriber import Transcriber

    # Codes alone need no codec, which takes a second to load.
    has_sound = any(each and each.suffix.lower() != _CODES for each in given.values())
    codec = codec_of(arguments) if has_sound else None
    return Transcriber.from_pretrained(arguments.lm, codec).to(device)


def _transcribed(
    transcriber: Transcriber,
    recordings: Sequence[Spoken],
    settings: TranscriptionSettings,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Rows of some recordings: the fields of a `Transcription`, or the error."""
    found: dict[int, dict[str, Any]] = {}
    codes = {}
    for number, recording in enumerate(recordings):
        try:
            codes[number] = transcriber.codes_of(recording)
        except (ValueError, OSError) as error:
            found[number] = {"error": reason_of(error, str(recording))}
    # The same for each: a text does not depend on the recordings beside it.
    seeds = [seed] * len(codes)
    made = transcriber.transcribe(list(codes.values()), settings, seeds=seeds)
    found |= {number: asdict(each) for number, each in zip(codes, made, strict=True)}
    return (found[number] for number in range(len(recordings)))


def _show(report: Mapping[str, dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Print the texts, as JSON where asked for, or write them."""
    rows = [{"audio": name, **row} for name, row in report.items()]
    as_text = [_line(name, row, alone=len(report) == 1) for name, row in report.items()]
    if arguments.out is not None:
        as_json = "".join(json_text(row, indent=None) for row in rows)
        is_json = arguments.out.suffix.lower() == ".jsonl"
        write_text(arguments.out, as_json if is_json else "".join(as_text))
        _print_failures(report)
    # stdout has one form: JSON where asked for, else the texts that no file takes.
    if arguments.json:
        print(json_text(report, indent=None), end="")
    elif arguments.out is None:
        print("".join(as_text), end="")
        _print_failures(report)


def _line(name: str, row: Mapping[str, Any], *, alone: bool) -> str:
    text = row.get("text", "")
    return f"{text}\n" if alone else f"{printable(name).translate(_ESCAPED)}\t{text}\n"


def _print_failures(report: Mapping[str, dict[str, Any]]) -> None:
    failed = {name: row["error"] for name, row in report.items() if "error" in row}
    sys.stderr.writelines(f"failed: {name}: {reason}\n" for name, reason in failed.items())

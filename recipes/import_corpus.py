"""Recordings, a published corpus, a Kaldi folder or a CutSet -> a folder with manifest.jsonl.

    python -m recipes.import_corpus folder my/recordings -o corpora/mine --split speakers
    python -m recipes.import_corpus librispeech corpora/LibriSpeech -o corpora/librispeech
    python -m recipes.run_all recipes/configs/mini.yaml corpus=corpora/librispeech run=runs/mine

Recordings stay where they are; only parts of longer recordings (segments of Kaldi, cuts of lhotse,
pieces of Libri-Light) are written, below the manifest, and not with --in-place. What lies in tars
is read there. What does not become a row is listed in skipped.jsonl. Run again, it does what is
left to do.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from codec.command_line import DONE, exit_status, number, whole_number
from recipes.corpora.import_folder import COLUMNS, FolderSettings, folder_utterances
from recipes.corpora.import_kaldi import UNKNOWN_LANGUAGE, kaldi_utterances
from recipes.corpora.import_lhotse import cutset_utterances, librispeech_utterances, vctk_utterances
from recipes.corpora.import_librilight import librilight_utterances
from recipes.corpora.import_webdataset import EMILIA, webdataset_utterances
from recipes.corpora.importing import (
    RecordingSettings,
    Skip,
    Utterance,
    import_utterances,
)
from recipes.corpora.published import (
    fetch_libritts,
    fetch_ljspeech,
    libritts_utterances,
    ljspeech_utterances,
)
from recipes.corpora.recording_checks import REPORT_NAME, SPLIT_BY, SplitSettings
from recipes.runner.cli import plain_parser

EPILOG = """\
kinds:
  folder       FOLDER holds recordings at any depth, with texts beside them (.txt, .lab,
               .normalized.txt), in a table (metadata.csv, --table), or without any
  libritts     FOLDER holds LibriTTS/, or is it: <subset>/<speaker>/<chapter>/<id>.wav
  librispeech  FOLDER holds LibriSpeech/, or is it (extra lhotse)
  ljspeech     FOLDER holds LJSpeech-1.1/, or is it
  vctk         FOLDER holds speaker-info.txt, txt/ and wav48_silence_trimmed/ (extra lhotse)
  librilight   FOLDER holds small/, medium/ or large/; chapters are cut at pauses
  webdataset   FOLDER holds WebDataset tars at any depth, or is one, or a quoted pattern;
               <key>.mp3 (.flac, .wav, .ogg, .opus) and <key>.json, read in place
  emilia       as webdataset, of Emilia's tars: text, speaker and language have to be there
  kaldi        FOLDER holds wav.scp, and segments, text, utt2spk where there are any
  lhotse       FOLDER is a CutSet file, such as cuts.jsonl.gz (extra lhotse)

examples:
  python -m recipes.import_corpus folder clips -o corpora/mine --lang en --speaker folder
  python -m recipes.import_corpus folder cv -o corpora/cv --table cv/train.tsv --columns audio=path text=sentence
  python -m recipes.import_corpus libritts corpora -o corpora/libritts --download dev-clean
  python -m recipes.import_corpus librilight /data/librilight -o /data/pieces --longest 20 --workers 8
  python -m recipes.import_corpus emilia /data/Emilia/DE -o /data/emilia_de --limit 1000
  python -m recipes.import_corpus webdataset 'shards/en-*.tar' -o corpora/en --lang en --workers 8
  python -m recipes.import_corpus kaldi egs/data/train -o corpora/kaldi --audio-root egs --lang en
"""  # noqa: E501 - commands stay on one line
DOWNLOADS = ("libritts", "librispeech", "ljspeech", "vctk")
TARS = ("emilia", "webdataset")

Found = Iterable[Utterance | Skip]


def main(argv: Sequence[str] | None = None) -> int:
    """Import one corpus from the command line; returns the exit status."""
    arguments = _parser().parse_args(argv)

    def work() -> int:
        print_figures(import_corpus(arguments), arguments.output, as_json=arguments.json)
        return DONE

    return exit_status(work, debug=arguments.debug)


def print_figures(figures: dict[str, Any], output: Path, *, as_json: bool) -> None:
    """Print the figures of an import, in words or as one JSON object."""
    if as_json:
        print(json.dumps(figures))
        return
    skipped = figures["skipped"]
    listed = ", ".join(f"{count} {kind}" for kind, count in skipped.items()) or "none"
    print(f"{figures['clips']} clips, {figures['hours']} h, {figures['speakers']} speakers")
    print(f"splits: {', '.join(f'{name} {count}' for name, count in figures['splits'].items())}")
    print(f"skipped: {listed} (skipped.jsonl)")
    if figures.get("noted"):
        noted = ", ".join(f"{count} {kind}" for kind, count in figures["noted"].items())
        print(f"noted: {noted} (notes.jsonl)")
    if "noted" in figures:
        print(f"report: {output / REPORT_NAME}")
    print(f"corpus={output}")


def import_corpus(arguments: argparse.Namespace) -> dict[str, Any]:
    """Import as the arguments ask; returns the figures of `import_utterances`.

    Raises:
        ValueError: The corpus is not of its layout, or an option does not go with it.
    """
    if arguments.download is not None and arguments.kind not in DOWNLOADS:
        raise ValueError(f"--download: expected one of {', '.join(DOWNLOADS)}")
    # A pattern is looked for where its tars are.
    is_there = arguments.folder.exists() or arguments.kind in TARS
    if not is_there and arguments.download is None:
        raise ValueError(f"{arguments.folder}: expected the corpus there, found nothing")
    return import_utterances(
        KINDS[arguments.kind](arguments),
        arguments.output,
        limit=arguments.limit,
        workers=arguments.workers,
        checked=_checked(arguments) if arguments.kind == "folder" else None,
        in_place=arguments.in_place,
    )


def _folder(given: argparse.Namespace) -> Found:
    named = [each.partition("=") for each in given.columns]
    wrong = [what for what, sign, name in named if not (what and sign and name)]
    if wrong:
        raise ValueError(f"--columns: expected pairs such as text=sentence, got {wrong[0]!r}")
    settings = FolderSettings(
        table=given.table,
        columns={what: name for what, _, name in named},
        speaker=given.speaker,
        lang=given.lang,
    )
    return folder_utterances(given.folder, settings)


def _checked(given: argparse.Namespace) -> RecordingSettings:
    splits = SplitSettings(given.split, given.valid, given.test, given.seed)
    return RecordingSettings(given.shortest, splits)


def _libritts(given: argparse.Namespace) -> Found:
    if given.download is not None:
        fetch_libritts(given.folder, given.download)
    return libritts_utterances(given.folder)


def _ljspeech(given: argparse.Namespace) -> Found:
    if given.download is not None:
        fetch_ljspeech(given.folder)
    return ljspeech_utterances(given.folder)


def _tars(given: argparse.Namespace, required: Sequence[str] = (), name: str = "") -> Found:
    return webdataset_utterances(
        given.folder,
        given.output,
        lang=given.lang,
        required=required,
        name=name,
        limit=given.limit,
        workers=given.workers,
    )


# Layouts by name; modules of the corpora yield clips and skips, all else is `import_utterances`.
KINDS: dict[str, Callable[[argparse.Namespace], Found]] = {
    "folder": _folder,
    "libritts": _libritts,
    "librispeech": lambda given: librispeech_utterances(
        given.folder, download=given.download or ()
    ),
    "ljspeech": _ljspeech,
    "vctk": lambda given: vctk_utterances(given.folder, download=given.download is not None),
    "librilight": lambda given: librilight_utterances(given.folder, longest=given.longest),
    "webdataset": _tars,
    "emilia": functools.partial(_tars, required=EMILIA, name="emilia"),
    "kaldi": lambda given: kaldi_utterances(
        given.folder, audio_root=given.audio_root, lang=given.lang
    ),
    "lhotse": lambda given: cutset_utterances(
        given.folder, audio_root=given.audio_root, lang=given.lang
    ),
}


def _parser() -> argparse.ArgumentParser:
    description = "Make a manifest of a corpus in the layout it is published in."
    parser = plain_parser("python -m recipes.import_corpus", description, EPILOG)
    parser.add_argument("kind", choices=KINDS, help="layout, see below")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the corpus")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for manifest.jsonl"
    )
    parser.add_argument(
        "--limit", type=whole_number(1), help="at most so many clips, spread evenly"
    )
    parser.add_argument(
        "--workers",
        type=whole_number(1),
        default=1,
        help="processes that cut or read tars",
    )
    parser.add_argument(
        "--longest", type=number(above=0), default=20.0, help="librilight: longest piece, s"
    )
    parser.add_argument("--audio-root", type=Path, help="kaldi, lhotse: start of relative paths")
    parser.add_argument(
        "--lang",
        default=UNKNOWN_LANGUAGE,
        help="folder, kaldi, lhotse, webdataset: language where none is stated",
    )
    parser.add_argument(
        "--in-place",
        action="store_true",
        help="librilight, kaldi, lhotse: name parts where they lie, cut none out",
    )
    _add_folder_options(parser)
    parser.add_argument(
        "--download",
        nargs="*",
        metavar="SUBSET",
        help=f"fetch first what is missing ({', '.join(DOWNLOADS)})",
    )
    return parser


def _add_folder_options(parser: argparse.ArgumentParser) -> None:
    own = parser.add_argument_group("folder")
    own.add_argument("--table", type=Path, help="CSV or TSV of texts (default: metadata.csv)")
    own.add_argument(
        "--columns",
        nargs="+",
        default=[],
        metavar="WHAT=NAME",
        help=f"columns of the table that hold {', '.join(COLUMNS)}",
    )
    own.add_argument(
        "--speaker",
        help="of everything, or `folder` for the folder a recording lies in (default: the "
        "table's column, else the folders where there are several)",
    )
    own.add_argument(
        "--split", default="clips", choices=SPLIT_BY, help="what is divided; none leaves it"
    )
    for name in ("valid", "test"):
        text = "share of the clips or speakers, one at least"
        own.add_argument(f"--{name}", type=number(0), default=0.02, help=text)
    own.add_argument("--seed", type=whole_number(0), default=0, help="of the split")
    own.add_argument("--shortest", type=number(0), default=0.1, help="shortest recording, s")


if __name__ == "__main__":
    raise SystemExit(main())

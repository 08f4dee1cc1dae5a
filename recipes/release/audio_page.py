"""A page of recordings, what the codec makes of them, and speech of the language model.

    python -m recipes.release.audio_page ../corpus --licences ../corpus/LICENSES.md
    make docs

Writes docs/listen/: a Markdown page and Ogg Opus files, which `make docs` puts into the site. Git
ignores that folder: no recording is part of the repository. Of each source of the corpus the page
takes one clip whose licence allows that it is passed on; without a corpus it holds synthetic speech
alone.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from codec.audio import read_audio
from codec.command_line import DONE, exit_status, name_list
from codec.files import whole_file, write_text
from codec.files.names import item_path
from codec.provenance import provenance
from recipes.corpora.manifest import CorpusRow
from recipes.runner.cli import plain_parser
from slm import SpeechRequest, Synthesizer

from .licensed_clips import LONGEST, SHORTEST, Licence, choose_clips, read_licences

PROGRAM = "python -m recipes.release.audio_page"
CODEC, LM = "hh-mini-24k-v2", "hh-mini-slm-v2"
OUT = Path("docs/listen")
SENTENCES = (
    "Good morning, and welcome.",
    "This voice was never recorded saying these words.",
    "The ship left the harbor at seven in the morning.",
)
CLIP = re.compile(r"(recording|reconstructed|spoken)_\d+\.ogg")

TEMPLATE = """# Listen

What 24 codes a second, 305 bit/s, hold of a recording, and what a language model speaks in them.
The shipped models are small and trained on hours of speech ([results](../results.md)).
{recordings}
## Spoken from text

Synthetic speech of `{lm}`{voice}, nobody's recording.

| text | speech |
| --- | --- |
{spoken}
## Licences of the recordings

{licences}

Made by `{command}`, commit {commit}, {date}.
"""
RECORDINGS = """
## Recordings and reconstructions

The clip of median length of each source, among those of {shortest:g} to {longest:g} s in `valid`
and `test`.

| source | recording | reconstructed by `{codec}` |
| --- | --- | --- |
{rows}
"""


def write_opus(path: Path, waveform: NDArray[np.floating], sample_rate: int) -> None:
    """Write Ogg Opus at about 32 kbit/s; the file appears only when it is whole."""
    with whole_file(path) as partial:
        soundfile.write(
            partial,
            np.clip(waveform, -1.0, 1.0),
            sample_rate,
            format="OGG",
            subtype="OPUS",
            compression_level=0.9,
        )


def reconstructed(synthesizer: Synthesizer, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Encode and decode a recording (T,), at its own length."""
    codec = synthesizer.codec
    with torch.inference_mode():
        codes, lengths = codec.encode(torch.from_numpy(waveform)[None])
        decoded, _ = codec.decode(codes, lengths, torch.tensor([len(waveform)]))
    return decoded[0].numpy()


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the page and its audio.

    Raises:
        ValueError: A model, the corpus or the table of licences cannot be used.
    """
    synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
    rate, folder = synthesizer.codec.sample_rate, Path(arguments.out)
    chosen: dict[str, CorpusRow] = {}
    left_out: dict[str, str] = {}
    licences: dict[str, Licence] = {}
    if arguments.recordings is not None:
        table = arguments.licences or arguments.recordings / "LICENSES.md"
        licences = read_licences(table)
        chosen, left_out = choose_clips(arguments.recordings, licences, arguments.sources)
    rows = []
    for number, (source, row) in enumerate(chosen.items(), start=1):
        waveform = read_audio(row.audio, rate)
        names = f"recording_{number}", f"reconstructed_{number}"
        for name, made in zip(names, (waveform, reconstructed(synthesizer, waveform)), strict=True):
            write_opus(item_path(folder, name, ".ogg"), made, rate)
        shown = f"{source}, {row.speaker}, {row.lang}"
        rows.append(f"| {shown} | {_player(names[0])} | {_player(names[1])} |")
    voice = arguments.voice or next(iter(synthesizer.voices), None)
    spoken = _speak(synthesizer, arguments.sentence or SENTENCES, voice, folder)
    origin = provenance(PROGRAM)
    page = TEMPLATE.format(
        recordings=_recordings(rows, arguments.codec),
        lm=arguments.lm,
        voice=f", voice {voice}" if voice else "",
        spoken=spoken,
        licences=_licence_list(chosen, licences),
        command=PROGRAM,
        commit=origin["commit"],
        date=origin["date"],
    )
    write_text(folder / "index.md", page)
    _remove_earlier(folder, page)
    size = sum(path.stat().st_size for path in folder.glob("*.ogg"))
    return {"page": str(folder / "index.md"), "bytes": size, "left_out": left_out}


def _speak(synthesizer: Synthesizer, texts: Sequence[str], voice: str | None, folder: Path) -> str:
    """Write speech of each text; returns the lines of the table."""
    made = synthesizer.synthesize(
        [SpeechRequest(text, voice=voice, seed=seed) for seed, text in enumerate(texts)]
    )
    lines = []
    for number, (text, speech) in enumerate(zip(texts, made, strict=True), start=1):
        write_opus(folder / f"spoken_{number}.ogg", speech.waveform, speech.sample_rate)
        shown = text.replace("|", r"\|")
        lines.append(f"| {shown} | {_player(f'spoken_{number}')} |\n")
    return "".join(lines)


def _recordings(rows: Sequence[str], codec: str) -> str:
    if not rows:
        return ""
    return RECORDINGS.format(shortest=SHORTEST, longest=LONGEST, codec=codec, rows="\n".join(rows))


def _licence_list(chosen: Iterable[str], licences: Mapping[str, Licence]) -> str:
    lines = [
        f"- **{source}**: {licences[source].name}. {licences[source].attribution}"
        for source in chosen
    ]
    lines.append("- Clips were reconstructed or compressed to Ogg Opus; nothing else was changed.")
    return "\n".join(lines if len(lines) > 1 else ["There are none."])


def _remove_earlier(folder: Path, page: str) -> None:
    """Remove the clips of an earlier page, which it may no longer be allowed to pass on."""
    for path in folder.glob("*.ogg"):
        if CLIP.fullmatch(path.name) and f'src="{path.name}"' not in page:
            path.unlink()


def _player(name: str) -> str:
    return f'<audio controls preload="none" src="{name}.ogg"></audio>'


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; returns the exit status."""
    arguments = _parser().parse_args(argv)

    def work() -> int:
        made = run(arguments)
        if arguments.json:
            print(json.dumps(made, ensure_ascii=False))
            return DONE
        print(f"{made['page']}, {made['bytes'] / 1000:.0f} kB of audio")
        for source, reason in made["left_out"].items():
            print(f"  left out: {source}: {reason}")
        return DONE

    return exit_status(work, debug=arguments.debug)


def _parser() -> argparse.ArgumentParser:
    parser = plain_parser(PROGRAM, "A page of recordings, reconstructions and synthetic speech.")
    parser.add_argument(
        "recordings", type=Path, nargs="?", help="folder with manifest.jsonl; none for speech alone"
    )
    parser.add_argument(
        "--licences", type=Path, help="Markdown with a table of them (default: its LICENSES.md)"
    )
    parser.add_argument("--sources", type=name_list, default=[], help="these alone, by commas")
    parser.add_argument("--sentence", action="append", help="to speak; again for more")
    parser.add_argument("--voice", help="named voice of the language model")
    parser.add_argument("--codec", default=CODEC, help="folder, bundled name or hub")
    parser.add_argument("--lm", default=LM, help="likewise")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

"""What a model card shows: mel pictures, training curves, and tables put between its markers.

    python -m recipes.release.model_cards mels codec/pretrained/hh-mini-24k/mels.png
        --recording clip.flac
    python -m recipes.release.model_cards mels slm/pretrained/hh-mini-slm/mels.png
        --recording clip.flac --text "What is said in it."
    python -m recipes.release.model_cards curves card/curves.png
        "mel L1=run/phase/metrics.jsonl:valid:mel" ...
    python -m recipes.release.model_cards table card/README.md test runs/anchors/anchors.json

A table replaces what stands between `<!-- table test -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from codec import HHCodec
from codec.audio import read_audio
from codec.files import write_text
from codec.json_lines import read_json_lines
from eval.scoring.summary import number_text
from slm import Synthesizer

from .pictures import draw_curves, draw_mels

CODEC, LM = "hh-mini-24k", "hh-mini-slm"
# Columns of a card's table, as far as a system has them, by metric family and figure.
COLUMNS = {
    "stoi/stoi": "STOI",
    "estoi/estoi": "ESTOI",
    "pitch/vuv_f1": "V/UV F1",
    "pitch/f0_cents": "F0 error, cents",
    "speaker_sim/speaker_sim": "speaker similarity",
    "dnsmos/dnsmos_ovrl": "DNSMOS",
    "mel_l1/mel_l1": "log-mel L1, nats",
    "wer/wer": "word error rate",
}


def mels(arguments: argparse.Namespace) -> Path:
    """A recording, what the codec makes of it, and the same words spoken from text."""
    codec = HHCodec.from_pretrained(arguments.codec)
    rate = codec.sample_rate
    recording = torch.from_numpy(read_audio(arguments.recording, rate))[None]
    codes, code_lengths = codec.encode(recording)
    decoded, _ = codec.decode(codes, code_lengths, torch.tensor([recording.shape[1]]))
    name = f"reconstructed from {codec.bitrate:.0f} bit/s"
    panels = {"recording": recording[0].numpy(), name: decoded[0].numpy()}
    if arguments.text:
        synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
        voice = arguments.voice or next(iter(synthesizer.voices), None)
        made = synthesizer.tts(arguments.text, voice=voice, seed=arguments.seed)
        panels["spoken from text"] = made.waveform
    return draw_mels(panels, rate, arguments.picture)


def curves(arguments: argparse.Namespace) -> Path:
    """Lines of metrics.jsonl files; lines of one title share a chart."""
    charts: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for each in arguments.lines:
        match = re.fullmatch(r"(.+?)=(.+):(\w*):(\w+)", each)
        if match is None:
            raise ValueError(f"expected TITLE=FILE:SPLIT:KEY, SPLIT may be empty, got {each!r}")
        title, path, split, key = match.groups()
        rows = [
            row for row in read_json_lines(Path(path)) if not split or row.get("split") == split
        ]
        points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        if not points:
            raise ValueError(f"{path}: expected rows of split {split!r} with {key!r}, found none")
        name = split or key
        steps, values = zip(*points, strict=True)
        charts.setdefault(title, {})[name] = list(steps), list(values)
    return draw_curves(charts, arguments.picture)


def table(arguments: argparse.Namespace) -> Path:
    """Put the figures of anchors.json, or Markdown as it is, between a card's markers."""
    text = arguments.figures.read_text(encoding="utf-8")
    if arguments.figures.suffix == ".json":
        text = anchors_table(json.loads(text))
    write_text(
        arguments.card, filled(arguments.card.read_text(encoding="utf-8"), arguments.name, text)
    )
    return arguments.card


def filled(card: str, name: str, text: str) -> str:
    """A card with other text between the markers of a table.

    Raises:
        ValueError: It has no such markers.
    """
    start, end = f"<!-- table {name} -->", "<!-- end -->"
    before, mark, rest = card.partition(start)
    _, closed, after = rest.partition(end)
    if not (mark and closed):
        raise ValueError(f"expected {start} and {end} in the card, found none")
    return f"{before}{start}\n\n{text.strip()}\n\n{end}{after}"


def anchors_table(figures: dict[str, Any]) -> str:
    """The card's columns of an anchors.json, a row a system, and what they rest on."""
    systems = figures["systems"]
    found = {
        name: {_family(key): figure for key, figure in row["figures"].items()}
        for name, row in systems.items()
    }
    shown = [key for key in COLUMNS if any(key in row for row in found.values())]
    arrows = {True: " ↑", False: " ↓", None: ""}
    heads = [
        COLUMNS[key]
        + arrows[next(row[key]["higher_is_better"] for row in found.values() if key in row)]
        for key in shown
    ]
    lines = [f"| {' | '.join(['system', 'kbit/s', *heads])} |", "|" + " --- |" * (len(heads) + 2)]
    for name, row in systems.items():
        title = f"**{name}**" if row["is_ours"] else name
        rate = row["measured_bitrate"]
        rate = "-" if rate is None else f"{rate / 1000:.2f}"
        cells = [_cell(found[name].get(key)) for key in shown]
        lines.append(f"| {' | '.join([title, rate, *cells])} |")
    about, made = figures["subject"], figures["provenance"]
    rest = (
        f"{about['split']}: {about['clips']} clips, {about['speakers']} speakers; mean and 95 % "
        f"bootstrap interval over clips. `{made['command']}`, {made['hardware']}, {made['date']}, "
        f"commit `{made['commit'][:7]}`."
    )
    return "\n".join([*lines, "", rest])


def _family(key: str) -> str:
    """Metric family and figure of "stoi.pystoi04/stoi"."""
    metric, _, figure = key.rpartition("/")
    return f"{metric.split('.')[0]}/{figure}"


def _cell(figure: dict[str, Any] | None) -> str:
    """`0.82 (0.81 to 0.83)`, "-" without a value."""
    if figure is None or figure["value"] is None:
        return "-"
    unit = "%" if figure["unit"] == "%" else ""
    text = number_text(figure["value"], unit=unit)
    if not figure["ci95"]:
        return text
    low, high = (number_text(end, unit=unit).removesuffix("%").strip() for end in figure["ci95"])
    return f"{text} ({low} to {high})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status, 2 for the caller's mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.release.model_cards", description=__doc__
    )
    commands = parser.add_subparsers(dest="command", required=True)
    each = commands.add_parser("mels", help="a recording, reconstructed, and spoken from text")
    each.add_argument("picture", type=Path, help="PNG to write")
    each.add_argument("--recording", type=Path, required=True)
    each.add_argument("--text", help="to speak beside it")
    each.add_argument("--voice", help="named voice of the language model")
    each.add_argument("--seed", type=int, default=0)
    each.add_argument("--codec", default=CODEC)
    each.add_argument("--lm", default=LM)
    each = commands.add_parser("curves", help="charts of metrics.jsonl files")
    each.add_argument("picture", type=Path, help="PNG to write")
    each.add_argument("lines", nargs="+", metavar="TITLE=FILE:SPLIT:KEY")
    each = commands.add_parser("table", help="figures of anchors.json into a card")
    each.add_argument("card", type=Path, help="README.md with markers")
    each.add_argument("name", help="of the table")
    each.add_argument("figures", type=Path, help="anchors.json, or Markdown")
    arguments = parser.parse_args(argv)
    try:
        written = {"mels": mels, "curves": curves, "table": table}[arguments.command](arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    print(written)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Pictures and tables of model cards: log-mels, training curves, figures between markers.

    python -m recipes.release.model_cards mels codec/pretrained/hh-mini-24k/mels.png
        --recording clip.flac
    python -m recipes.release.model_cards mels slm/pretrained/hh-mini-slm/mels.png
        --recording clip.flac --text "Its transcript."
    python -m recipes.release.model_cards curves card/curves.png
        "mel L1=run/phase/metrics.jsonl:valid:mel" ...
    python -m recipes.release.model_cards table card/README.md test runs/anchors/anchors.json

A table replaces the text between `<!-- table test -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codec import HHCodec
from codec.audio import read_audio
from codec.checks import one_of
from codec.command_line import DONE, HelpFormatter, ShowVersion, exit_status, whole_number
from codec.files import read_json, write_text
from codec.files.json_lines import read_json_lines
from codec.files.reading import read_file
from eval.metrics.mel import FLOOR, N_MELS, SAMPLE_RATE, hz_to_mel, log_mel
from eval.reporting.line_chart import LineChart, Series, save_line_charts
from eval.reporting.media import TICKS_HZ, mel_peak, save_png
from eval.scoring.summary import number_text, units_text
from eval.sound import resampled
from recipes.runner.markdown import table_lines
from slm import Synthesizer

DIFFERENT = "different_speaker"
CODEC, LM = "hh-mini-24k-v2", "hh-mini-slm-v2"
# Columns of a card's table, as far as a system has them, by metric family and figure.
COLUMNS = {
    "stoi/stoi": "STOI",
    "estoi/estoi": "ESTOI",
    "pitch/vuv_f1": "V/UV F1",
    "pitch/f0_cents": "F0 error, cents",
    "speaker_sim/speaker_sim": "speaker similarity",
    "utmos22/utmos22": "UTMOS",
    "dnsmos/dnsmos_ovr": "DNSMOS overall",
    "dnsmos/dnsmos_p808": "DNSMOS P.808",
    "mel_l1/mel_l1": "log-mel L1, nats",
    "wer_whisper/wer": "word error rate (Whisper)",
    "wer_moonshine/wer": "word error rate (Moonshine)",
    "wer/wer": "word error rate",
}


def mels(arguments: argparse.Namespace) -> Path:
    """Draw a recording, its reconstruction, and the same words synthesized from text."""
    codec = HHCodec.from_pretrained(arguments.codec)
    rate = codec.sample_rate
    recording = torch.from_numpy(read_audio(arguments.recording, rate))[None]  # (1, T)
    codes, code_lengths = codec.encode(recording)
    voice, length = codec.encode_voice(recording), torch.tensor([recording.shape[1]])
    decoded, _ = codec.decode(codes, code_lengths, length, voice=voice)
    name = f"reconstructed from {codec.bitrate:.0f} bit/s"
    panels = {"recording": recording[0].numpy(), name: decoded[0].numpy()}
    if arguments.text:
        synthesizer = Synthesizer.from_pretrained(arguments.codec, arguments.lm)
        voice = arguments.voice or next(iter(synthesizer.voices), None)
        made = synthesizer.tts(arguments.text, voice=voice, seed=arguments.seed)
        panels["spoken from text"] = made.waveform
    return draw_mels(panels, rate, arguments.picture)


def draw_mels(panels: Mapping[str, NDArray[np.float32]], rate: int, path: Path) -> Path:
    """Draw log-mels of waveforms (T,) above each other, on one time and one colour scale.

    Args:
        panels: Waveforms in [-1, 1] by name.
        rate: Hz, of all of them.
        path: PNG to write.

    Raises:
        ValueError: No waveform, or one that is empty or not finite.
    """
    # Without pyplot, whose global state and windows are not needed.
    from matplotlib.figure import Figure

    if not panels:
        raise ValueError("expected at least one waveform to draw, got none")
    figure = Figure(figsize=(8.5, 1.5 * len(panels) + 0.25), dpi=80)
    seconds = max(len(each) for each in panels.values()) / rate
    top = max(mel_peak(each, rate) for each in panels.values())
    ticks = hz_to_mel(np.array(TICKS_HZ)) / float(hz_to_mel(SAMPLE_RATE / 2)) * N_MELS
    for index, (name, waveform) in enumerate(panels.items()):
        axes = figure.add_subplot(len(panels), 1, index + 1)
        axes.imshow(
            log_mel(resampled(waveform.astype(np.float64), rate, SAMPLE_RATE)),
            origin="lower",
            aspect="auto",
            extent=(0.0, len(waveform) / rate, 0.0, float(N_MELS)),
            cmap="magma",
            vmin=float(np.log(FLOOR)),
            vmax=top,
        )
        axes.set_xlim(0.0, seconds)
        axes.set_yticks(ticks, [f"{hz / 1000:g}k" for hz in TICKS_HZ])
        axes.set_title(name, loc="left", fontsize=9, pad=3)
        # All panels share the time axis: only the last one has numbers below.
        axes.tick_params(labelsize=8, length=2, pad=2, labelbottom=index + 1 == len(panels))
    figure.tight_layout(pad=0.4, h_pad=0.5)
    return save_png(figure, path)


def curves(arguments: argparse.Namespace) -> Path:
    """Draw lines of metrics.jsonl files; those of one title share a chart."""
    charts: dict[str, list[Series]] = {}
    for each in arguments.lines:
        match = re.fullmatch(r"(.+?)=(.+):(\w*):(\w+)", each)
        if match is None:
            raise ValueError(f"expected TITLE=FILE:SPLIT:KEY, SPLIT may be empty, got {each!r}")
        title, path, split, key = match.groups()
        # The last line of a training that was cut off may be torn.
        every = read_json_lines(path, torn="drop")
        rows = [row for row in every if not split or row.get("split") == split]
        points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        if not points:
            raise ValueError(f"{path}: expected rows of split {split!r} with {key!r}, found none")
        steps, values = zip(*points, strict=True)
        charts.setdefault(title, []).append(Series(split or key, steps, values))
    drawn = [LineChart(title, "step", "", series) for title, series in charts.items()]
    return save_line_charts(drawn, arguments.picture, columns=arguments.columns)


def table(arguments: argparse.Namespace) -> Path:
    """Put the figures of anchors.json, or Markdown as it is, between a card's markers."""
    source, card = arguments.figures, arguments.card
    is_markdown = source.suffix != ".json"
    text = read_file(source).decode("utf-8") if is_markdown else anchors_table(read_json(source))
    return write_text(card, filled(read_file(card).decode("utf-8"), arguments.name, text))


def filled(card: str, name: str, text: str) -> str:
    """Replace the text between the markers of a table.

    Raises:
        ValueError: The card has no such markers.
    """
    start, end = f"<!-- table {name} -->", "<!-- end -->"
    before, mark, rest = card.partition(start)
    _, closed, after = rest.partition(end)
    if not (mark and closed):
        raise ValueError(f"expected {start} and {end} in the card, found none")
    return f"{before}{start}\n\n{text.strip()}\n\n{end}{after}"


def anchors_table(
    figures: dict[str, Any],
    *,
    columns: Sequence[str] | None = None,
    systems: Mapping[str, str] | None = None,
    intervals: bool = True,
    origin: bool = True,
) -> str:
    """Lay out columns of an anchors.json, a row a system, and their provenance.

    Args:
        figures: Of the file.
        columns: Keys of `COLUMNS`; None for all that a system has.
        systems: Rows by their name in the file, with the name to show; None for all.
        intervals: Show the interval of each figure.
        origin: Tell clips and provenance below.

    Raises:
        ValueError: A system or a column that there is not.
    """
    shown_as = systems or {name: name for name in figures["systems"]}
    for name in shown_as:
        one_of("system", name, figures["systems"])
    systems = {name: figures["systems"][name] for name in shown_as}
    found = {
        # "stoi.pystoi04/stoi" -> "stoi/stoi": a column holds figures of any version of a metric.
        name: {re.sub(r"\.[^/]*/", "/", key): figure for key, figure in row["figures"].items()}
        for name, row in systems.items()
    }
    for key in columns or ():
        one_of("column", key, COLUMNS)
    shown = [key for key in columns or COLUMNS if any(key in row for row in found.values())]
    arrows = {True: " ↑", False: " ↓", None: ""}
    head = ["system", "kbit/s"]
    for key in shown:
        first = next(row[key] for row in found.values() if key in row)
        head.append(COLUMNS[key] + arrows[first["higher_is_better"]])
    lines = []
    for name, row in systems.items():
        label, rate = shown_as[name], row["measured_bitrate"]
        shown_rate = "-" if rate is None else f"{rate / 1000:.2f}"
        cells = [figure_text(found[name].get(key), intervals=intervals) for key in shown]
        lines.append([f"**{label}**" if row["is_ours"] else label, shown_rate, *cells])
    if not origin:
        return "\n".join(table_lines(head, lines))
    about, made = figures["subject"], figures["provenance"]
    # Figures of earlier releases count no speakers: their intervals are over clips.
    counts = [each.get("n_speakers", 0) for row in found.values() for each in row.values()]
    over = units_text(max(counts, default=0))
    rest = (
        f"{about['split']}: {about['clips']} clips, {speakers_text(about)}; mean"
        f"{f' and 95 % bootstrap interval over {over}' if intervals else ''}."
        f"{band_text(systems, shown)} "
        f"`{made['command']}`, {made['hardware']}, {made['date']}, commit `{made['commit'][:7]}`."
    )
    return "\n".join([*table_lines(head, lines), "", rest])


def band_text(systems: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Say within what band similarities of the corpus are to be read, "" without a band."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in systems.values():
        for metric_id, corpus in row.get("corpus", {}).items():
            ends = [corpus.get(name, {}).get("mean") for name in ("same_speaker", DIFFERENT)]
            family = metric_id.split(".")[0]
            if None not in ends and any(key.startswith(f"{family}/") for key in columns):
                found.setdefault(family, corpus)
    return "".join(
        f" Recordings of one speaker have a similarity of {each['same_speaker']['mean']:.2f}, "
        f"of two {each[DIFFERENT]['mean']:.2f}."
        for each in found.values()
    )


def speakers_text(subject: Mapping[str, Any]) -> str:
    """Count the speakers of a split, and those of them that other splits have, where known."""
    elsewhere = subject.get("speakers_elsewhere")
    text = f"{subject['speakers']} speakers"
    if elsewhere is None:
        return text
    return f"{text}, {elsewhere or 'none'} of them in another split"


def figure_text(figure: Mapping[str, Any] | None, *, intervals: bool = True) -> str:
    """`0.82 (0.81 to 0.83)`, "-" without a value."""
    if figure is None or figure["value"] is None:
        return "-"
    unit = "%" if figure["unit"] == "%" else ""
    text = number_text(figure["value"], unit=unit)
    if not (intervals and figure["ci95"]):
        return text
    low, high = (number_text(end, unit=unit).removesuffix("%").strip() for end in figure["ci95"])
    return f"{text} ({low} to {high})"


def main(argv: Sequence[str] | None = None) -> int:
    """Write a picture or a table; returns the exit status."""
    program = "python -m recipes.release.model_cards"
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=HelpFormatter
    )
    parser.add_argument("--version", action=ShowVersion)
    commands = parser.add_subparsers(required=True, metavar="mels|curves|table")

    def add(work: Callable[[argparse.Namespace], Path], summary: str) -> argparse.ArgumentParser:
        command = commands.add_parser(work.__name__, help=summary, formatter_class=HelpFormatter)
        command.set_defaults(work=work)
        return command

    each = add(mels, "a recording, reconstructed, and synthesized from text")
    each.add_argument("picture", type=Path, help="PNG to write")
    each.add_argument("--recording", type=Path, required=True)
    each.add_argument("--text", help="to synthesize beside it")
    each.add_argument("--voice", help="named voice of the language model")
    each.add_argument("--seed", type=whole_number(0), default=0)
    each.add_argument("--codec", default=CODEC)
    each.add_argument("--lm", default=LM)
    each = add(curves, "charts of metrics.jsonl files")
    each.add_argument("picture", type=Path, help="PNG to write")
    each.add_argument("lines", nargs="+", metavar="TITLE=FILE:SPLIT:KEY")
    each.add_argument("--columns", type=whole_number(1), default=3, help="charts in a row")
    each = add(table, "figures of anchors.json into a card")
    each.add_argument("card", type=Path, help="README.md with markers")
    each.add_argument("name", help="of the table")
    each.add_argument("figures", type=Path, help="anchors.json, or Markdown")
    arguments = parser.parse_args(argv)

    def work() -> int:
        print(arguments.work(arguments))
        return DONE

    return exit_status(work)


if __name__ == "__main__":
    raise SystemExit(main())

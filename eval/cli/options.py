"""Options, folders of audio and printed figures that the commands of `hh-eval` share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codec.command_line import print_report, whole_number
from codec.devices import DEVICE_HELP
from codec.files.json_lines import iter_json_lines
from codec.files.names import check_place, composed
from eval.metrics.normalizers import NORMALIZERS
from eval.metrics.registry import Selection, select_metrics, use_named_weights
from eval.metrics.wer import WerMetric
from eval.protocols import Metric
from eval.recognition.pocketsphinx import DIGITS, PocketSphinxRecognizer
from eval.scoring.pair import Pair
from eval.scoring.score_folder import require_kept
from eval.scoring.summary import number_text, units_note
from eval.sound import SUFFIXES, sound_files, the_only_file
from eval.weights import use_device

SHOWN_REASONS = 5


def add_metric_options(command: argparse.ArgumentParser) -> None:
    """Add --metrics, --weight, --device and --skip-unavailable, for `selected_metrics`."""
    command.add_argument(
        "--metrics",
        metavar="NAMES",
        help="comma-separated names of hh-eval doctor; 'default' for the default set, -NAME to "
        "drop one (default: all that apply)",
    )
    command.add_argument(
        "--weight",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="path of model weights; or HH_WEIGHT_NAME=PATH in the environment",
    )
    command.add_argument("--device", default="cpu", help=f"of networks: {DEVICE_HELP}")
    command.add_argument(
        "--skip-unavailable",
        action="store_true",
        help="leave out metrics that cannot run, naming them in run.json",
    )


def add_scoring_options(command: argparse.ArgumentParser, normalizer: str) -> None:
    """Add --words, --normalizer, --workers and --seed."""
    command.add_argument("--words", help="recognise only these: 'digits' or a comma-separated list")
    command.add_argument(
        "--normalizer",
        choices=sorted(NORMALIZERS),
        default=normalizer,
        help="of texts",
    )
    command.add_argument(
        "--workers", type=whole_number(0), default=0, help="processes beside this one"
    )
    command.add_argument("--seed", type=whole_number(0), default=0, help="seed of the intervals")


def selected_metrics(
    arguments: argparse.Namespace, default: Sequence[str], where_ready: Sequence[str]
) -> Selection:
    """Select the metrics of --metrics, or default ones and others that are ready to run.

    Those that were left out are named on standard error.

    Raises:
        ValueError: No such metric or device, or one that cannot run.
    """
    use_named_weights(arguments.weight)
    use_device(arguments.device)
    selection = select_metrics(
        arguments.metrics,
        default,
        where_ready=where_ready,
        skip_unavailable=arguments.skip_unavailable,
    )
    for name, reasons in selection.skipped.items():
        print(f"left out {name}: {'; '.join(reasons)}", file=sys.stderr)
    return selection


def _with_recognizer(metric: Metric, arguments: argparse.Namespace) -> Metric:
    if not isinstance(metric, WerMetric):
        return metric
    recognizer = metric.recognizer
    # Only pocketsphinx can be limited to a vocabulary.
    if arguments.words is not None and isinstance(recognizer, PocketSphinxRecognizer):
        words = DIGITS if arguments.words == "digits" else arguments.words.split(",")
        recognizer = PocketSphinxRecognizer(words)
    return replace(metric, recognizer=recognizer, normalizer=arguments.normalizer)


def with_recognizers(metrics: Sequence[Metric], arguments: argparse.Namespace) -> list[Metric]:
    """Give every WER the normaliser and the words of `add_scoring_options`.

    Raises:
        ValueError: --words, and no recogniser that can be limited to them.
    """
    limited = any(
        isinstance(metric, WerMetric) and isinstance(metric.recognizer, PocketSphinxRecognizer)
        for metric in metrics
    )
    if arguments.words is not None and not limited:
        names = ", ".join(metric.info.id.split(".")[0] for metric in metrics)
        raise ValueError(f"expected wer or wer_original among the metrics for --words, got {names}")
    return [_with_recognizer(metric, arguments) for metric in metrics]


def folder_pairs(ref_dir: Path, hyp_dir: Path, texts: dict[str, str]) -> list[Pair]:
    """Match the files of two folders; a recording without a decoded file is counted as failed.

    The folder of a recording, below REF_DIR, is the name of its speaker, see `speaker_of`.

    Raises:
        ValueError: No such folder, no audio in it, or two files of one name.
    """
    references, estimates = audio_files(ref_dir), audio_files(hyp_dir)
    unmatched = sorted(set(estimates) - set(references))
    if unmatched:
        print(
            f"{len(unmatched)} files of {hyp_dir} have no recording and are not scored: "
            f"{', '.join(unmatched[:5])}",
            file=sys.stderr,
        )
    return [
        Pair(
            name,
            path,
            # A path where no file is, so that scoring fails for this item and names it.
            estimates.get(name, hyp_dir / f"{name}.wav"),
            texts.get(name, ""),
            speaker_of(name),
        )
        for name, path in references.items()
    ]


def speaker_of(name: str) -> str:
    """Name the speaker of a recording by its path below the folder; "" where it lies in none.

    It is the folder that the recording lies in, but in the layout of LibriSpeech and LibriTTS,
    speaker/chapter/speaker-chapter-number, the one above: a speaker has several chapters.
    """
    path = Path(name)
    chapter, speaker = path.parent.name, path.parent.parent.name
    if speaker and path.name.startswith((f"{speaker}-{chapter}-", f"{speaker}_{chapter}_")):
        return speaker
    return chapter


def audio_files(folder: Path) -> dict[str, Path]:
    """Find audio files, by their path below the folder without suffix, sorted.

    Accents of names are composed: some systems write them so, and others not.

    Raises:
        ValueError: No folder, no audio in it, or two files of one name.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder with audio files, got {folder}")
    found = sound_files(folder)
    if not found:
        raise ValueError(f"expected audio files ({', '.join(SUFFIXES)}) in {folder}, got none")
    return {name: the_only_file(name, paths) for name, paths in found.items()}


def read_texts(path: Path | None) -> dict[str, str]:
    """Read transcripts by id, composed, from JSON lines of {"id", "text"}; {} without a file.

    Raises:
        ValueError: No such file, or a line that is no JSON object with an "id" of its own; an id
            or a text that is no text.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise ValueError(f"expected a JSON-lines file with texts, got {path}")
    texts: dict[str, str] = {}
    for number, row in iter_json_lines(path, required=("id",)):
        item, text = row["id"], row.get("text")
        # A number is what some programs make of an id.
        if type(item) not in (str, int) or not isinstance(text, str | None):
            raise ValueError(f"{path}:{number}: expected an id and a text, got {row!r:.80}")
        if text is None:
            continue
        name = composed(str(item))
        if name in texts:
            raise ValueError(f"{path}:{number}: expected {item!r} once, got it again")
        texts[name] = text
    return texts


def output_folder(named: Path | None, scored: Path, metrics: Sequence[Metric]) -> Path:
    """Choose the folder of the results: the one named, else `scored` with .eval added.

    Raises:
        ValueError: The latter holds the summary of metrics that are not among these, or cannot be
            named; or a file is in its way.
        PermissionError: The folder takes no files.
    """
    if named is not None:
        check_place(named, is_folder=True)
        return named
    # "." has no name, and ".." one that would make a folder of this one.
    whole = scored if scored.name not in ("", "..") else Path(os.path.abspath(scored))
    if not whole.name:
        raise ValueError(f"expected --out FOLDER for the results of {scored}, got none")
    folder = whole.with_name(whole.name + ".eval")
    require_kept(folder, metrics)
    check_place(folder, is_folder=True)
    return folder


def print_summary(summary: dict[str, Any], page: Path, *, as_json: bool) -> None:
    """Print the figures of a summary and the path of its report."""
    if as_json:
        print_report({**summary, "report": str(page)}, as_json=True)
        return
    for metric_id, metric in summary["metrics"].items():
        for name, figure in metric["figures"].items():
            unit = figure["unit"]
            ends = figure["ci95"] or ()
            value = "-" if figure["value"] is None else number_text(figure["value"], unit=unit)
            interval = ", ".join(number_text(end, unit=unit) for end in ends)
            interval = f"[{interval}]" if ends else "-"
            done = f"{figure['n_ok']}/{figure['n_expected']}"
            print(f"{metric_id:34} {name:18} {value:>12} {interval:>26} {done:>9}")
            # Of a pooled rate published figures are often the mean over utterances.
            if figure["aggregate"] == "pooled" and figure["mean"] is not None:
                mean = number_text(figure["mean"], unit=unit)
                ends = [number_text(end, unit=unit) for end in figure["mean_ci95"] or ()]
                interval, label = f"[{', '.join(ends)}]", f"{name}, mean"
                print(f"{metric_id:34} {label:18} {mean:>12} {interval:>26} {done:>9}")
        for name, value in metric.get("corpus", {}).items():
            print(f"{metric_id:34} {name:18} {_corpus_text(value)}")
        for line in failure_lines(metric["failures"]):
            print(f"{metric_id:34} {line}")
    print(f"intervals: 95 %, over {units_note([summary])}")
    print(page)


def failure_lines(failures: Sequence[dict[str, str]]) -> list[str]:
    """Describe failed clips, one line a reason, the most frequent first; at most SHOWN_REASONS."""
    by_reason: dict[str, list[str]] = {}
    for failure in failures:
        by_reason.setdefault(failure["reason"], []).append(failure["id"])
    ranked = sorted(by_reason.items(), key=lambda found: -len(found[1]))
    lines = []
    for reason, ids in ranked[:SHOWN_REASONS]:
        more = ", ..." if len(ids) > 3 else ""
        lines.append(f"failed {len(ids)} ({', '.join(ids[:3])}{more}): {reason}")
    rest = sum(len(ids) for _, ids in ranked[SHOWN_REASONS:])
    return [*lines, *([f"failed {rest} more: see the report"] if rest else [])]


def _corpus_text(value: Any) -> str:
    """Format a figure of the whole corpus in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_corpus_text(each)}" for name, each in value.items())
    return "-" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)

"""`hh-eval codec`: scores of decoded files against their recordings."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.metrics.asr_pocketsphinx import DIGITS, PocketSphinxRecognizer
from eval.metrics.registry import (
    INTELLIGIBILITY,
    RECONSTRUCTION,
    WHERE_READY,
    Selection,
    select_metrics,
)
from eval.metrics.wer import WerMetric
from eval.protocols import Metric
from eval.reporting.report import Clip, write_report
from eval.reporting.sections import folder_report, item_notes, worst_items
from eval.scoring.score import score_pairs
from eval.sound import load_sound
from eval.weights import parse_weights, use_weights

from .options import (
    Commands,
    add_command,
    add_metric_options,
    add_scoring_options,
    folder_pairs,
    print_summary,
    provenance,
    read_texts,
    say_skipped,
)

WORST_CLIPS = 5

EXAMPLES = """examples:
  hh-eval codec recordings/ decoded/
  hh-eval codec recordings/ decoded/ --out scores/mini --workers 2 --json
  hh-eval codec recordings/ decoded/ --texts texts.jsonl --metrics stoi,pitch,wer_original,wer
  hh-eval codec recordings/ decoded/ --metrics default,utmos22 --weight utmos22_strong=FILE.pt
  hh-eval codec recordings/ decoded/ --metrics=-mcd_mel
  hh-eval report scores/mini
"""


def add(commands: Commands) -> None:
    """Adds the command."""
    codec = add_command(
        commands,
        "codec",
        run,
        summary="score a folder of decoded files against their recordings",
        description="Files are matched by their path below each folder, without suffix. Exits "
        "with 1 when a file of REF_DIR has no match or cannot be scored.",
        examples=EXAMPLES,
    )
    codec.add_argument("ref_dir", type=Path, metavar="REF_DIR", help="recordings")
    codec.add_argument("hyp_dir", type=Path, metavar="HYP_DIR", help="decoded files")
    codec.add_argument("--out", type=Path, help="results (default: HYP_DIR with .eval added)")
    add_metric_options(codec)
    codec.add_argument("--texts", type=Path, help='JSON lines {"id": "...", "text": "..."} for WER')
    add_scoring_options(codec, normalizer="basic")


def run(arguments: argparse.Namespace) -> int:
    """Scores HYP_DIR against REF_DIR and writes the report."""
    texts = read_texts(arguments.texts)
    selection = _chosen_metrics(arguments, has_texts=bool(texts))
    metrics = selection.metrics
    say_skipped(selection.skipped)
    pairs = folder_pairs(arguments.ref_dir, arguments.hyp_dir, texts)
    out = arguments.out or arguments.hyp_dir.with_name(arguments.hyp_dir.name + ".eval")
    summary = score_pairs(
        pairs,
        metrics,
        out,
        num_workers=arguments.workers,
        seed=arguments.seed,
        record={"skipped_metrics": selection.skipped},
    )
    by_id = {pair.id: pair for pair in pairs}
    clips = [
        Clip(
            pair.id,
            pair.text,
            item_notes(out, pair.id),
            {"original": _audio(pair.reference), "reconstructed": _audio(pair.estimate)},
        )
        for pair in (by_id[name] for name in worst_items(out, summary, (), WORST_CLIPS))
    ]
    report = folder_report(out, clips=clips, provenance=provenance())
    page = write_report(report, out / "report.html")
    print_summary(summary, page, as_json=arguments.json)
    failed = sum(metric["n_failed"] for metric in summary["metrics"].values())
    return 1 if failed else 0


def _chosen_metrics(arguments: argparse.Namespace, *, has_texts: bool) -> Selection:
    """Metrics of --metrics, else all that apply, the recogniser closed to --words."""
    use_weights(parse_weights(arguments.weight))
    chosen = select_metrics(
        arguments.metrics,
        (*RECONSTRUCTION, *(INTELLIGIBILITY if has_texts else ())),
        where_ready=WHERE_READY,
        skip_unavailable=arguments.skip_unavailable,
    )
    return replace(
        chosen, metrics=[_heard(m, arguments.words, arguments.normalizer) for m in chosen.metrics]
    )


def _heard(metric: Metric, words: str | None, normalizer: str) -> Metric:
    """A WER with the normaliser asked for, pocketsphinx closed to words; others as they are."""
    if not isinstance(metric, WerMetric):
        return metric
    recognizer = metric.recognizer
    if words is not None and isinstance(recognizer, PocketSphinxRecognizer):
        recognizer = PocketSphinxRecognizer(DIGITS if words == "digits" else words.split(","))
    return replace(metric, recognizer=recognizer, normalizer=normalizer)


def _audio(source: Any) -> tuple[Any, int]:
    """Waveform and rate of a source that could be scored."""
    sound = load_sound(source)
    return sound.waveform, sound.sample_rate

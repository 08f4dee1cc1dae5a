"""`hh-eval codec`: score decoded files against their recordings."""

from __future__ import annotations

import argparse
from pathlib import Path

from codec.command_line import Commands, add_command
from codec.provenance import provenance
from eval.metrics.registry import (
    INTELLIGIBILITY,
    RECONSTRUCTION,
    WHERE_READY,
    use_named_weights,
    with_whisper,
)
from eval.reporting.report import write_report
from eval.reporting.sections import folder_report, worst_clips
from eval.scoring.score import require_parts, score_pairs

from .options import (
    add_metric_options,
    add_scoring_options,
    folder_pairs,
    output_folder,
    print_summary,
    read_texts,
    selected_metrics,
    with_recognizers,
)

EXAMPLES = """examples:
  hh-eval codec recordings/ decoded/
  hh-eval codec recordings/ decoded/ --out scores/mini --workers 2 --json
  hh-eval codec recordings/ decoded/ --texts texts.jsonl --metrics stoi,pitch,wer_original,wer
  hh-eval codec recordings/ decoded/ --metrics default,utmos22 --weight utmos22_strong=FILE.pt
  hh-eval codec recordings/ decoded/ --metrics=-mcd_mel
  hh-eval report scores/mini
"""


def add(commands: Commands) -> None:
    """Add the command."""
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
    """Score HYP_DIR against REF_DIR and write the report."""
    texts = read_texts(arguments.texts)
    # Recognition has something to compare with only where there are texts.
    default = (*RECONSTRUCTION, *(INTELLIGIBILITY if texts else ()))
    use_named_weights(arguments.weight)
    whisper = with_whisper(INTELLIGIBILITY)[len(INTELLIGIBILITY) :] if texts else []
    selection = selected_metrics(arguments, default, (*WHERE_READY, *whisper))
    pairs = folder_pairs(arguments.ref_dir, arguments.hyp_dir, texts)
    metrics = with_recognizers(selection.metrics, arguments)
    if not texts and any("text" in metric.info.needs for metric in metrics):
        raise ValueError("expected --texts FILE for word error rates, got none")
    require_parts(pairs, metrics)
    out = output_folder(arguments.out, arguments.hyp_dir, metrics)
    summary = score_pairs(
        pairs,
        metrics,
        out,
        num_workers=arguments.workers,
        seed=arguments.seed,
        record={"skipped_metrics": selection.skipped},
    )
    sources = {
        "original": {pair.id: pair.reference for pair in pairs},
        "reconstructed": {pair.id: pair.estimate for pair in pairs},
    }
    clips = worst_clips(out, summary, sources, texts=texts)
    report = folder_report(out, clips=clips, provenance=provenance("hh-eval"))
    page = write_report(report, out / "report.html")
    print_summary(summary, page, as_json=arguments.json)
    failed = sum(metric["n_failed"] for metric in summary["metrics"].values())
    return 1 if failed else 0

"""`hh-eval tts`: score generated speech, from text or continued."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codec.command_line import Commands, add_command
from codec.files import write_json
from codec.files.json_lines import read_lines
from codec.provenance import provenance
from eval.metrics.duration import DeliveryMetric
from eval.metrics.registry import (
    Selection,
    is_asked_for,
    use_named_weights,
    with_whisper,
)
from eval.metrics.wer import WerMetric
from eval.protocols import Metric
from eval.reporting.generation import RANKED_BY, generation_report
from eval.reporting.report import write_report
from eval.scoring.generated import (
    WordModel,
    read_generation,
    read_records,
    recordings_as_estimates,
    text_figures,
    train_word_model,
    transcripts_of,
)
from eval.scoring.pair import Pair
from eval.scoring.score import require_parts, score_pairs

from .options import (
    add_metric_options,
    add_scoring_options,
    output_folder,
    print_summary,
    selected_metrics,
    with_recognizers,
)

EXAMPLES = """examples:
  hh-eval tts meta.lst spoken/ --out scores/tts
  hh-eval tts manifest.jsonl spoken/ --metrics default,distillmos --workers 2
  hh-eval tts meta.lst spoken/ --metrics default,wer_whisper --weight whisper=FOLDER
  hh-eval tts continuations.jsonl continued/ --recordings --text-model corpus.txt
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "tts",
        run,
        summary="score generated speech against its text, its prompt and the true utterance",
        description="META is a meta.lst of seed-tts-eval (utt|prompt_text|prompt_wav|text"
        '[|reference_wav]) or JSON lines {"id", "text", "prompt", "reference", "speaker"}. '
        "WAV_DIR holds <utt>.wav, and may hold generation.jsonl (truncated, codes, frame_rate). "
        "Exits with 1 when a file is missing or cannot be scored.",
        examples=EXAMPLES,
    )
    command.add_argument("meta", type=Path, metavar="META", help="texts, prompts and references")
    command.add_argument("wav_dir", type=Path, metavar="WAV_DIR", help="generated speech")
    command.add_argument("--out", type=Path, help="results (default: WAV_DIR with .eval added)")
    add_metric_options(command)
    command.add_argument("--record", type=Path, help="record of the generator, JSON lines")
    command.add_argument(
        "--recordings",
        action="store_true",
        help="score the true utterances likewise, as the column 'recording'",
    )
    command.add_argument(
        "--text-model",
        type=Path,
        metavar="FILE",
        help="lines of text to train a 3-gram model on, for generative perplexity beside that "
        "of the recordings (implies --recordings where META has references)",
    )
    add_scoring_options(command, normalizer="seedtts")


def run(arguments: argparse.Namespace) -> int:
    """Score WAV_DIR and write the report."""
    pairs = read_generation(arguments.meta, arguments.wav_dir)
    chosen = _chosen(arguments, pairs)
    model = _text_model(arguments.text_model)
    require_parts(pairs, chosen.metrics)
    out = output_folder(arguments.out, arguments.wav_dir, chosen.metrics)
    versions = {"generated": (pairs, out, chosen.metrics)}
    # A perplexity is only comparable with that of real speech through the same recogniser.
    has_references = any(pair.reference is not None for pair in pairs)
    if arguments.text_model is not None and not has_references:
        print("no references: no perplexity of real speech to compare with", file=sys.stderr)
    if arguments.recordings or (arguments.text_model is not None and has_references):
        true = recordings_as_estimates(pairs)
        if not true:
            raise ValueError(f"expected references in {arguments.meta} for --recordings, got none")
        # A record is of what was generated, not of the recordings.
        plain = [DeliveryMetric() if isinstance(m, DeliveryMetric) else m for m in chosen.metrics]
        versions["recording"] = (true, out / "recording", plain)
    summaries = {
        name: score_pairs(
            items,
            metrics,
            folder,
            num_workers=arguments.workers,
            seed=arguments.seed,
            record={"skipped_metrics": chosen.skipped, "version": name},
        )
        for name, (items, folder, metrics) in versions.items()
    }
    # Figures of all transcripts together, by version, beside those of each clip.
    texts = _texts(model, {name: (f, m) for name, (_, f, m) in versions.items()})
    write_json(out / "text.json", texts)
    report = generation_report(out, pairs, summaries, texts, provenance=provenance("hh-eval"))
    page = write_report(report, out / "report.html")
    whole = {**summaries["generated"], "text": texts}
    print_summary(whole, page, as_json=arguments.json)
    if texts and not arguments.json:
        print(json.dumps(texts, indent=2))
    failed = sum(m["n_failed"] for s in summaries.values() for m in s["metrics"].values())
    return 1 if failed else 0


def _chosen(arguments: argparse.Namespace, pairs: Sequence[Pair]) -> Selection:
    """Select the metrics of --metrics, else all that the list has the parts for."""
    use_named_weights(arguments.weight)
    # Silence and runaway need nothing but the speech itself.
    default, where_ready = ["delivery"], ["dnsmos", "distillmos"]
    if any(pair.reference is not None for pair in pairs):
        default += ["duration", "prosody"]
    if any(pair.prompt is not None for pair in pairs):
        where_ready.insert(0, "speaker_sim_prompt")
        if is_asked_for("wavlm_sim_prompt"):
            where_ready.insert(1, "wavlm_sim_prompt")
    if any(pair.text for pair in pairs):
        where_ready = [*with_whisper(["wer"]), *where_ready]
    chosen = selected_metrics(arguments, default, where_ready)
    if arguments.text_model is not None and _transcribing_metric(chosen.metrics) is None:
        raise ValueError("expected wer among the metrics for --text-model, got none")
    records = read_records(arguments.record, arguments.wav_dir, [pair.id for pair in pairs])
    metrics = with_recognizers(chosen.metrics, arguments)
    return replace(
        chosen,
        metrics=[DeliveryMetric(records) if isinstance(m, DeliveryMetric) else m for m in metrics],
    )


def _text_model(path: Path | None) -> WordModel | None:
    """Train the model of --text-model, before any audio is read."""
    if path is None:
        return None
    if not path.is_file():
        raise ValueError(f"expected a file of text, got {path}")
    return train_word_model([line for _, line in read_lines(path)])


def _texts(
    model: WordModel | None, versions: dict[str, tuple[Path, Sequence[Metric]]]
) -> dict[str, Any]:
    """Compute diversity of the transcripts, and perplexity given a text model, by version."""
    texts = {}
    for name, (folder, metrics) in versions.items():
        metric_id = _transcribing_metric(metrics)
        if metric_id is not None:
            found = text_figures(transcripts_of(folder, metric_id), model)
            texts[name] = {"recognizer": metric_id, **found}
    return texts


def _transcribing_metric(metrics: Sequence[Metric]) -> str | None:
    """Id of the metric whose transcripts of the speech count: the best recogniser's."""
    of_speech = [m for m in metrics if isinstance(m, WerMetric) and m.part == "estimate"]
    order = {family: rank for rank, family in enumerate(RANKED_BY)}
    best = min(of_speech, key=lambda metric: order.get(metric.family, len(order)), default=None)
    return None if best is None else best.info.id

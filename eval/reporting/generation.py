"""Report pages of generated speech and of likelihood tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.protocols import MetricError
from eval.scoring.score import Pair
from eval.sound import AudioSource, load_sound

from .charts import similarity_charts
from .report import Cell, Clip, Estimate, Failure, Report, Table
from .sections import item_notes, summary_failures, summary_table, worst_items

WORST_CLIPS = 5
RULES = {
    "sum": "log-likelihood of all tokens",
    "mean": "the same a token",
    "length": "the shorter wins; needs no model",
    "local": "tokens just after the change",
    "after": "all tokens after the change",
}
# By these, the first one scored, clips are ranked.
RANKED_BY = ("wer", "speaker_sim_prompt", "delivery", "prosody")
_TEXT_ROWS = {
    "perplexity": ("generative perplexity", ""),
    "perplexity_median": ("median of clips", ""),
    "unknown_words": ("words the text model does not know", "%"),
    "auto_bleu_2": ("auto-BLEU-2 (repetition within a clip)", "%"),
    "self_bleu_2": ("self-BLEU-2 (likeness of clips)", "%"),
    "distinct_1": ("distinct words", "%"),
    "distinct_2": ("distinct pairs of words", "%"),
    "texts": ("clips heard", ""),
    "units": ("words heard", ""),
    "empty": ("clips without a word", ""),
}


def generation_report(
    folder: Path,
    pairs: Sequence[Pair],
    summaries: dict[str, dict[str, Any]],
    texts: Mapping[str, dict[str, Any]],
    *,
    title: str = "",
    provenance: dict[str, str] | None = None,
) -> Report:
    """Page of generated speech.

    Args:
        folder: Scores of the generated speech.
        pairs: What was scored there.
        summaries: "generated" and, where scored, "recording".
        texts: `text_figures` of each of these.
        title: Heading.
        provenance: What was run.
    """
    summary = summaries["generated"]
    definitions = [[metric_id, m["definition"]] for metric_id, m in summary["metrics"].items()]
    note = (
        ""
        if "recording" not in summaries
        else ("Column recording: the same pipeline on the true utterances.")
    )
    clips = worst_items(folder, summary, RANKED_BY, WORST_CLIPS)
    by_id = {pair.id: pair for pair in pairs}
    failures = [f for name, s in summaries.items() for f in summary_failures(s, name)]
    return Report(
        title=title or f"Generated speech, {folder.resolve().name}",
        subtitle=f"{summary['n_expected']} utterances",
        failures=failures,
        tables=[
            summary_table("Figures", summaries, note=note),
            _text_table(texts),
            Table("Definitions", ("metric", "what is computed"), definitions),
        ],
        curves=similarity_charts(folder, summary),
        clips=[generated_clip(by_id[name], item_notes(folder, name)) for name in clips],
        provenance=provenance or {},
    )


def _text_table(texts: Mapping[str, dict[str, Any]]) -> Table:
    """Perplexity beside diversity, by version."""
    rows: list[list[Cell]] = []
    for key, (label, unit) in _TEXT_ROWS.items():
        found = [figures.get(key) for figures in texts.values()]
        if any(value is not None for value in found):
            rows.append([label, *(Estimate(value, unit=unit) for value in found)])
    return Table(
        "What was heard",
        ["figure", *texts],
        rows,
        "Perplexity alone rewards speech that a recogniser turns into fluent words: read it beside "
        "the diversity, and both beside the recordings.",
    )


def generated_clip(pair: Pair, notes: dict[str, str]) -> Clip:
    """Prompt, true utterance and generated speech of an item, those that can be read."""
    sources: dict[str, AudioSource | None] = {
        "prompt": pair.prompt,
        "recording": pair.reference,
        "generated": pair.estimate,
    }
    audio: dict[str, tuple[np.ndarray, int]] = {}
    for label, source in sources.items():
        if source is not None:
            try:
                sound = load_sound(source)
            except MetricError:
                continue
            audio[label] = (sound.waveform, sound.sample_rate)
    return Clip(pair.id, pair.text, notes, audio)


def likelihood_report(
    result: dict[str, Any], *, title: str = "", provenance: dict[str, str] | None = None
) -> Report:
    """Page of likelihood tests, from `pair_accuracies`."""
    suites = result["suites"]
    rules = [r for r in RULES if any(r in p for s in suites.values() for p in s.values())]
    rows: list[list[Cell]] = []
    for suite, parts in suites.items():
        for part, found in parts.items():
            label = suite if part == "all" else f"{suite}: {part}"
            rows.append([label, *(_accuracy_cell(found.get(rule)) for rule in rules)])
    note = "; ".join(f"{rule}: {RULES[rule]}" for rule in rules)
    return Report(
        title=title or "Likelihood tests",
        subtitle=f"{result['n_ok']} of {result['n_expected']} pairs",
        failures=[Failure(f["id"], "likelihood", f["reason"]) for f in result["failures"]],
        tables=[
            Table(
                "Better recording found likelier",
                ["test", *rules],
                rows,
                f"Chance is 50 %; a tie counts half; small print: 95 % Wilson interval. {note}.",
            )
        ],
        provenance=provenance or {},
    )


def _accuracy_cell(found: dict[str, Any] | None) -> Cell:
    """A share with its interval and the pairs it rests on."""
    if found is None:
        return None
    ties = f", {found['ties']} ties" if found["ties"] else ""
    return Estimate(
        found["share"], found["low"], found["high"], "%", note=f"{found['pairs']} pairs{ties}"
    )

"""Report pages of generated speech and of likelihood tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.scoring.pair import Pair

from .charts import similarity_charts
from .report import Cell, Estimate, Failure, Report, Table
from .sections import corpus_tables, summary_failures, summary_table, worst_clips

RULES = {
    "sum": "log-likelihood of all tokens",
    "mean": "the same a token",
    "length": "the shorter wins; needs no model",
    "local": "tokens just after the change",
    "after": "all tokens after the change",
}
# Clips are ranked by the first of these that was scored.
RANKED_BY = ("wer_whisper", "wer_moonshine", "wer", "speaker_sim_prompt", "delivery", "prosody")
_TEXT_ROWS = {
    "perplexity": ("generative perplexity", ""),
    "perplexity_median": ("median of clips", ""),
    "unknown_words": ("words the text model does not know", "%"),
    "auto_bleu_2": ("auto-BLEU-2 (repetition within a clip)", "%"),
    "self_bleu_2": ("self-BLEU-2 (likeness of clips)", "%"),
    "distinct_1": ("distinct words", "%"),
    "distinct_2": ("distinct pairs of words", "%"),
    "texts": ("clips recognised", ""),
    "units": ("words recognised", ""),
    "empty": ("clips without a word", ""),
}


def generation_report(
    folder: Path,
    pairs: Sequence[Pair],
    summaries: dict[str, dict[str, Any]],
    texts: Mapping[str, dict[str, Any]],
    *,
    provenance: dict[str, str] | None = None,
) -> Report:
    """Build the page of generated speech.

    Args:
        folder: Scores of the generated speech.
        pairs: Items that were scored there.
        summaries: "generated" and, where scored, "recording".
        texts: `text_figures` of each of these.
        provenance: Command, commit and so on, by name.
    """
    summary = summaries["generated"]
    definitions = [[metric_id, m["definition"]] for metric_id, m in summary["metrics"].items()]
    has_recordings = "recording" in summaries
    note = "Column recording: the same metrics on the true utterances." if has_recordings else ""
    sources = {
        "prompt": {pair.id: pair.prompt for pair in pairs},
        "recording": {pair.id: pair.reference for pair in pairs},
        "generated": {pair.id: pair.estimate for pair in pairs},
    }
    spoken = {pair.id: pair.text for pair in pairs}
    failures = [f for name, s in summaries.items() for f in summary_failures(s, name)]
    return Report(
        title=f"Generated speech, {folder.resolve().name}",
        subtitle=f"{summary['n_expected']} utterances",
        failures=failures,
        tables=[
            summary_table("Figures", summaries, note=note),
            *corpus_tables(summaries),
            _text_table(texts),
            Table("Definitions", ("metric", "what is computed"), definitions),
        ],
        charts=similarity_charts(folder, summary),
        clips=worst_clips(folder, summary, sources, families=RANKED_BY, texts=spoken),
        provenance=provenance or {},
    )


def _text_table(texts: Mapping[str, dict[str, Any]]) -> Table:
    """Tabulate perplexity and diversity by version."""
    rows: list[list[Cell]] = []
    recognizers = dict.fromkeys(str(each.get("recognizer", "")) for each in texts.values())
    for key, (label, unit) in _TEXT_ROWS.items():
        found = [figures.get(key) for figures in texts.values()]
        if any(value is not None for value in found):
            rows.append([label, *(Estimate(value, unit=unit) for value in found)])
    return Table(
        "Transcripts",
        ["figure", *texts],
        rows,
        f"Words of {', '.join(recognizers)}. Perplexity alone rewards speech that a recogniser "
        "turns into fluent words: compare the diversity as well, and both with the recordings.",
    )


def likelihood_report(
    result: dict[str, Any], *, provenance: dict[str, str] | None = None
) -> Report:
    """Build the page of likelihood tests from `pair_accuracies`."""
    suites = result["suites"]
    # A column a rule that some test was scored by, a row a part of a test.
    rules = [r for r in RULES if any(r in p for s in suites.values() for p in s.values())]
    rows: list[list[Cell]] = []
    for suite, parts in suites.items():
        for part, found in parts.items():
            label = suite if part == "all" else f"{suite}: {part}"
            rows.append([label, *(_accuracy_cell(found.get(rule)) for rule in rules)])
    note = "; ".join(f"{rule}: {RULES[rule]}" for rule in rules)
    return Report(
        title="Likelihood tests",
        subtitle=f"{result['n_ok']} of {result['n_expected']} pairs",
        failures=[Failure(f["id"], "likelihood", f["reason"]) for f in result["failures"]],
        tables=[
            Table(
                "Better recording found likelier",
                ["test", *rules],
                rows,
                f"Chance is 50 %; a tie counts half; small print: 95 % Wilson interval, wider "
                f"where pairs of one speaker or of one item (a group) resemble each other. {note}.",
            )
        ],
        provenance=provenance or {},
    )


def _accuracy_cell(found: dict[str, Any] | None) -> Cell:
    """Format a share with its interval and its number of pairs."""
    if found is None:
        return None
    ties = f", {found['ties']} ties" if found["ties"] else ""
    # Absent from figures of earlier releases.
    groups = found.get("groups") or found["pairs"]
    of = f" of {groups} groups" if groups < found["pairs"] else ""
    note = f"{found['pairs']} pairs{of}{ties}"
    return Estimate(found["share"], found["low"], found["high"], "%", note=note)

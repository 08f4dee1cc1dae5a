"""Word errors of a run's language model as a recogniser, beside those of Whisper.

    python -m recipes.comparisons.transcribe recipes/configs/transcribe_mini.yaml run=runs/mine
        --weight whisper=FOLDER

The model of run/train_slm transcribes the codes of a split; Whisper, where its folder is named,
the recordings that they are of. Texts, figures and table are run/transcribe/SPLIT.jsonl, .json and
.md; intervals are over speakers where there is more than one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from codec.audio.store import AudioStore
from codec.command_line import DONE, exit_status, print_report, whole_number
from codec.files import write_json, write_text
from codec.files.json_lines import write_json_lines
from codec.provenance import provenance
from eval.metrics.normalizers import NORMALIZERS, normalize_text
from eval.metrics.registry import use_named_weights
from eval.metrics.wer import character_edits, word_edits
from eval.recognition.whisper import WHISPER
from eval.recognition.whisper_ctranslate2 import whisper_recognizer
from eval.scoring.bootstrap import Interval, group_count, paired_rates, pooled_rate
from eval.scoring.summary import number_text
from eval.weights import is_named, require_weight
from recipes.corpora.manifest import SPLITS
from recipes.runner.cli import make_parser
from recipes.runner.config import Config, load_config, thread_count
from recipes.runner.markdown import table_lines
from recipes.runner.stages import say, stage_folder
from slm import TokenStore
from slm.generation.config import TranscriptionSettings
from slm.generation.transcription import most_codes
from slm.synthesis.transcriber import Transcriber
from slm.text.tokenizer import Tokenizer

PROGRAM = "python -m recipes.comparisons.transcribe"
# Systems by the names of their figures.
OWN, WHISPER_NAME = "language_model", "whisper"


def run_transcribe(
    config: Config,
    *,
    split: str = "valid",
    settings: TranscriptionSettings | None = None,
    limit: int | None = None,
    normalizer: str = "basic",
    argv: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Transcribe a split and write texts, figures and table.

    Args:
        config: Of the run.
        split: One of `SPLITS`.
        settings: Of the search.
        limit: Recordings, at most; None for all.
        normalizer: Of references and texts, see `eval.metrics.normalizers.normalize_text`.
        argv: Words of the call, for the provenance; None for the process's.

    Returns:
        The figures.

    Raises:
        ValueError: A model that was not trained to transcribe, codes of another codec, no
            recording with a text, or a folder of Whisper that is named and not there.
    """
    # Before anything is transcribed: a wrong path must not leave out Whisper without a word.
    by_whisper = is_named(WHISPER)
    if by_whisper:
        require_weight(WHISPER)
    torch.set_num_threads(thread_count(config))
    transcriber = Transcriber.from_pretrained(stage_folder(config, "train_slm") / "model")
    names = transcriber.lm.config.codec_fingerprint
    store = TokenStore(stage_folder(config, "encode_corpus") / split, names)
    store.check()
    rows, left_out = wanted_rows(store, transcriber, normalizer)
    rows = rows[:limit]
    if not rows:
        raise ValueError(f"expected recordings with a text in {store.folder}, got none that fit")
    # 1. Texts by each system.
    say("transcribe", f"{len(rows)} recordings of {split}")
    codes = [store.codes(row["index"]) for row in rows]
    with tqdm(total=len(rows), unit="recording", disable=None, file=sys.stderr) as bar:

        def notify(done: int) -> None:
            bar.update(done - bar.n)

        made = transcriber.transcribe(codes, settings, on_progress=notify)
    texts, suspect = {OWN: [each.text for each in made]}, None
    if by_whisper:
        say("transcribe", "the same recordings by Whisper")
        texts[WHISPER_NAME], suspect = whisper_texts(config, split, rows, transcriber.tokenizer)
    # 2. Figures, pooled over recordings.
    figures = {
        "split": split,
        "left_out": left_out,
        "truncated": sum(each.truncated for each in made),
        # Recordings of which Whisper may have invented words; None without Whisper.
        "possibly_invented": suspect,
        "settings": asdict(settings or TranscriptionSettings()),
        **compared(rows, texts, normalizer),
        "provenance": provenance(PROGRAM, argv),
    }
    # 3. Written side by side.
    folder = Path(config.run) / "transcribe"
    listed = [
        {"id": row["id"], "speaker": row["speaker"], "text": row["text"]}
        | {name: found[number] for name, found in texts.items()}
        | {"log_likelihood": made[number].log_likelihood}
        for number, row in enumerate(rows)
    ]
    write_json_lines(folder / f"{split}.jsonl", listed)
    write_json(folder / f"{split}.json", figures)
    write_text(folder / f"{split}.md", markdown(figures))
    return figures


def wanted_rows(
    store: TokenStore, transcriber: Transcriber, normalizer: str
) -> tuple[list[dict[str, Any]], int]:
    """Select the recordings that have a text and fit the model; and count those too long.

    Texts are references as they are spoken: numbers in words, as the model spells them. Copies
    of a recording, shifted or played at another speed, are passed over.
    """
    longest, found, too_long = most_codes(transcriber.lm.config), [], 0
    for index, row in enumerate(store.rows):
        spoken = transcriber.tokenizer.spoken(row.get("text") or "", row.get("lang") or "en")
        if {"base_id", "recorded_id"} & row.keys() or not normalize_text(spoken, normalizer):
            continue
        if row["num_codes"] > longest:
            too_long += 1
            continue
        about = {"id": row["id"], "text": spoken, "speaker": str(row.get("speaker") or "")}
        found.append({"index": index, "lang": row.get("lang") or "en", **about})
    return found, too_long


def whisper_texts(
    config: Config, split: str, rows: Sequence[dict[str, Any]], tokenizer: Tokenizer
) -> tuple[list[str], int]:
    """Transcribe the prepared recordings of some rows by Whisper, numbers written out as spoken.

    Returns:
        Texts, and of how many recordings Whisper may have invented words.
    """
    store = AudioStore(stage_folder(config, "prepare") / split)
    index = {row["id"]: number for number, row in enumerate(store.rows)}
    recognizer = whisper_recognizer()
    texts, suspect = [], 0
    with tqdm(total=len(rows), unit="recording", disable=None, file=sys.stderr) as bar:
        for start in range(0, len(rows), recognizer.batch_size):
            batch = rows[start : start + recognizer.batch_size]
            waveforms = [store.waveform(index[row["id"]]) for row in batch]
            for row, found in zip(
                batch, recognizer.transcribe_many(waveforms, store.sample_rate), strict=True
            ):
                texts.append(tokenizer.spoken(found.text, row["lang"]))
                suspect += "possibly invented" in found.details
            bar.update(len(batch))
    return texts, suspect


def compared(
    rows: Sequence[dict[str, Any]], texts: dict[str, list[str]], normalizer: str
) -> dict[str, Any]:
    """Compute the error rates of the texts of each system, and the difference of two."""
    errors = {name: error_counts(rows, found, normalizer) for name, found in texts.items()}
    speakers = [row["speaker"] for row in rows]
    figures: dict[str, Any] = {
        "recordings": len(rows),
        "speakers": group_count(speakers),
        "normalizer": normalizer,
        "systems": {name: rates(counts, speakers) for name, counts in errors.items()},
    }
    if len(errors) > 1:
        own, other = (
            (np.array(each["word_errors"]), np.array(each["words"])) for each in errors.values()
        )
        ends = paired_rates(own, other, groups=speakers)
        figures["wer_difference"] = dict(zip(("value", "low", "high"), ends, strict=True))
    return figures


def error_counts(
    rows: Sequence[dict[str, Any]], texts: Sequence[str], normalizer: str
) -> dict[str, list[float]]:
    """Count the errors of the text of each row, and the words and characters of its reference."""
    counts: dict[str, list[float]] = {}
    for row, text in zip(rows, texts, strict=True):
        words = word_edits(row["text"], text, normalizer=normalizer)
        characters = character_edits(row["text"], text, normalizer=normalizer)
        for name, value in (
            ("word_errors", words.errors),
            ("words", words.reference_length),
            ("character_errors", characters.errors),
            ("characters", characters.reference_length),
        ):
            counts.setdefault(name, []).append(value)
    return counts


def rates(counts: dict[str, list[float]], speakers: Sequence[str]) -> dict[str, Any]:
    """Pool word and character error rates, with their intervals over speakers."""
    words = pooled_rate(counts["word_errors"], counts["words"], groups=speakers)
    characters = pooled_rate(counts["character_errors"], counts["characters"], groups=speakers)
    return {"wer": asdict(words), "cer": asdict(characters)}


def markdown(figures: dict[str, Any]) -> str:
    """Lay out the table, what its figures are, and the provenance."""
    titles = {OWN: "the language model, from codes", WHISPER_NAME: "Whisper, from recordings"}
    lines = table_lines(
        ["recogniser", "word error rate ↓", "character error rate ↓"],
        [
            [titles[name], *(_cell(Interval(**each[key])) for key in ("wer", "cer"))]
            for name, each in figures["systems"].items()
        ],
    )
    over = "speakers" if figures["speakers"] > 1 else "recordings"
    about = (
        f"{figures['recordings']} recordings of {figures['split']}, "
        f"{figures['speakers']} speakers; 95 % intervals over {over}. Texts are compared as they "
        f"are spoken, normaliser {figures['normalizer']}. Left out as too long for the model: "
        f"{figures['left_out']}."
    )
    if figures["possibly_invented"] is not None:
        about += " Recordings with words that Whisper may have invented, counted all the same: "
        about += f"{figures['possibly_invented']}."
    origin = [f"{key}: {value}" for key, value in figures["provenance"].items()]
    return "\n".join([*lines, "", about, "", *origin]) + "\n"


def _cell(figure: Interval) -> str:
    text = number_text(figure.value, unit="%")
    if figure.low is None or figure.high is None:
        return text
    low, high = (number_text(end, unit="%").removesuffix(" %") for end in (figure.low, figure.high))
    return f"{text} ({low} to {high})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = make_parser(PROGRAM, __doc__, schema=Config)
    add = parser.add_argument
    add("--split", choices=SPLITS, default="valid", help="recordings to transcribe")
    add(
        "--beam",
        type=whole_number(1),
        default=TranscriptionSettings().beam,
        help="texts that are followed",
    )
    add("--limit", type=whole_number(1), help="recordings, at most; default: all")
    add("--normalizer", choices=sorted(NORMALIZERS), default="basic", help="of both texts")
    add("--weight", action="append", default=[], metavar="NAME=PATH", help="whisper=FOLDER")
    arguments = parser.parse_intermixed_args(argv)

    def work() -> int:
        use_named_weights(arguments.weight)
        figures = run_transcribe(
            load_config(arguments.config, arguments.overrides),
            split=arguments.split,
            settings=TranscriptionSettings(arguments.beam),
            limit=arguments.limit,
            normalizer=arguments.normalizer,
            argv=argv,
        )
        if arguments.json:
            print_report(figures, as_json=True)
        else:
            print(markdown(figures), end="")
        return DONE

    return exit_status(work, debug=arguments.debug)


if __name__ == "__main__":
    raise SystemExit(main())

"""Items of generated speech: lists of seed-tts-eval, JSON manifests, figures of transcripts.

`meta.lst` holds `utt|prompt_text|prompt_wav|text` a line and may add `|reference_wav`; paths are
relative to its folder, generated files lie in a folder under the name of the utterance
(https://github.com/BytedanceSpeech/seed-tts-eval). A JSONL manifest holds the same under "id",
"text", "prompt" and "reference", and may name a "speaker".
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from codec.files.json_lines import iter_json_lines, read_lines
from codec.files.names import composed, name_problem
from eval.metrics.duration import GenerationRecord
from eval.metrics.normalizers import normalize_text
from eval.sound import sound_files, the_only_file
from eval.tokens.diversity import diversity
from eval.tokens.ngrams import NgramModel

from .pair import Pair
from .summary import item_rows, read_items

RECORD_NAMES = ("generation.jsonl", "items.jsonl", "report.jsonl")


class ManifestError(ValueError):
    """A list of utterances that breaks its format, with the file, the line and the field."""


def read_generation(manifest: Path, folder: Path) -> list[Pair]:
    """Read the utterances of a `meta.lst` or a JSONL manifest, with their generated files.

    One whose file is missing stays in the list, so that it is counted as failed.

    Args:
        manifest: The list; `.jsonl` is read as JSON lines, anything else as meta.lst.
        folder: Holds <utt>.wav (or another suffix).

    Raises:
        ManifestError: No such file, a line of another form, no utterance, one twice, or an id that
            cannot name a file.
        ValueError: No such folder, or several files for an utterance.
    """
    if not manifest.is_file():
        raise ManifestError(f"expected a meta.lst or a JSONL manifest, got {manifest}")
    if not folder.is_dir():
        raise ValueError(f"expected a folder with generated speech, got {folder}")
    pairs: dict[str, Pair] = {}
    found = sound_files(folder)
    taken: set[str] = set()
    for number, pair in _utterances(manifest):
        # In either form of its accents an id names the same file.
        if composed(pair.id) in taken:
            raise ManifestError(f"{manifest}:{number}: expected {pair.id!r} once, got it again")
        taken.add(composed(pair.id))
        problem = name_problem(pair.id, ".flac")
        if problem:
            raise ManifestError(f"{manifest}:{number}: expected {problem}, got {pair.id[:80]!r}")
        # As files are found by `hh-eval codec`, one that is missing under the usual name.
        paths = found.get(composed(pair.id), [folder / f"{pair.id}.wav"])
        pairs[pair.id] = replace(pair, estimate=the_only_file(pair.id, paths))
    if not pairs:
        raise ManifestError(f"{manifest}: expected at least one utterance, got none")
    return list(pairs.values())


def _utterances(manifest: Path) -> Iterator[tuple[int, Pair]]:
    """Parse every line that is not blank, with its number."""
    if manifest.suffix == ".jsonl":
        for number, row in iter_json_lines(manifest, error=ManifestError):
            yield number, _from_json(row, f"{manifest}:{number}", manifest.parent)
    else:
        for number, line in read_lines(manifest, error=ManifestError):
            if line.strip():
                yield number, _from_meta(line, f"{manifest}:{number}", manifest.parent)


def _from_meta(line: str, where: str, folder: Path) -> Pair:
    """Parse a line of meta.lst."""
    # Fields: utt, prompt_text, prompt_wav, text and, in some lists, reference_wav.
    fields = [field.strip() for field in line.split("|")]
    if len(fields) not in (4, 5) or not fields[0]:
        raise ManifestError(
            f"{where}: expected utt|prompt_text|prompt_wav|text[|reference_wav], got {line[:80]!r}"
        )
    name = fields[0].removesuffix(".wav")
    reference = folder / fields[4] if len(fields) == 5 and fields[4] else None
    return Pair(name, reference, None, fields[3], prompt=folder / fields[2] if fields[2] else None)


def _from_json(row: Mapping[str, Any], where: str, folder: Path) -> Pair:
    """Check a row of a JSONL manifest."""
    if not isinstance(row.get("id"), str) or not row["id"]:
        raise ManifestError(f"{where}: expected an object with a string under 'id', got {row!r}")
    wrong = [
        key
        for key in ("text", "prompt", "reference", "speaker")
        if not isinstance(row.get(key, ""), str | None)
    ]
    if wrong:
        got = ", ".join(f"{key} {row[key]!r}" for key in wrong)
        raise ManifestError(f"{where}: expected strings, got {got}")
    paths = [folder / row[key] if row.get(key) else None for key in ("reference", "prompt")]
    text, speaker = row.get("text") or "", row.get("speaker") or ""
    return Pair(row["id"], paths[0], None, text, speaker, paths[1])


def read_records(
    path: Path | None, folder: Path, names: Iterable[str]
) -> dict[str, GenerationRecord]:
    """Read the generator's record of each utterance by composed id; {} without such a file.

    Args:
        path: JSON lines {"id", "truncated", "codes", "frame_rate"}; None looks for
            generation.jsonl, items.jsonl and the report.jsonl of `hh-slm tts` in `folder`.
        folder: Of the generated files.
        names: Ids of the utterances.

    Raises:
        ManifestError: A named file that is missing or records none of the utterances, codes
            without a frame rate, or a value of the wrong type; names the line.
    """
    if path is not None and not path.is_file():
        raise ManifestError(f"expected a generation record (JSON lines), got {path}")
    beside = (folder / name for name in RECORD_NAMES if os.path.lexists(folder / name))
    found = path or next(beside, None)
    if found is None:
        return {}
    records = {}
    # A generator that was killed leaves a torn last line.
    for number, row in iter_json_lines(found, torn="keep whole"):
        if "id" in row and (row.get("codes") is not None or "truncated" in row):
            records[composed(str(row["id"]))] = _record(row, f"{found}:{number}")
    wanted = {composed(name) for name in names}
    if path is not None and not wanted & records.keys():
        raise ManifestError(
            f"{path}: expected records of the utterances, such as {min(wanted)!r}, got "
            f"{len(records)} of others{f', such as {min(records)!r}' if records else ''}"
        )
    return {name: record for name, record in records.items() if name in wanted}


def _record(row: Mapping[str, Any], where: str) -> GenerationRecord:
    """Check the record of an utterance."""
    codes, truncated, rate = row.get("codes"), row.get("truncated"), row.get("frame_rate")
    if not isinstance(truncated, bool | None):
        raise ManifestError(f"{where}: expected true or false as truncated, got {truncated!r:.40}")
    if codes is None:
        return GenerationRecord(truncated, None, 0.0)
    if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not 0 < rate < math.inf:
        raise ManifestError(f"{where}: expected a frame_rate > 0 beside codes, got {rate!r:.40}")
    # One stream of codes, or several of one length.
    streams = codes if isinstance(codes, list) and codes and isinstance(codes[0], list) else [codes]
    fits = all(isinstance(each, list) and len(each) == len(streams[0]) for each in streams)
    if not fits or any(
        type(code) is not int or not 0 <= code < 1 << 63 for each in streams for code in each
    ):
        raise ManifestError(f"{where}: expected lists of codes >= 0, got {codes!r:.40}")
    return GenerationRecord(truncated, np.asarray(codes, dtype=np.int64), float(rate))


def recordings_as_estimates(pairs: Sequence[Pair]) -> list[Pair]:
    """Replace generated speech by the true utterances, for the column "recording" of a table.

    Their scores are the ceiling of the metrics, recognition included.
    """
    return [replace(p, estimate=p.reference) for p in pairs if p.reference is not None]


@dataclass(frozen=True)
class WordModel:
    """N-gram model over words."""

    model: NgramModel  # over indices; the last is any other word
    words: Mapping[str, int]  # index by word

    def nats(self, words: Sequence[str]) -> tuple[float, int]:
        """Compute the negative log-likelihood of words in nats, and count them."""
        if not words:
            return 0.0, 0
        other = len(self.words)  # the unknown word
        codes = np.array([self.words.get(word, other) for word in words])
        bits, count = self.model.bits_per_code([codes])
        return bits * count * float(np.log(2.0)), count


def train_word_model(lines: Sequence[str], *, order: int = 3) -> WordModel:
    """Train a small text model for generative perplexity.

    Words that occur once are pooled as the unknown word. Its perplexities can be compared with one
    another only.

    Raises:
        ValueError: No word in the lines.
    """
    texts = [normalize_text(line).split() for line in lines]
    counts: dict[str, int] = {}
    for word in (word for text in texts for word in text):
        counts[word] = counts.get(word, 0) + 1
    # Words that occur once teach the model how likely an unknown word is.
    known = {w: i for i, w in enumerate(sorted(w for w, c in counts.items() if c > 1))}
    streams = [np.array([known.get(w, len(known)) for w in text]) for text in texts if text]
    return WordModel(NgramModel(streams, len(known) + 1, order), known)


def text_figures(transcripts: Sequence[str], model: WordModel | None, n: int = 2) -> dict[str, Any]:
    """Compute the generative perplexity of transcripts together with their diversity.

    Perplexity is that of all words pooled, and the median over transcripts; a transcript without
    a word has none and is counted. A recogniser turns even noise into fluent words, so compare with
    the figures of recordings through the same recogniser.
    """
    texts = [normalize_text(text).split() for text in transcripts]
    figures: dict[str, Any] = {**diversity(texts, n), "empty": sum(not text for text in texts)}
    spoken = [text for text in texts if text]
    if model is not None and spoken:
        # Perplexity is exp of the mean nats a word: of all words, and of each transcript.
        each = [model.nats(text) for text in spoken]
        total = sum(nats for nats, _ in each) / sum(count for _, count in each)
        figures["perplexity"] = float(np.exp(total))
        figures["perplexity_median"] = float(np.median([np.exp(n / c) for n, c in each]))
        unknown = sum(word not in model.words for text in spoken for word in text)
        figures["unknown_words"] = unknown / sum(len(text) for text in spoken)
    return figures


def transcripts_of(folder: Path, metric_id: str) -> list[str]:
    """Read the transcript of each item that could be scored, in the order of the items."""
    rows = item_rows(folder, metric_id)
    found = [rows.get(item["id"], {}) for item in read_items(folder)]
    good = [row for row in found if row.get("status") == "ok"]
    return [row["details"]["heard"] for row in good if "heard" in row["details"]]

"""Generated speech as items to score: the seed-tts-eval protocol, and continuations.

`meta.lst` holds `utt|prompt_text|prompt_wav|text` a line and may add `|reference_wav`; paths are
relative to its folder, generated files lie in a folder under the name of the utterance
(https://github.com/BytedanceSpeech/seed-tts-eval). A JSONL manifest holds the same under "id",
"text", "prompt" and "reference", and may name a "speaker".
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eval.files import read_json_lines
from eval.metrics.duration import GenerationRecord
from eval.metrics.wer import normalize_text
from eval.sound import SUFFIXES
from eval.tokens.diversity import diversity
from eval.tokens.ngrams import NgramModel

from .score import Pair
from .summary import item_rows

RECORD_NAMES = ("generation.jsonl", "items.jsonl")


class ManifestError(ValueError):
    """A list of utterances that breaks its format; names the file, the line and the field."""


def read_generation(manifest: Path, folder: Path) -> list[Pair]:
    """Utterances of a `meta.lst` or a JSONL manifest with their generated files.

    One whose file is missing keeps its place, so that it is counted as failed.

    Args:
        manifest: The list; `.jsonl` is read as JSON lines, anything else as meta.lst.
        folder: Holds <utt>.wav (or another suffix).

    Raises:
        ManifestError: No such file, a line of another form, no utterance, or one twice.
        ValueError: No such folder.
    """
    if not manifest.is_file():
        raise ManifestError(f"expected a meta.lst or a JSONL manifest, got {manifest}")
    if not folder.is_dir():
        raise ValueError(f"expected a folder with generated speech, got {folder}")
    parse = _from_json if manifest.suffix == ".jsonl" else _from_meta
    pairs: list[Pair] = []
    seen: set[str] = set()
    for number, line in enumerate(manifest.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        pair = parse(line, f"{manifest}:{number}", manifest.parent)
        if pair.id in seen:
            raise ManifestError(f"{manifest}:{number}: expected {pair.id!r} once, got it again")
        seen.add(pair.id)
        pairs.append(replace(pair, estimate=_generated(folder, pair.id)))
    if not pairs:
        raise ManifestError(f"{manifest}: expected at least one utterance, got none")
    return pairs


def _from_meta(line: str, where: str, folder: Path) -> Pair:
    """A line of meta.lst."""
    fields = [field.strip() for field in line.split("|")]
    if len(fields) not in (4, 5) or not fields[0]:
        raise ManifestError(
            f"{where}: expected utt|prompt_text|prompt_wav|text[|reference_wav], got {line[:80]!r}"
        )
    name = fields[0].removesuffix(".wav")
    reference = folder / fields[4] if len(fields) == 5 and fields[4] else None
    return Pair(name, reference, None, fields[3], prompt=folder / fields[2] if fields[2] else None)


def _from_json(line: str, where: str, folder: Path) -> Pair:
    """A line of a JSONL manifest."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ManifestError(f"{where}: expected a JSON object: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not row["id"]:
        raise ManifestError(f"{where}: expected an object with a text under 'id', got {line[:80]}")
    wrong = [
        key
        for key in ("text", "prompt", "reference", "speaker")
        if not isinstance(row.get(key, ""), str | None)
    ]
    if wrong:
        raise ManifestError(f"{where}: expected texts under {wrong}")
    paths = [folder / row[key] if row.get(key) else None for key in ("reference", "prompt")]
    text, speaker = row.get("text") or "", row.get("speaker") or ""
    return Pair(row["id"], paths[0], None, text, speaker, paths[1])


def _generated(folder: Path, name: str) -> Path:
    """The generated file of an utterance; where there is none, the path it should have."""
    paths = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((path for path in paths if path.is_file()), paths[0])


def read_records(path: Path | None, folder: Path) -> dict[str, GenerationRecord]:
    """What the generator said, by utterance; {} where there is no such file.

    Args:
        path: JSON lines {"id", "truncated", "codes", "frame_rate"}; None looks for
            generation.jsonl and items.jsonl in `folder`.
        folder: Of the generated files.

    Raises:
        ManifestError: A file that was named and is not there, or codes without a frame rate.
    """
    if path is not None and not path.is_file():
        raise ManifestError(f"expected a generation record (JSON lines), got {path}")
    found = path or next((folder / n for n in RECORD_NAMES if (folder / n).is_file()), None)
    if found is None:
        return {}
    records = {}
    for row in read_json_lines(found):
        codes, rate = row.get("codes"), row.get("frame_rate") or 0.0
        if codes is not None and not rate > 0:
            raise ManifestError(f"{found}: {row.get('id')}: expected a frame_rate beside codes")
        if "id" in row and (codes is not None or "truncated" in row):
            array = None if codes is None else np.asarray(codes, dtype=np.int64)
            records[str(row["id"])] = GenerationRecord(row.get("truncated"), array, float(rate))
    return records


def recordings_as_estimates(pairs: Sequence[Pair]) -> list[Pair]:
    """The true utterances in the place of the generated ones: the row "recording" of a table.

    What scores there is the ceiling of the pipeline, not of the model.
    """
    return [replace(p, estimate=p.reference) for p in pairs if p.reference is not None]


@dataclass(frozen=True)
class WordModel:
    """Words a text model knows, as an n-gram model over their indices.

    Args:
        model: Over indices; the last is any other word.
        words: Index by word.
        order: n.
    """

    model: NgramModel
    words: Mapping[str, int]
    order: int

    def nats(self, words: Sequence[str]) -> tuple[float, int]:
        """Negative log-likelihood of words in nats, and how many they are."""
        if not words:
            return 0.0, 0
        other = len(self.words)
        codes = np.array([self.words.get(word, other) for word in words])
        bits, count = self.model.bits_per_code([codes])
        return bits * count * float(np.log(2.0)), count


def train_word_model(lines: Sequence[str], *, order: int = 3) -> WordModel:
    """A small text model for generative perplexity where no large one is at hand.

    Words that occur once stand for all it does not know. Its perplexities can be compared with
    one another only.

    Raises:
        ValueError: No word in the lines.
    """
    texts = [normalize_text(line).split() for line in lines]
    counts: dict[str, int] = {}
    for word in (word for text in texts for word in text):
        counts[word] = counts.get(word, 0) + 1
    known = {w: i for i, w in enumerate(sorted(w for w, c in counts.items() if c > 1))}
    streams = [np.array([known.get(w, len(known)) for w in text]) for text in texts if text]
    return WordModel(NgramModel(streams, len(known) + 1, order), known, order)


def text_figures(transcripts: Sequence[str], model: WordModel | None, n: int = 2) -> dict[str, Any]:
    """Generative perplexity of transcripts beside their diversity, never one without the other.

    Perplexity is that of all words pooled, and the median over transcripts; a transcript without
    a word has none and is counted. A recogniser makes fluent words of noise, so the figures of
    real speech through the same recogniser belong beside these.
    """
    texts = [normalize_text(text).split() for text in transcripts]
    figures: dict[str, Any] = {**diversity(texts, n), "empty": sum(not text for text in texts)}
    spoken = [text for text in texts if text]
    if model is not None and spoken:
        each = [model.nats(text) for text in spoken]
        total = sum(nats for nats, _ in each) / sum(count for _, count in each)
        figures["perplexity"] = float(np.exp(total))
        figures["perplexity_median"] = float(np.median([np.exp(n / c) for n, c in each]))
        unknown = sum(word not in model.words for text in spoken for word in text)
        figures["unknown_words"] = unknown / sum(len(text) for text in spoken)
    return figures


def transcripts_of(folder: Path, metric_id: str) -> list[str]:
    """What a recogniser heard in each item that it could score, in the order of the items."""
    rows = item_rows(folder, metric_id)
    items = [row["id"] for row in read_json_lines(folder / "items.jsonl")]
    good = [rows[name] for name in items if rows.get(name, {}).get("status") == "ok"]
    return [row["details"]["heard"] for row in good if "heard" in row["details"]]

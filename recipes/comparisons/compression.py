"""Bits a second of a codec's codes under its language model, beside 13 bits a code and a unigram.

    python -m recipes.comparisons.compression recipes/configs/compression.yaml
        corpus=../shared/speech run=runs/compression

Encodes the clips of a split (run/codes), compresses each by the language model and decompresses it
again (run/compressed, as `hh-slm compress` does), and writes run/compression.md and
run/compression.json: bit/s with intervals over speakers, and paired differences. A call that was
cut off goes on after its last clip. Codes come back on the kind of machine that compressed them; on
another one they come back or are refused (docs/reference/bitstream.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import MISSING
from tqdm import tqdm

from codec import HHCodec
from codec.bitstream.compressed import CompressedRecording
from codec.bitstream.convert import Pair, encode_recording
from codec.bitstream.format import CodedRecording
from codec.checks import at_least
from codec.command_line import DONE, exit_status
from codec.files import write_json, write_text
from codec.files.derived import digest_of, file_state
from codec.files.json_lines import appending, read_json_lines
from codec.files.names import check_items, item_path
from codec.provenance import provenance
from eval.scoring.bootstrap import group_count, paired_rates, pooled_rate
from eval.scoring.summary import number_text, units_text
from recipes.corpora.manifest import MANIFEST_NAME, CorpusRow, read_manifest
from recipes.corpora.preparation import spread
from recipes.runner.cli import make_parser
from recipes.runner.config import load_settings
from recipes.runner.markdown import table_lines
from recipes.runner.run_folder import own_folder
from slm.compression.code_model import CodeModel
from slm.compression.codes import compress

PROGRAM = "python -m recipes.comparisons.compression"
ROWS = "clips.jsonl"
# Rows of the table by the key of a clip's bits. The unigram is that of these very codes.
WAYS = {
    "fixed": "as many bits for every code",
    "unigram": "unigram, of these codes' own frequencies",
    "lm": "language model",
    "input_file": "`.hhc` file, whole",
    "file": "compressed `.hhc` file, whole",
}


@dataclass
class CompressionConfig:
    """The clips and the models."""

    # Folder that holds manifest.jsonl.
    corpus: str = MISSING
    run: str = MISSING
    split: str = "test"
    # Clips at most, evenly spread over the split; null = all.
    clips: int | None = None
    # Bundled name, model folder or hub repository of each; they belong together.
    codec: str = "hh-mini-24k-v2"
    lm: str = "hh-mini-slm-v2"
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        at_least("threads", self.threads, 1)
        if self.clips is not None:
            at_least("clips", self.clips, 1)


def main(argv: Sequence[str] | None = None) -> int:
    """Encode, compress, tabulate; returns the exit status."""
    parser = make_parser(PROGRAM, __doc__ or "", schema=CompressionConfig)
    arguments = parser.parse_intermixed_args(argv)

    def work() -> int:
        config = load_settings(CompressionConfig, arguments.config, arguments.overrides)
        figures = run_compression(config, argv)
        print(json.dumps(figures) if arguments.json else compression_markdown(figures), end="")
        return DONE

    return exit_status(work, debug=arguments.debug)


def run_compression(config: CompressionConfig, argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Compress every clip and write the table; returns the figures.

    Raises:
        ValueError: No clips of the split, models that do not belong together, codes that did not
            come back, or a folder made with other settings.
    """
    manifest = Path(config.corpus) / MANIFEST_NAME
    rows = [row for row in read_manifest(manifest) if row.split == config.split]
    if not rows:
        raise ValueError(f"{manifest}: expected clips of split {config.split!r}, got none")
    rows = spread(rows, config.clips)
    check_items((row.id for row in rows), ".hhc")
    run = Path(config.run)
    with own_folder(config, run, ("threads",)):
        torch.set_num_threads(config.threads)
        codec, model = HHCodec.from_pretrained(config.codec), CodeModel.from_pretrained(config.lm)
        origin = [codec.fingerprint, model.fingerprint]
        clips = compressed_clips(rows, run, codec, model, origin)
        recordings = [CodedRecording.load(item_path(run / "codes", row.id, ".hhc")) for row in rows]
        for clip, bits in zip(clips, unigram_bits([r.codes for r in recordings]), strict=True):
            clip["unigram"] = bits
        about = {
            "corpus": Path(config.corpus).name,
            "split": config.split,
            "codec": config.codec,
            "lm": config.lm,
            "model_fingerprint": model.fingerprint,
            "engine": sorted({clip["engine"] for clip in clips}),
        }
        figures = compared(clips, [row.speaker for row in rows], config.seed)
        figures = {**about, **figures, "provenance": provenance(PROGRAM, argv)}
        write_json(run / "compression.json", figures)
        write_text(run / "compression.md", compression_markdown(figures))
    return figures


def compressed_clips(
    rows: Sequence[CorpusRow], run: Path, codec: HHCodec, model: CodeModel, origin: list[str]
) -> list[dict[str, Any]]:
    """Encode and compress each clip unless that is done; a line of clips.jsonl each, in order."""
    path = run / ROWS
    of = {row.id: digest_of(file_state(row.audio)[1:], *origin) for row in rows}
    done = {
        row["id"]: row
        for row in read_json_lines(path, torn="drop", missing_ok=True)
        if row["of"] == of.get(row["id"])
    }
    with appending(path) as append:
        for row in tqdm(rows, desc="compress", unit="clip"):
            if row.id in done:
                continue
            coded = item_path(run / "codes", row.id, ".hhc")
            coded.parent.mkdir(parents=True, exist_ok=True)
            encode_recording(codec, Pair(row.audio, coded))
            recording = CodedRecording.load(coded)
            # Decompressed once and compared: codes that do not come back are an error.
            made: CompressedRecording = compress(model, recording)
            made.save(item_path(run / "compressed", row.id, ".hhc"))
            done[row.id] = {
                "id": row.id,
                "of": of[row.id],
                "seconds": recording.duration,
                "codes": len(recording.codes),
                "fixed": recording.header.code_bits * len(recording.codes),
                "lm": made.payload_bits,
                "input_file": 8 * len(recording.to_bytes()),
                "file": 8 * len(made.to_bytes()),
                "engine": made.engine,
            }
            append(done[row.id])
    return [dict(done[row.id]) for row in rows]


def unigram_bits(recordings: Sequence[np.ndarray]) -> list[float]:
    """Bits of each recording's codes (L,) under the frequencies of all of them together.

    No coder of single codes takes fewer for all, and none knows the frequencies beforehand.
    """
    codes, counts = np.unique(np.concatenate(list(recordings)), return_counts=True)
    bits = -np.log2(counts / counts.sum())
    return [float(bits[np.searchsorted(codes, each)].sum()) for each in recordings]


def compared(
    clips: Sequence[dict[str, Any]], speakers: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Compute bit/s of each way with its interval, and what the language model saves."""
    seconds = np.array([clip["seconds"] for clip in clips])
    codes = sum(clip["codes"] for clip in clips)
    ways: dict[str, dict[str, Any]] = {}
    for key in WAYS:
        bits = np.array([clip[key] for clip in clips], dtype=np.float64)
        rate = pooled_rate(bits, seconds, groups=speakers, seed=seed)
        ways[key] = {"value": rate.value, "ci95": [rate.low, rate.high]}
        ways[key]["bits_per_code"] = float(bits.sum()) / codes
    lm = np.array([clip["lm"] for clip in clips], dtype=np.float64)
    saved = {}
    for key in ("fixed", "unigram"):
        other = np.array([clip[key] for clip in clips], dtype=np.float64)
        ends = paired_rates((lm, seconds), (other, seconds), groups=speakers, seed=seed)
        saved[key] = dict(zip(("value", "low", "high"), ends, strict=True))
    return {
        "clips": len(clips),
        "seconds": float(seconds.sum()),
        "codes": codes,
        "speakers": group_count(speakers),
        "bits_per_second": ways,
        "lm_minus": saved,
    }


def compression_markdown(figures: dict[str, Any]) -> str:
    """Lay out the table, what its figures are of, and the provenance."""
    lines = []
    for key, title in WAYS.items():
        found = figures["bits_per_second"][key]
        difference = figures["lm_minus"].get(key)
        lines.append(
            [
                title,
                _interval(found["value"], *found["ci95"]),
                f"{found['bits_per_code']:.2f}",
                "-" if difference is None else _interval(*difference.values()),
            ]
        )
    head = ["codes of each clip", "bit/s ↓", "bits a code", "language model minus this, bit/s"]
    about = (
        f"{figures['split']} of {figures['corpus']}: {figures['clips']} clips, "
        f"{figures['seconds']:.0f} s, {figures['codes']} codes of {figures['codec']} under "
        f"{figures['lm']} ({figures['model_fingerprint']}, engine "
        f"{', '.join(figures['engine'])}). 95 % intervals over {units_text(figures['speakers'])}. "
        "Every clip was decompressed and compared: all codes came back."
    )
    origin = [f"{key}: {value}" for key, value in figures["provenance"].items()]
    return "\n".join([*table_lines(head, lines), "", about, "", *origin]) + "\n"


def _interval(value: float, low: float | None, high: float | None) -> str:
    """`265.1 (258.0 to 271.9)`, the value alone without an interval."""
    if low is None or high is None:
        return number_text(value)
    return f"{number_text(value)} ({number_text(low)} to {number_text(high)})"


if __name__ == "__main__":
    raise SystemExit(main())

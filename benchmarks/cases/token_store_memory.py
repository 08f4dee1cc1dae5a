"""Cost of a token store and of the training data made of it: private memory a row, and seconds.

    python -m benchmarks.cases.token_store_memory --rows 10000 100000 1000000

Stores of random codes are written, and each is opened, made into packed rows and planned for an
epoch by a process of its own (Linux). Memory is anonymous resident memory beyond that of the
imports: pages of mapped files are shared by all processes and given back when memory is wanted.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec.bench.memory import required_resident_mib
from codec.command_line import DONE, exit_status
from codec.runtime.processes import run_in_process
from recipes.runner.cli import plain_parser

CODEBOOK, FRAME_RATE, SHARD_CODES = 8192, 23.4375, 1 << 20
SENTENCE = "the quick brown fox jumps over a lazy dog while it rains"
STAGES = "open", "rows", "epoch", "batch"


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each size, or with `--json` an object; returns the exit status."""
    arguments = _parser().parse_args(argv)

    def work() -> int:
        for count in arguments.rows:
            with tempfile.TemporaryDirectory() as folder:
                write_store(Path(folder), count, codes=arguments.codes, words=arguments.words)
                # A process of its own: memory that this one holds would be used again.
                found = {"rows": count, **run_in_process(measure, Path(folder))}
            print(json.dumps(found) if arguments.json else _line(found), flush=True)
        return DONE

    return exit_status(work, debug=arguments.debug)


def write_store(folder: Path, count: int, *, codes: int, words: int) -> None:
    """Write a store of `count` utterances, a hundred by each speaker.

    Args:
        folder: Of the store.
        count: Rows, >= 1.
        codes: Mean length of a row; lengths differ by a fifth either way.
        words: Of a row's text.
    """
    from slm.data.shards import ShardWriter

    vocabulary = SENTENCE.split()
    generator = np.random.default_rng(0)
    identity: dict[str, Any] = {"codebook_size": CODEBOOK, "frame_rate": FRAME_RATE}
    writer = ShardWriter(folder, codec_fingerprint="checked", **identity)
    size = max(1, SHARD_CODES // codes)
    shards = [range(start, min(start + size, count)) for start in range(0, count, size)]
    for index, shard in enumerate(shards):
        lengths = generator.integers(max(1, codes - codes // 5), codes + codes // 5 + 1, len(shard))
        ends = np.cumsum(lengths)
        drawn = generator.integers(0, CODEBOOK, ends[-1])
        # (rows, words) indices of words; codes of all rows lie in one array, cut at `ends`.
        chosen = generator.integers(0, len(vocabulary), (len(shard), words))
        writer.write(
            index,
            np.split(drawn, ends[:-1]),
            [
                {
                    "id": f"{row // 100}_chapter_{row:08d}",
                    "text": " ".join(vocabulary[word] for word in chosen[place]),
                    "speaker": f"speaker_{row // 100}",
                    "lang": "en",
                    "split": "train",
                    "source": "checked",
                    "duration": round(float(lengths[place]) / FRAME_RATE, 6),
                }
                for place, row in enumerate(shard)
            ],
        )
    writer.close(len(shards))


def measure(folder: Path) -> dict[str, Any]:
    """Measure seconds and private bytes a row of each stage, in this process."""
    from slm.data.packed_dataset import PackedDataset
    from slm.data.token_store import TokenStore
    from slm.data.vocabulary import Vocabulary
    from slm.text.sentencepiece_tokenizer import TextTokenizer

    with tempfile.TemporaryDirectory() as text_folder:
        tokenizer = TextTokenizer.train([SENTENCE] * 2, text_folder)
    vocabulary = Vocabulary(tokenizer.vocab_size, CODEBOOK, tokenizer.fingerprint)
    # All objects stay alive: memory of each stage adds to that of those before it.
    held: list[Any] = []
    steps = (
        lambda: TokenStore(folder),
        lambda: PackedDataset([held[0]], tokenizer, vocabulary, seq_len=2048, batch_size=64),
        lambda: held[1].rows_in_epoch(0),
        lambda: held[1].batch(0),
    )
    found: dict[str, Any] = {}
    before = _private_bytes()
    for name, step in zip(STAGES, steps, strict=True):
        start = time.perf_counter()
        held.append(step())
        found[f"{name}_seconds"] = time.perf_counter() - start
        found[f"{name}_bytes_a_row"] = (_private_bytes() - before) / len(held[0])
    return found | {"peak_bytes": required_resident_mib("VmHWM") * 2**20}


def _private_bytes() -> float:
    """Anonymous resident memory once garbage is gone."""
    gc.collect()
    return required_resident_mib("RssAnon") * 2**20


def _line(found: dict[str, Any]) -> str:
    parts = (
        f"{name} {found[f'{name}_seconds']:.3f} s, {found[f'{name}_bytes_a_row']:.0f} B a row"
        for name in STAGES
    )
    return (
        f"{found['rows']:>9} rows   " + "   ".join(parts) + f"   {found['peak_bytes'] / 1e9:.2f} GB"
    )


def _parser() -> argparse.ArgumentParser:
    parser = plain_parser("python -m benchmarks.cases.token_store_memory", __doc__ or "")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000], help="of a store")
    parser.add_argument("--codes", type=int, default=234, help="of a row; 234 are ten seconds")
    parser.add_argument("--words", type=int, default=0, help="of a row's text")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

"""What is kept of a corpus is small, and who may prompt whom is what rows say."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

from slm.data.config import DocumentSettings
from slm.data.corpus_index import NONE, CorpusIndex
from slm.data.shards import ShardWriter
from slm.data.token_store import TokenStore
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PhoneTokenizer

TOKENIZER = PhoneTokenizer(Lexicon({}))


def write(folder: Path, rows: list[dict[str, Any]], lengths: list[int]) -> TokenStore:
    writer = ShardWriter(folder, codec_fingerprint="c", codebook_size=64, frame_rate=24.0)
    writer.write(0, [np.zeros(length, int) for length in lengths], rows)
    writer.close(1)
    return TokenStore(folder)


def items_of(*stores: TokenStore, longest: int = 100, **settings: Any) -> CorpusIndex:
    chosen = DocumentSettings(**{"min_prompt_codes": 4, "max_prompt_codes": 8, **settings})
    return CorpusIndex(stores, TOKENIZER, chosen, longest=longest, text_size=TOKENIZER.vocab_size)


def test_others_are_all_fitting_utterances_of_the_speaker_but_the_own_recording(
    tmp_path: Path,
) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "speaker": "one"},
        {"id": "b", "speaker": "two"},
        {"id": "c", "speaker": "one"},
        {"id": "c+256", "base_id": "c", "speaker": "one"},
        {"id": "short", "speaker": "one"},
        {"id": "d", "speaker": "one"},
        {"id": "nobody"},
        {"id": "nobody else", "speaker": ""},
    ]
    items = items_of(write(tmp_path, rows, [9, 9, 9, 9, 2, 9, 9, 9]))
    assert items.base.tolist() == [0, 1, 2, 2, 4, 5, 6, 7]
    wanted = {0: {2, 5}, 1: {NONE}, 2: {0, 5}, 3: {0, 5}, 4: {0, 2, 5}, 5: {0, 2}, 6: {NONE}}
    wanted[7] = {NONE}
    for item, others in wanted.items():
        draws = np.linspace(0, 0.999, 12)
        assert set(items.others(np.full(12, item), draws).tolist()) == others


def test_no_utterance_at_all_may_be_a_prompt(tmp_path: Path) -> None:
    items = items_of(write(tmp_path, [{"id": "a", "speaker": "s"}], [3]))
    assert items.others(np.array([0]), np.array([0.5])).tolist() == [NONE]


def test_copies_are_looked_for_in_their_own_store_and_among_what_fits(tmp_path: Path) -> None:
    rows = [{"id": "a+256", "base_id": "a"}, {"id": "a"}]
    first = write(tmp_path / "1", rows, [9, 99])
    second = write(tmp_path / "2", rows, [9, 8])
    items = items_of(first, second)
    assert items.num_codes.tolist() == [9, 9, 8]
    assert items.base.tolist() == [0, 2, 2]
    assert [row["id"] for row in items.too_long] == ["a"]
    assert items.too_long[0]["num_tokens"] == 102


def test_an_utterance_costs_some_dozen_bytes(tmp_path: Path) -> None:
    """Of what Python objects would take, a hundredth: slopes between two sizes, not totals."""
    held = []
    for count in (2000, 6000):
        rows = [{"id": f"utterance {n}", "speaker": f"s{n // 50}"} for n in range(count)]
        store = write(tmp_path / str(count), rows, [20] * count)
        tracemalloc.start()
        items = items_of(store)
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert len(items) == count
    assert (held[1] - held[0]) / 4000 < 50

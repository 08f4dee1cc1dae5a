import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slm.data.config import DocumentSettings
from slm.data.corpus_index import CorpusIndex
from slm.data.document_plans import PLAN, DocumentPlan
from slm.data.packed_dataset import PackedDataset
from slm.data.packing import pack_best_fit, plan_epoch
from slm.data.token_store import TokenStore, TokenStoreWriter
from slm.data.vocabulary import Vocabulary
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PhoneTokenizer

TOKENIZER = PhoneTokenizer(Lexicon({}))


class Letters(PhoneTokenizer):
    """A text model that no training could make differently."""

    def __init__(self) -> None:
        super().__init__(Lexicon({}))

    def encode(self, text: str, language: str = "en") -> list[int]:
        return [ord(letter) % 26 for letter in text]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """300 utterances, some without text or speaker, some copies, of two sources."""
    writer = TokenStoreWriter(
        tmp_path_factory.mktemp("store"),
        codec_fingerprint="c",
        codebook_size=64,
        frame_rate=24.0,
        shard_codes=1000,
    )
    for item in range(300):
        codes = (item + 7 * np.arange(5 + item * 37 % 60)) % 64
        row: dict[str, Any] = {"id": f"u{item}", "source": f"source{item % 2}"}
        row["text"] = "abcdefghijklmnopqrstuvwxyz"[: item * 11 % 26] if item % 5 else ""
        if item % 7:
            row["speaker"] = f"s{item % 9}"
        if item % 13 == 5:
            row |= {"id": f"u{item - 1}+256", "base_id": f"u{item - 1}", "shift": 256}
        writer.add(codes, row)
    writer.close()
    return TokenStore(writer.folder)


def rows_of(store: TokenStore, **settings: Any) -> PackedDataset:
    return PackedDataset(
        [store],
        Letters(),
        Vocabulary(PhoneTokenizer.vocab_size, 64),
        seq_len=128,
        batch_size=4,
        settings=DocumentSettings(**{"min_prompt_codes": 4, "max_prompt_codes": 40, **settings}),
        seed=3,
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "98f6a68f3a989eb8"),
        ({"prompt_probability": 1.0, "prompt_text_probability": 0.5}, "eb790655c1fe725f"),
        ({"interleave_probability": 0.5, "interleave_codes": 9}, "20b59a654b42d27e"),
        ({"shares": {"source0": 0.3}, "text_drop_probability": 0.4}, "b90d770eff4545bd"),
    ],
)
def test_the_stream_is_that_of_earlier_releases(
    corpus: TokenStore, settings: dict[str, Any], expected: str
) -> None:
    """A training that an earlier release began goes on with the batches it would have had.

    The digests are of the release that planned one document after another.
    """
    rows, digest = rows_of(corpus, **settings), hashlib.sha256()
    for index in (0, 5, 40, 100):
        for tensor in rows.batch(index):
            digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest()[:16] == expected


def test_plans_do_not_depend_on_how_many_are_made_at_once(
    corpus: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"prompt_text_probability": 0.3, "interleave_probability": 0.2}
    whole = list(rows_of(corpus, **settings)._epoch_rows(1))
    monkeypatch.setattr("slm.data.packing._PLANNING_BLOCK", 17)
    assert list(rows_of(corpus, **settings)._epoch_rows(1)) == whole


def test_rows_of_an_epoch_are_read_by_number_and_in_order(corpus: TokenStore) -> None:
    epoch = rows_of(corpus)._epoch_rows(0)
    everything = list(epoch)
    assert [epoch[row] for row in range(len(epoch))] == everything
    assert sorted(plan.item for row in everything for plan in row) == list(range(300))
    assert epoch.num_tokens == sum(plan.length for row in everything for plan in row)
    assert all(isinstance(plan, DocumentPlan) for row in everything for plan in row)


def test_a_document_of_an_epoch_costs_some_dozen_bytes(tmp_path: Path) -> None:
    held = []
    for count in (2000, 6000):
        writer = TokenStoreWriter(
            tmp_path / str(count), codec_fingerprint="c", codebook_size=64, frame_rate=24.0
        )
        for item in range(count):
            writer.add(np.zeros(20, int), {"id": str(item), "speaker": f"s{item // 50}"})
        writer.close()
        settings = DocumentSettings(min_prompt_codes=4, max_prompt_codes=8)
        store = TokenStore(tmp_path / str(count))
        items = CorpusIndex([store], TOKENIZER, settings, longest=100, text_size=99)
        tracemalloc.start()
        epoch = plan_epoch(items, settings, seq_len=100, seed=0, epoch=0)
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert epoch.num_tokens > 23 * count
    assert PLAN.itemsize == 25
    assert (held[1] - held[0]) / 4000 < 40


def test_each_document_joins_the_row_it_leaves_least_room_in() -> None:
    assert pack_best_fit([3, 7, 5, 2, 2, 6], 10) == [[1, 0], [5, 3, 4], [2]]
    assert pack_best_fit([10, 10], 10) == [[0], [1]]
    assert pack_best_fit([], 10) == []

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slm.data.alignment import Alignment
from slm.data.config import DocumentSettings
from slm.data.documents import aligned_length
from slm.data.packed_dataset import PackedDataset
from slm.data.token_store import TokenStore, TokenStoreWriter
from slm.data.vocabulary import Vocabulary
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PhoneTokenizer
from slm.text.sentencepiece_tokenizer import TextTokenizer


@pytest.fixture
def aligned_rows(store: TokenStore) -> Callable[..., PackedDataset]:
    """A maker of rows in which every transcribed item of the corpus has an alignment."""
    vocabulary = Vocabulary(PhoneTokenizer.vocab_size, store.codebook_size)
    spoken = {
        row["id"]: Alignment(np.array([0, 41, 2, 0]), _four_parts(row["num_codes"]))
        for row in store.rows
        if row["text"]
    }

    def make(**documents: Any) -> PackedDataset:
        settings = DocumentSettings(
            **{"lookahead": 2, "min_prompt_codes": 4, "max_prompt_codes": 8, **documents}
        )
        tokenizer = PhoneTokenizer(Lexicon({}))
        options: dict[str, Any] = {"seq_len": 160, "batch_size": 2, "alignments": spoken}
        return PackedDataset([store], tokenizer, vocabulary, settings=settings, **options)

    return make


def _four_parts(total: int) -> np.ndarray:
    return np.array([total // 4, total // 4, 0, total - 2 * (total // 4)])


def test_rows_with_an_alignment_are_aligned_and_the_others_are_speech(
    aligned_rows: Callable[..., PackedDataset], store: TokenStore
) -> None:
    rows = aligned_rows(prompt_probability=0.0, text_drop_probability=0.0)
    lengths = {int(row["num_codes"]): bool(row["text"]) for row in store.rows}
    with_text = 0
    for document in rows.epoch_documents():
        codes = int((document.tokens >= rows.vocabulary.code_start).sum())
        is_aligned = rows.vocabulary.text_id in document.tokens
        assert is_aligned == lengths[codes]
        expected = aligned_length(codes, 4, 2, 0) if is_aligned else codes + 3
        assert len(document.tokens) == expected
        with_text += is_aligned
    assert with_text == sum(bool(row["text"]) for row in store.rows)


def test_plans_of_aligned_rows_know_their_lengths(
    aligned_rows: Callable[..., PackedDataset],
) -> None:
    rows = aligned_rows(prompt_probability=0.7, text_drop_probability=0.3)
    for batch in rows.epoch_batches():
        assert (batch.document_ids[:, 0] == 0).all()
    used = sum(len(document.tokens) for document in rows.epoch_documents())
    share = 1 - used / (rows.rows_in_epoch(0) * rows.seq_len)
    assert rows.padding_fraction() == pytest.approx(share)
    prompted = [d for d in rows.epoch_documents() if rows.vocabulary.prompt_id in d.tokens]
    assert any(rows.vocabulary.text_id in document.tokens for document in prompted)


def test_alignments_need_a_lookahead(aligned_rows: Callable[..., PackedDataset]) -> None:
    with pytest.raises(ValueError, match="lookahead"):
        aligned_rows(lookahead=0)


def test_a_shifted_copy_is_never_prompted_by_its_own_recording(tmp_path: Path) -> None:
    """Speaker a has one recording in two copies, b another one: a has nobody to be prompted by."""
    writer = TokenStoreWriter(tmp_path, codec_fingerprint="c", codebook_size=64, frame_rate=23.4375)
    for name, base, speaker, first in (
        ("one", "one", "a", 0), ("one+256", "one", "a", 1), ("two", "two", "b", 2),
        ("three", "three", "b", 3),
    ):  # fmt: skip
        copied = {} if name == base else {"base_id": base, "shift": 256}
        codes = np.full(30, 10 * first)
        writer.add(codes, {"id": name, "text": "", "speaker": speaker, **copied})
    writer.close()
    settings = DocumentSettings(prompt_probability=1.0, min_prompt_codes=4, max_prompt_codes=8)
    rows = PackedDataset(
        [TokenStore(tmp_path)], PhoneTokenizer(Lexicon({})), Vocabulary(10, 64),
        seq_len=64, batch_size=1, settings=settings, alignments={},
    )  # fmt: skip
    for document in rows.epoch_documents():
        own = int(document.tokens[-2]) - rows.vocabulary.code_start
        prompted = rows.vocabulary.prompt_id in document.tokens
        assert prompted == (own in (20, 30))


def test_an_epoch_takes_a_share_of_a_source(
    make_rows: Callable[..., PackedDataset], tmp_path: Path, tokenizer: TextTokenizer
) -> None:
    writer = TokenStoreWriter(tmp_path, codec_fingerprint="c", codebook_size=64, frame_rate=23.4375)
    for item in range(60):
        source = "often" if item % 2 else "rarely"
        codes = np.full(10, 1 if source == "often" else 2)
        writer.add(codes, {"id": str(item), "text": "", "speaker": "a", "source": source})
    writer.close()
    store, vocabulary = TokenStore(tmp_path), Vocabulary(tokenizer.vocab_size, 64)

    def counts(shares: dict[str, float], epoch: int) -> Counter[int]:
        settings = DocumentSettings(prompt_probability=0.0, shares=shares)
        rows = PackedDataset(
            [store], tokenizer, vocabulary, seq_len=64, batch_size=1, settings=settings
        )
        documents = rows.epoch_documents(epoch)
        return Counter(int(d.tokens[-2]) - vocabulary.code_start for d in documents)

    assert counts({}, 0) == {1: 30, 2: 30}
    first, second = (counts({"rarely": 0.2}, epoch) for epoch in (0, 1))
    assert first[1] == second[1] == 30
    assert 0 < first[2] < 15
    with pytest.raises(ValueError, match="shares"):
        counts({"rarely": 0.2, "often": 0.5}, 0)

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from slm.dataset import PackedBatch, PackedRows
from slm.store import TokenStore, TokenStoreWriter
from slm.text import TextTokenizer
from slm.vocabulary import Vocabulary


def same(first: PackedBatch, second: PackedBatch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def documents(batch: PackedBatch) -> list[list[int]]:
    """Tokens of every document of a batch."""
    found = []
    for tokens, ids in zip(batch.tokens, batch.document_ids, strict=True):
        found += [tokens[ids == i].tolist() for i in range(int(ids.max()) + 1)]
    return found


def test_a_batch_depends_on_seed_and_number_alone(make_rows: Callable[..., PackedRows]) -> None:
    straight = make_rows()
    batches = [straight.batch(index) for index in range(40)]  # over several epochs
    jumped = make_rows()
    for index in (37, 3, 12, 39, 0):
        assert same(jumped.batch(index), batches[index])
    assert not same(make_rows(seed=1).batch(0), batches[0])


def test_each_item_appears_once_an_epoch_and_whole(
    make_rows: Callable[..., PackedRows], store: TokenStore, vocabulary: Vocabulary
) -> None:
    rows = make_rows()
    for epoch in (0, 3):
        spoken = Counter()
        for batch in rows.epoch_batches(epoch):
            for tokens in documents(batch):
                start = tokens.index(vocabulary.speech_id) + 1
                spoken[tuple(vocabulary.token_to_code(tokens[start:-1]))] += 1
                assert tokens[0] == vocabulary.bos_id
                assert tokens[-1] == vocabulary.eos_id
        wanted = Counter(tuple(store.codes(i).astype(int)) for i in range(len(store)))
        assert spoken == wanted


def test_prompts_are_another_utterance_of_the_speaker_and_fresh_each_epoch(
    make_rows: Callable[..., PackedRows], store: TokenStore, vocabulary: Vocabulary
) -> None:
    rows = make_rows(prompt_probability=1.0, seq_len=160)
    by_codes = {tuple(store.codes(i).astype(int)): i for i in range(len(store))}
    seen: list[set[tuple[int, ...]]] = []
    for epoch in (0, 1):
        prompts = set()
        for document in rows.epoch_documents(epoch):
            tokens = document.tokens.tolist()
            assert tokens[1] == vocabulary.prompt_id
            codes = [t for t in tokens[2:] if t >= vocabulary.code_start]
            stop = next(i for i, t in enumerate(tokens[2:]) if t < vocabulary.code_start)
            prompt = tuple(vocabulary.token_to_code(codes[:stop]))
            speech = tuple(vocabulary.token_to_code(codes[stop:]))
            assert 8 <= len(prompt) <= 16
            own = store.rows[by_codes[speech]]
            others = [
                i
                for i, row in enumerate(store.rows)
                if row["speaker"] == own["speaker"] and row["id"] != own["id"]
            ]
            text = [" ".join(map(str, store.codes(i))) for i in others]
            assert any(" ".join(map(str, prompt)) in whole for whole in text)
            prompts.add((*prompt, -1, *speech))
        seen.append(prompts)
    assert seen[0] != seen[1]


def test_padding_has_no_loss_and_little_room(make_rows: Callable[..., PackedRows]) -> None:
    rows = make_rows(seq_len=160)
    assert rows.padding_fraction() < 0.15
    for batch in rows.epoch_batches():
        padding = batch.document_ids < 0
        assert (batch.tokens[padding] == 0).all()
        assert (batch.loss_weights[padding] == 0).all()
        assert (batch.loss_weights[batch.positions == 0] == 0).all()


def test_documents_that_fit_no_row_are_listed_not_cut(
    make_rows: Callable[..., PackedRows], store: TokenStore
) -> None:
    rows = make_rows(seq_len=70)
    lengths = [len(d.tokens) for d in rows.epoch_documents()]
    assert max(lengths) <= 70
    assert rows.too_long
    assert len(rows) + len(rows.too_long) == len(store)
    assert all(row["num_tokens"] > 70 for row in rows.too_long)
    with pytest.raises(ValueError, match="all longer; raise seq_len"):
        make_rows(seq_len=10)


def test_stores_of_different_codecs_do_not_mix(
    store: TokenStore,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("other")
    writer = TokenStoreWriter(
        folder, codec_fingerprint="other", codebook_size=64, frame_rate=23.4375
    )
    writer.add(np.arange(9), {"id": "a"})
    writer.close()
    other = TokenStore(folder)
    with pytest.raises(ValueError, match="stores of one codec"):
        PackedRows([store, other], tokenizer, vocabulary, seq_len=99, batch_size=1)
    with pytest.raises(ValueError, match="codebook_size 32"):
        PackedRows([store], tokenizer, Vocabulary(9, 32), seq_len=99, batch_size=1)


def test_a_text_with_no_known_piece_is_refused_with_its_row(
    tokenizer: TextTokenizer, vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("unknown")
    writer = TokenStoreWriter(folder, codec_fingerprint="a", codebook_size=64, frame_rate=23.4375)
    writer.add(np.arange(9), {"id": "utterance-7", "text": "漢字"})
    writer.close()
    with pytest.raises(ValueError, match=r"row 'utterance-7': .*漢字"):
        PackedRows([TokenStore(folder)], tokenizer, vocabulary, seq_len=99, batch_size=1)

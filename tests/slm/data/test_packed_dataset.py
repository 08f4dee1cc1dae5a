import shutil
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from slm.data.config import DocumentSettings
from slm.data.packed_batch import PackedBatch
from slm.data.packed_dataset import PackedDataset
from slm.data.token_store import TokenStore, TokenStoreWriter
from slm.data.vocabulary import Vocabulary
from slm.text.sentencepiece_tokenizer import TextTokenizer


def same(first: PackedBatch, second: PackedBatch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def documents(batch: PackedBatch) -> list[list[int]]:
    """Tokens of every document of a batch."""
    found = []
    for tokens, ids in zip(batch.tokens, batch.document_ids, strict=True):
        found += [tokens[ids == i].tolist() for i in range(int(ids.max()) + 1)]
    return found


def test_a_batch_depends_on_seed_and_number_alone(make_rows: Callable[..., PackedDataset]) -> None:
    straight = make_rows()
    batches = [straight.batch(index) for index in range(40)]  # over several epochs
    jumped = make_rows()
    for index in (37, 3, 12, 39, 0):
        assert same(jumped.batch(index), batches[index])
    assert not same(make_rows(seed=1).batch(0), batches[0])


def test_each_item_appears_once_an_epoch_and_whole(
    make_rows: Callable[..., PackedDataset], store: TokenStore, vocabulary: Vocabulary
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
    make_rows: Callable[..., PackedDataset], store: TokenStore, vocabulary: Vocabulary
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


def test_padding_has_no_loss_and_little_room(make_rows: Callable[..., PackedDataset]) -> None:
    rows = make_rows(seq_len=160)
    assert rows.padding_fraction() < 0.15
    for batch in rows.epoch_batches():
        padding = batch.document_ids < 0
        assert (batch.tokens[padding] == 0).all()
        assert (batch.loss_weights[padding] == 0).all()
        assert (batch.loss_weights[batch.positions == 0] == 0).all()


def test_documents_that_fit_no_row_are_listed_not_cut(
    make_rows: Callable[..., PackedDataset], store: TokenStore
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
        PackedDataset([store, other], tokenizer, vocabulary, seq_len=99, batch_size=1)
    with pytest.raises(ValueError, match="codebook_size 32"):
        PackedDataset([store], tokenizer, Vocabulary(9, 32), seq_len=99, batch_size=1)


def test_a_text_with_no_known_piece_is_refused_with_its_row(
    tokenizer: TextTokenizer, vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("unknown")
    writer = TokenStoreWriter(folder, codec_fingerprint="a", codebook_size=64, frame_rate=23.4375)
    writer.add(np.arange(9), {"id": "utterance-7", "text": "漢字"})
    writer.close()
    with pytest.raises(ValueError, match=r"row 'utterance-7': .*漢字"):
        PackedDataset([TokenStore(folder)], tokenizer, vocabulary, seq_len=99, batch_size=1)


def test_a_transcribed_prompt_is_another_whole_utterance_with_its_text(
    make_rows: Callable[..., PackedDataset],
    store: TokenStore,
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
) -> None:
    rows = make_rows(
        seq_len=250,
        prompt_probability=1.0,
        documents={"prompt_text_probability": 1.0, "max_prompt_codes": 80},
    )
    whole = {tuple(store.codes(i).astype(int)): store.rows[i] for i in range(len(store))}
    found = 0
    for document in rows.epoch_documents():
        tokens = document.tokens.tolist()
        if vocabulary.prompt_id in tokens or vocabulary.text_id not in tokens:
            continue
        start = tokens.index(vocabulary.speech_id) + 1
        counted = int(document.loss_weights.sum())
        before = tuple(vocabulary.token_to_code(tokens[start:-counted]))
        speech = tuple(vocabulary.token_to_code(tokens[-counted:-1]))
        prompt, own = whole[before], whole[speech]
        assert prompt["speaker"] == own["speaker"]
        assert prompt["id"] != own["id"]
        text = vocabulary.token_to_text(tokens[2 : start - 1]).tolist()
        assert text == tokenizer.encode(f"{prompt['text']} {own['text']}")
        found += 1
    assert found > 5


def test_interleaved_documents_are_planned_at_their_length(
    make_rows: Callable[..., PackedDataset], vocabulary: Vocabulary
) -> None:
    rows = make_rows(seq_len=200, documents={"interleave_probability": 1.0, "interleave_codes": 9})
    turns = [d.tokens.tolist().count(vocabulary.speech_id) for d in rows.epoch_documents()]
    assert max(turns) > 2
    assert turns.count(1) >= 4  # those without text
    planned = sum(plan.length for row in rows._epoch_rows(0) for plan in row)
    assert planned == sum(len(d.tokens) for d in rows.epoch_documents())


def test_validation_drops_no_condition(make_rows: Callable[..., PackedDataset]) -> None:
    varied = DocumentSettings(prompt_text_probability=0.3, interleave_probability=0.4)
    plain = varied.without_augmentation()
    names = [name for name in DocumentSettings.__dataclass_fields__ if "probability" in name]
    assert len(names) == 5
    assert {getattr(plain, name) for name in names} == {0.0}


def test_new_kinds_of_documents_leave_the_draws_of_old_ones_alone(
    make_rows: Callable[..., PackedDataset],
) -> None:
    plain = make_rows().batch(0)
    assert same(plain, make_rows(documents={"prompt_text_probability": 1e-12}).batch(0))


def test_codes_beyond_the_codebook_in_a_damaged_shard_are_refused(
    store: TokenStore, tokenizer: TextTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A code one past the last would be a token past the vocabulary, and a text id before it."""
    folder = tmp_path_factory.mktemp("damaged") / "store"
    shutil.copytree(store.folder, folder)
    path = folder / "codes-00000.u16"
    codes = np.fromfile(path, dtype="<u2")
    codes[3] = 64
    codes.tofile(path)
    vocabulary = Vocabulary(tokenizer.vocab_size, 64, tokenizer.fingerprint)
    rows = PackedDataset([TokenStore(folder)], tokenizer, vocabulary, seq_len=160, batch_size=1)
    with pytest.raises(ValueError, match=r"codes in \[0, 64\)"):
        list(rows.epoch_batches())

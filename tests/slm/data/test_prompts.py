"""Whose speech a prompt is, and how often a speaker comes."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slm.data.alignment import Alignment
from slm.data.config import DocumentSettings
from slm.data.packed_dataset import PackedDataset
from slm.data.token_store import TokenStore, TokenStoreWriter
from slm.data.vocabulary import Vocabulary
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PAUSE_ID, PhoneTokenizer, is_word_start, word_units

VOCABULARY = Vocabulary(PhoneTokenizer.vocab_size, 64)
WORD = word_units(["K", "AE", "T"])


def write_store(folder: Path, lengths: dict[str, list[int]]) -> TokenStore:
    """Utterances `<speaker>-<n>` of so many codes, all of a speaker with its number as codes."""
    writer = TokenStoreWriter(folder, codec_fingerprint="c", codebook_size=64, frame_rate=23.4375)
    for number, (speaker, counts) in enumerate(lengths.items()):
        for index, count in enumerate(counts):
            row = {"id": f"{speaker}-{index}", "text": "", "speaker": speaker}
            writer.add(np.full(count, number % 64), row)
    writer.close()
    return TokenStore(folder)


def rows_of(
    store: TokenStore, alignments: dict[str, Alignment] | None = None, **settings: Any
) -> PackedDataset:
    given = {"min_prompt_codes": 8, "max_prompt_codes": 16, "text_drop_probability": 0.0}
    return PackedDataset(
        [store],
        PhoneTokenizer(Lexicon({})),
        VOCABULARY,
        seq_len=256,
        batch_size=2,
        settings=DocumentSettings(**{**given, "prompt_probability": 1.0, **settings}),
        alignments=alignments or {},
    )


def parts_of(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of a document's prompt, and those behind it."""
    if tokens[1] != VOCABULARY.prompt_id:
        return tokens[:0], tokens[1:]
    end = 2 + int(np.argmax(tokens[2:] < VOCABULARY.code_start))
    return tokens[2:end], tokens[end:]


def test_a_speaker_of_one_recording_is_prompted_by_its_first_part(tmp_path: Path) -> None:
    store = write_store(tmp_path, {"one": [40], "two": [30, 30], "short": [15]})
    plain = rows_of(store)
    assert [len(parts_of(d.tokens)[0]) > 0 for d in plain.epoch_documents()].count(True) == 2
    rows = rows_of(store, own_recording_prompts=True)
    lengths = set()
    for epoch in range(20):
        for document in rows.epoch_documents(epoch):
            prompt, rest = parts_of(document.tokens)
            speech = rest[rest >= VOCABULARY.code_start]
            if speech[0] - VOCABULARY.code_start == 2:
                assert not len(prompt)  # two parts of it would be shorter than prompts are
            if speech[0] - VOCABULARY.code_start != 0:
                continue
            assert len(prompt) + len(speech) == 40
            assert 8 <= len(prompt) <= 16
            # Loss on the rest and the end alone.
            assert document.loss_weights.sum() == len(speech) + 1
            lengths.add(len(prompt))
    assert lengths == set(range(8, 17))
    assert rows.padding_fraction() == pytest.approx(
        1 - sum(len(d.tokens) for d in rows.epoch_documents()) / (rows.rows_in_epoch(0) * 256)
    )


@pytest.mark.parametrize("with_words", [True, False])
def test_an_aligned_recording_is_cut_where_a_word_or_a_phone_begins(
    tmp_path: Path, with_words: bool
) -> None:
    """Words of 9 codes, 3 a phone; or one word of thirteen phones."""
    store = write_store(tmp_path, {"one": [41]})
    units = [*WORD * 4] if with_words else word_units(["K"] * 12)
    alignment = Alignment(np.array([PAUSE_ID, *units, PAUSE_ID]), np.array([2, *[3] * 12, 3]))
    rows = rows_of(store, {"one-0": alignment}, own_recording_prompts=True, lookahead=1)
    borders = {11} if with_words else {8, 11, 14}
    found = set()
    for epoch in range(30):
        (document,) = rows.epoch_documents(epoch)
        prompt, rest = parts_of(document.tokens)
        assert (rest >= VOCABULARY.code_start).sum() + len(prompt) == 41
        found.add(len(prompt))
        # The rest begins with a pause of no codes, then a unit: as texts do.
        text = VOCABULARY.token_to_text(rest[1:3]).tolist()
        assert text[0] == PAUSE_ID
        assert is_word_start(text[1]) == with_words
        assert len(document.tokens) == sum(
            plan.length for row in rows._epoch_rows(epoch) for plan in row
        )
    assert found == borders


def test_prompts_are_left_out_whether_or_not_the_text_is(tmp_path: Path) -> None:
    store = write_store(tmp_path, {f"s{n}": [40] * 4 for n in range(100)})
    alignment = Alignment(np.array([0, *WORD, 0]), np.array([10, 5, 5, 10, 10]))
    spoken = {row["id"]: alignment for row in store.rows}
    given = {"prompt_probability": 0.75, "text_drop_probability": 0.25, "lookahead": 1}
    counts: Counter[tuple[bool, bool]] = Counter()
    for document in rows_of(store, spoken, **given).epoch_documents():
        has_prompt = document.tokens[1] == VOCABULARY.prompt_id
        counts[bool(has_prompt), VOCABULARY.text_id in document.tokens] += 1
    shares = {key: count / 400 for key, count in counts.items()}
    for key, expected in {(True, True): 9, (True, False): 3, (False, True): 3}.items():
        assert shares[key] == pytest.approx(expected / 16, abs=0.06)


def spoken_codes(rows: PackedDataset, epochs: int) -> Counter[int]:
    """Codes of each speaker, by its number, over some epochs."""
    counts: Counter[int] = Counter()
    for epoch in range(epochs):
        for document in rows.epoch_documents(epoch):
            codes = document.tokens[document.tokens >= VOCABULARY.code_start]
            counts[int(codes[-1]) - VOCABULARY.code_start] += len(codes)
    return counts


@pytest.mark.parametrize(("power", "ratio"), [(1.0, 16.0), (0.5, 4.0), (0.0, 1.0)])
def test_a_speaker_with_more_speech_comes_as_often_as_the_power_says(
    tmp_path: Path, power: float, ratio: float
) -> None:
    store = write_store(tmp_path, {"much": [20] * 64, "little": [40] * 2})
    rows = rows_of(store, speaker_power=power, prompt_probability=0.0)
    counts = spoken_codes(rows, 8)
    assert counts[0] / counts[1] == pytest.approx(ratio, rel=0.1)
    # Epochs stay about as long as with every utterance once.
    assert sum(counts.values()) / 8 == pytest.approx(64 * 20 + 2 * 40, rel=0.1)


def test_copies_of_a_recording_make_a_speaker_no_larger(tmp_path: Path) -> None:
    writer = TokenStoreWriter(tmp_path, codec_fingerprint="c", codebook_size=64, frame_rate=24.0)
    for speaker, number in (("copied", 0), ("once", 1)):
        for index in range(8):
            row = {"id": f"{speaker}{index}", "text": "", "speaker": speaker}
            writer.add(np.full(20, number), row)
            for shift in (256, 512, 768) if speaker == "copied" else ():
                copy = {**row, "id": f"{row['id']}+{shift}", "base_id": row["id"], "shift": shift}
                writer.add(np.full(20, number), copy)
    writer.close()
    rows = rows_of(TokenStore(tmp_path), speaker_power=0.5, prompt_probability=0.0)
    counts = spoken_codes(rows, 10)
    assert counts[0] / counts[1] == pytest.approx(1.0, rel=0.1)


def test_rows_without_a_speaker_are_each_one_of_their_own(tmp_path: Path) -> None:
    writer = TokenStoreWriter(tmp_path, codec_fingerprint="c", codebook_size=64, frame_rate=24.0)
    for index in range(40):
        known = {"speaker": "a"} if index < 20 else {}
        writer.add(np.full(20, int(index >= 20)), {"id": str(index), "text": "", **known})
    writer.close()
    rows = rows_of(TokenStore(tmp_path), speaker_power=0.0, prompt_probability=0.0)
    counts = spoken_codes(rows, 40)
    assert counts[1] / counts[0] == pytest.approx(20.0, rel=0.3)


def test_drawn_by_speaker_a_batch_still_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    store = write_store(tmp_path, {"much": [20] * 40, "little": [40] * 2})
    options = {"speaker_power": 0.5, "own_recording_prompts": True}
    straight = rows_of(store, **options)
    batches = [straight.batch(index).tokens.tolist() for index in range(12)]
    jumped = rows_of(store, **options)
    for index in (11, 3, 7):
        assert jumped.batch(index).tokens.tolist() == batches[index]


def test_interleaved_documents_open_with_a_prompt_where_asked(
    make_rows: Callable[..., PackedDataset],
) -> None:
    documents = {"interleave_probability": 1.0, "interleave_codes": 9}
    for prompted in (False, True):
        rows = make_rows(1.0, seq_len=250, documents={**documents, "prompt_interleaved": prompted})
        marker, turn = rows.vocabulary.prompt_id, rows.vocabulary.speech_id
        found = 0
        for document in rows.epoch_documents():
            tokens = document.tokens.tolist()
            if tokens.count(turn) < 2:
                continue
            assert (tokens[1] == marker) == prompted
            found += 1
            if prompted:
                text = tokens.index(rows.vocabulary.text_id)
                assert 8 <= text - 2 <= 16
                assert not document.loss_weights[:text].any()
        assert found > 5
        planned = sum(plan.length for row in rows._epoch_rows(0) for plan in row)
        assert planned == sum(len(d.tokens) for d in rows.epoch_documents())

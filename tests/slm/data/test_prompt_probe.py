"""The same speech after its own speaker's prompt, a stranger's and none."""

from collections.abc import Callable

import torch

from slm.data.packed_batch import PackedBatch
from slm.data.packed_dataset import PackedDataset
from slm.data.prompt_probe import NONE, OWN, STRANGER, prompt_probe
from slm.data.vocabulary import Vocabulary


def documents(batches: list[PackedBatch]) -> list[tuple[list[int], list[int]]]:
    """Tokens of each document: without a loss, and with one; in ascending order of the latter."""
    found = []
    for batch in batches:
        for row in range(len(batch.tokens)):
            for number in range(int(batch.document_ids[row].max()) + 1):
                at = batch.document_ids[row] == number
                scored = batch.loss_weights[row][at] > 0
                tokens = batch.tokens[row][at]
                found.append((tokens[~scored].tolist(), tokens[scored].tolist()))
    return sorted(found, key=lambda each: each[1])


def prompt_of(start: list[int], vocabulary: Vocabulary) -> list[int]:
    assert start[1] == vocabulary.prompt_id
    end = next(n for n in range(2, len(start)) if start[n] < vocabulary.code_start)
    return [token - vocabulary.code_start for token in start[2:end]]


def step_of(codes: list[int]) -> int:
    """The step width of arithmetic codes, which is the voice in the tiny corpus."""
    return (codes[1] - codes[0]) % 64


def test_the_same_codes_are_measured_after_each_kind_of_prompt(
    make_rows: Callable[..., PackedDataset], vocabulary: Vocabulary
) -> None:
    probe = prompt_probe(make_rows(prompt_probability=0.0, seq_len=160), 12)
    assert list(probe) == [OWN, NONE, STRANGER]
    own, none, stranger = (documents(probe[name]) for name in (OWN, NONE, STRANGER))
    assert len(own) == 12
    for with_own, without, with_stranger in zip(own, none, stranger, strict=True):
        assert with_own[1] == without[1] == with_stranger[1]
        voice = step_of([token - vocabulary.code_start for token in with_own[1]])
        prompts = [prompt_of(each[0], vocabulary) for each in (with_own, with_stranger)]
        assert len(prompts[0]) == len(prompts[1]) >= 8
        assert step_of(prompts[0]) == voice != step_of(prompts[1])
        assert vocabulary.prompt_id not in without[0]


def test_speakers_take_turns_in_a_small_probe(
    make_rows: Callable[..., PackedDataset], vocabulary: Vocabulary
) -> None:
    probe = prompt_probe(make_rows(seq_len=160), 4)
    voices = [
        step_of([token - vocabulary.code_start for token in scored])
        for _, scored in documents(probe[OWN])
    ]
    assert sorted(voices) == [1, 2, 3, 4]


def test_a_probe_is_the_same_whenever_it_is_made(make_rows: Callable[..., PackedDataset]) -> None:
    rows = make_rows(seq_len=160)
    first = prompt_probe(rows, 8)
    rows.batch(5)
    for name, batches in prompt_probe(rows, 8).items():
        for one, other in zip(first[name], batches, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert prompt_probe(rows, 0) == {}

from collections.abc import Callable

import pytest
import torch

from slm.data.packed_dataset import PackedDataset
from slm.model.speech_lm import SpeechLM
from slm.training.microbatches import MicroBatch, MicroBatches, micro_batch, micro_batches_per_step


def gradient(lm: SpeechLM, shares: list[MicroBatch]) -> torch.Tensor:
    """Of the mean of the losses, all parameters end to end."""
    lm.zero_grad()
    for each in shares:
        rows = each.batch
        loss = lm.loss(
            rows.tokens,
            rows.loss_weights,
            positions=rows.positions,
            document_ids=rows.document_ids,
            total_weight=each.total_weight,
        )
        (loss / len(shares)).backward()
    return torch.cat([p.grad.flatten() for p in lm.parameters() if p.grad is not None])


@pytest.mark.parametrize(("accumulate", "batch_size"), [(4, 2), (2, 4), (1, 4), (8, 1)])
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_together_have_the_gradient_of_one(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    accumulate: int,
    batch_size: int,
    processes: int,
) -> None:
    """Though their rows hold different numbers of tokens with a loss."""
    lm, rows = make_lm(gain=1.0).train(), make_rows(batch_size=batch_size, text_loss_weight=0.3)
    alone = [micro_batch(rows, accumulate + i, accumulate) for i in range(accumulate)]
    assert len({float(each.total_weight) for each in alone}) == len(alone)
    local = micro_batches_per_step(accumulate, batch_size, processes)
    together = [
        micro_batch(rows, local + i, accumulate, rank=rank, processes=processes)
        for rank in range(processes)
        for i in range(local)
    ]
    torch.testing.assert_close(gradient(lm, together), gradient(lm, alone), atol=1e-6, rtol=1e-4)


def test_every_row_of_a_step_goes_to_one_process_whatever_their_number(
    make_rows: Callable[..., PackedDataset],
) -> None:
    rows = make_rows(batch_size=4)
    for processes in (1, 2, 4):
        local = micro_batches_per_step(2, 4, processes)
        seen = torch.cat(
            [
                micro_batch(rows, 3 * local + i, 2, rank=rank, processes=processes).batch.tokens
                for rank in range(processes)
                for i in range(local)
            ]
        )
        whole = torch.cat([rows.batch(6).tokens, rows.batch(7).tokens])
        assert sorted(seen.tolist()) == sorted(whole.tolist())


def test_shares_start_at_the_micro_batch_of_their_step(
    make_rows: Callable[..., PackedDataset],
) -> None:
    rows = make_rows()
    numbers = [each.number for each in MicroBatches(rows, 3, start_step=2, stop_step=4)]
    assert numbers == [6, 7, 8, 9, 10, 11]


def test_shares_are_counted_before_they_leave_the_processor(
    make_rows: Callable[..., PackedDataset],
) -> None:
    """By rows of a batch here, so that what is counted is this process's part."""
    rows = make_rows(batch_size=4)
    for rank in range(2):
        each = micro_batch(rows, 1, 1, rank=rank, processes=2)
        real = each.batch.document_ids >= 0
        assert each.counts.tokens == int(real.sum())
        assert each.counts.targets == int((each.batch.loss_weights > 0).sum())
        assert each.counts.seen == int((each.batch.positions + 1)[real].sum())


def test_a_step_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 3 processes, got 4 batches of 2 rows"):
        micro_batches_per_step(4, 2, 3)

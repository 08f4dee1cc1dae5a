import pytest
import torch

from slm.model.attention import cached_mask, packed_mask
from slm.model.kv_cache import KVCache


def test_packed_mask_is_causal_within_documents() -> None:
    mask = packed_mask(torch.tensor([[0, 0, 1, 1, -1]]))[0, 0].int()
    assert mask.tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1],
    ]


def test_cached_mask_shows_each_row_its_own_past() -> None:
    mask = cached_mask(torch.tensor([[0], [2]]), 4)[:, 0].int()
    assert mask.tolist() == [[[1, 0, 0, 0]], [[1, 1, 1, 0]]]


def test_cache_returns_what_was_stored_at_each_rows_place() -> None:
    cache = KVCache(1, 2, 1, max_len=4, dim_head=2)
    first = torch.arange(8.0).reshape(2, 1, 2, 2)
    cache.at(torch.tensor([[0, 1], [0, 1]]))
    cache.update(0, first, first)
    new = torch.full((2, 1, 1, 2), 9.0)
    cache.at(torch.tensor([[2], [1]]))
    keys, values = cache.update(0, new, -new)
    assert keys[0, 0].tolist() == [[0, 1], [2, 3], [9, 9]]
    assert keys[1, 0].tolist() == [[4, 5], [9, 9], [0, 0]]
    assert values[1, 0, 1].tolist() == [-9, -9]
    cache.keep(torch.tensor([1]))
    assert cache.batch_size == 1
    with pytest.raises(ValueError, match="below 4"):
        cache.at(torch.tensor([[4]]))
    with pytest.raises(ValueError, match=r"expected positions \(1, S\)"):
        cache.at(torch.tensor([[0], [0]]))

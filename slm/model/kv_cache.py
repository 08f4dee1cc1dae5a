"""Preallocated key-value cache: slot j of a row holds its position j; rows differ in length."""

from __future__ import annotations

import torch
from torch import Tensor


class KVCache:
    """Keys and values of all layers for B rows of up to `max_len` positions.

    Each row fills its own slots from 0, so that tokens of one step may have different positions.
    Call `at` before a forward pass, then every layer updates once.

    Args:
        num_layers: Attention layers.
        batch_size: B.
        num_kv_heads: H'.
        max_len: Slots a row.
        dim_head: D.
        dtype: Of keys and values.
        device: Where the buffers live.
    """

    def __init__(
        self,
        num_layers: int,
        batch_size: int,
        num_kv_heads: int,
        *,
        max_len: int,
        dim_head: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (num_layers, batch_size, num_kv_heads, max_len, dim_head)
        # Zeros, not empty: an unseen slot times a zero attention weight must not be NaN.
        self._keys = torch.zeros(shape, dtype=dtype, device=device)
        self._values = torch.zeros(shape, dtype=dtype, device=device)
        self._positions = torch.zeros(batch_size, 0, dtype=torch.int64, device=device)
        self.num_keys = 0

    @property
    def batch_size(self) -> int:
        """Rows held."""
        return self._keys.shape[1]

    @property
    def max_len(self) -> int:
        """Slots a row."""
        return self._keys.shape[3]

    def at(self, positions: Tensor) -> None:
        """Set the positions (B, S), int64 in [0, max_len), of the next forward pass's tokens.

        Raises:
            ValueError: The batch differs from the cache's or a position lies outside it.
        """
        last = int(positions.max())
        if positions.shape[0] != self.batch_size or last >= self.max_len:
            raise ValueError(
                f"expected positions ({self.batch_size}, S) below {self.max_len}, "
                f"got shape {tuple(positions.shape)} up to {last}"
            )
        self._positions = positions
        # Of the longest row: masks hide the slots past the end of the others.
        self.num_keys = max(self.num_keys, last + 1)

    def update(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values (B, H', S, D) of a layer at the positions of `at`.

        All keys and values of the slots in use are returned, (B, H', num_keys, D) each.
        """
        # Each row at positions of its own, so a scatter and not a slice: (B, H', S, D).
        index = self._positions[:, None, :, None].expand_as(keys)
        self._keys[layer].scatter_(2, index, keys.to(self._keys.dtype))
        self._values[layer].scatter_(2, index, values.to(self._values.dtype))
        used = slice(0, self.num_keys)
        return self._keys[layer, :, :, used], self._values[layer, :, :, used]

    def keep(self, rows: Tensor) -> None:
        """Drop every row but `rows` (int64 indices), so that finished rows cost nothing."""
        self._keys = self._keys[:, rows]
        self._values = self._values[:, rows]

    def join(self, other: KVCache) -> None:
        """Append the rows of another cache of the same sizes."""
        self._keys = torch.cat([self._keys, other._keys], dim=1)
        self._values = torch.cat([self._values, other._values], dim=1)
        self.num_keys = max(self.num_keys, other.num_keys)

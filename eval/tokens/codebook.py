"""Codebook use: entries seen, perplexity, entropy and effective bit rate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from codec.checks import at_least


@dataclass(frozen=True)
class CodebookUsage:
    """Use of one codebook; every figure depends on `num_tokens`, to be printed beside them.

    Below a few times the codebook's size, used and entropy are bounded by the sample: entropy
    cannot exceed log2(num_tokens).
    """

    num_tokens: int  # codes counted
    codebook_size: int  # entries there are
    used: int  # entries seen at least once
    used_fraction: float  # used / codebook_size, 0 to 1
    entropy_bits: float  # plug-in entropy of the counts in bits a code
    normalized_entropy: float  # entropy_bits / log2(codebook_size), 0 to 1
    perplexity: float  # 2 ** entropy_bits, 1 to codebook_size
    bitrate: float  # frame_rate * log2(codebook_size), bit/s
    effective_bitrate: float  # frame_rate * entropy_bits, bit/s; that of an ideal order-0 coder

    def to_dict(self) -> dict[str, float | int]:
        """Plain figures by name, for a JSON object."""
        return asdict(self)


def count_codes(codes: np.ndarray | Iterable[np.ndarray], codebook_size: int) -> np.ndarray:
    """Count the occurrences of every entry, (codebook_size,) int64.

    Args:
        codes: Integer array of any shape, or several of them (one a clip).
        codebook_size: Entries there are; valid codes are 0 to codebook_size - 1.

    Raises:
        ValueError: Codes that are no integers or lie outside the codebook.
    """
    at_least("codebook_size", codebook_size, 1)
    counts = np.zeros(codebook_size, dtype=np.int64)
    for part in [codes] if isinstance(codes, np.ndarray) else codes:
        flat = np.asarray(part).reshape(-1)
        # An empty list becomes an array of floats: nothing to count, and no error.
        if flat.size == 0:
            continue
        if not np.issubdtype(flat.dtype, np.integer):
            raise ValueError(f"expected integer codes, got {flat.dtype}")
        if int(flat.min()) < 0 or int(flat.max()) >= codebook_size:
            raise ValueError(
                f"expected codes in [0, {codebook_size}), got {flat.min()} to {flat.max()}"
            )
        counts += np.bincount(flat.astype(np.int64), minlength=codebook_size)
    return counts


def usage_from_counts(counts: np.ndarray, frame_rate: float) -> CodebookUsage:
    """Compute the use of a codebook from occurrences (codebook_size,), `frame_rate` codes a second.

    Raises:
        ValueError: No code was counted, or a count is negative.
    """
    counts = np.asarray(counts)
    num_tokens = int(counts.sum())
    if counts.ndim != 1 or num_tokens <= 0 or int(counts.min()) < 0:
        raise ValueError(
            f"expected counts (codebook_size,) >= 0 of at least one code, got shape "
            f"{counts.shape} with the sum {num_tokens}"
        )
    seen = counts[counts > 0] / num_tokens
    # The sum is -0.0 for a single entry; adding 0.0 makes it a plain zero.
    entropy_bits = float(-(seen * np.log2(seen)).sum()) + 0.0
    capacity = float(np.log2(counts.size))
    return CodebookUsage(
        num_tokens=num_tokens,
        codebook_size=counts.size,
        used=seen.size,
        used_fraction=seen.size / counts.size,
        entropy_bits=entropy_bits,
        normalized_entropy=entropy_bits / capacity if capacity else 0.0,
        perplexity=float(2.0**entropy_bits),
        bitrate=frame_rate * capacity,
        effective_bitrate=frame_rate * entropy_bits,
    )


def usage(
    codes: np.ndarray | Iterable[np.ndarray], codebook_size: int, frame_rate: float
) -> CodebookUsage:
    """Compute the use of a codebook over codes of any shape, or over several clips of them.

    Raises:
        ValueError: As `count_codes` and `usage_from_counts`.
    """
    return usage_from_counts(count_codes(codes, codebook_size), frame_rate)

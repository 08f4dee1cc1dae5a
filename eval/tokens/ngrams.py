"""N-gram models of code streams, measured on held-out codes.

The entropy of counted pairs (the plug-in estimate) is far too low when pairs are few: most pairs
of a large codebook are seen once, and a pair seen once looks certain. So the model is trained on
some streams and evaluated on others, by interpolated Kneser-Ney smoothing
(https://doi.org/10.1109/ICASSP.1995.479394, as in https://arxiv.org/abs/cmp-lg/9606011), which
gives every code a probability; the plug-in figure is given only to show its bias.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from codec.checks import at_least

Context = tuple[int, ...]
# Context of the first code of a stream; never predicted.
_START = -1


@dataclass(frozen=True)
class ConditionalEntropy:
    """Bits a code of held-out streams under an n-gram model."""

    order: int  # n; 1 is without context, 2 has the code before
    num_train: int  # codes the model was trained on
    num_test: int  # codes it was evaluated on
    # Cross-entropy on the held-out codes: an upper bound on their conditional entropy, which falls
    # with more training codes.
    bits: float
    # Conditional entropy of the training codes' own counts: a lower bound, which means little until
    # contexts recur many times.
    plug_in_bits: float

    def to_dict(self) -> dict[str, float | int]:
        """Plain figures by name, for a JSON object."""
        return asdict(self)


class NgramModel:
    """Interpolated Kneser-Ney n-gram model over codes.

    Streams are taken one by one: a context never reaches over the start of its stream, which is a
    context of its own.

    Args:
        streams: Integer codes (L,) of each clip.
        vocab_size: Codes lie in [0, vocab_size).
        order: n, at least 1.

    Raises:
        ValueError: No code, a code out of range, or an order below 1.
    """

    def __init__(self, streams: Iterable[np.ndarray], vocab_size: int, order: int = 2) -> None:
        at_least("order", order, 1)
        at_least("vocab_size", vocab_size, 1)
        self.order = order
        self.vocab_size = vocab_size
        data = [_checked(stream, vocab_size) for stream in streams]
        self.num_codes = sum(map(len, data))
        if self.num_codes == 0:
            raise ValueError("expected at least one code to train on, got none")
        # counts[k] holds the followers of every context of k codes.
        counts: list[dict[Context, Counter[int]]] = [defaultdict(Counter) for _ in range(order)]
        for stream in data:
            padded = [_START] * (order - 1) + stream
            for index in range(order - 1, len(padded)):
                counts[-1][tuple(padded[index - order + 1 : index])][padded[index]] += 1
        self.plug_in_bits = _plug_in(counts[-1])
        # Below the highest order a code counts once for every different code it was seen after.
        for length in range(order - 2, -1, -1):
            for context, followers in counts[length + 1].items():
                for code in followers:
                    counts[length][context[1:]][code] += 1
        self._counts = [dict(level) for level in counts]
        self._sums = [{c: sum(f.values()) for c, f in level.items()} for level in counts]
        self._discounts = [_discount(level) for level in self._counts]

    def probability(self, code: int, context: Sequence[int]) -> float:
        """Compute the probability of a code after a context, of which order - 1 codes count."""
        # From no context to the longest seen: each order passes the mass that its discount takes
        # from the followers on to the order below.
        value = 1.0 / self.vocab_size
        longest = min(self.order - 1, len(context))
        for length in range(longest + 1):
            key = tuple(context[len(context) - length :])
            followers = self._counts[length].get(key)
            if followers is None:
                break
            total, discount = self._sums[length][key], self._discounts[length]
            own = max(followers.get(code, 0) - discount, 0.0)
            value = (own + discount * len(followers) * value) / total
        return value

    def bits_per_code(self, streams: Iterable[np.ndarray]) -> tuple[float, int]:
        """Compute the cross-entropy of streams in bits a code, and count their codes.

        Raises:
            ValueError: No code, or a code out of range.
        """
        total, count = 0.0, 0
        reach = self.order - 1
        for stream in streams:
            codes = _checked(stream, self.vocab_size)
            padded = [_START] * reach + codes
            for index, code in enumerate(codes):
                total -= math.log2(self.probability(code, padded[index : index + reach]))
            count += len(codes)
        if count == 0:
            raise ValueError("expected at least one held-out code, got none")
        return total / count, count


def conditional_entropy(
    train: Iterable[np.ndarray], test: Iterable[np.ndarray], vocab_size: int, *, order: int = 2
) -> ConditionalEntropy:
    """Train an n-gram model on streams (L,) and evaluate it on others; see `NgramModel`.

    Raises:
        ValueError: As `NgramModel`.
    """
    model = NgramModel(train, vocab_size, order)
    bits, count = model.bits_per_code(test)
    return ConditionalEntropy(order, model.num_codes, count, bits, model.plug_in_bits)


def _checked(stream: np.ndarray, vocab_size: int) -> list[int]:
    """Return codes (L,) as a list, or raise a ValueError."""
    codes = np.asarray(stream)
    if codes.ndim != 1 or (codes.size and not np.issubdtype(codes.dtype, np.integer)):
        raise ValueError(f"expected integer codes (L,), got {codes.dtype} {codes.shape}")
    if codes.size and (codes.min() < 0 or codes.max() >= vocab_size):
        raise ValueError(f"expected codes in [0, {vocab_size}), got {codes.min()} to {codes.max()}")
    return codes.tolist()


def _discount(level: dict[Context, Counter[int]]) -> float:
    """Estimate the discount n1 / (n1 + 2 n2) of n1 counts of 1 and n2 of 2, from 0.05 to 0.95."""
    sizes = Counter(count for followers in level.values() for count in followers.values())
    once, twice = sizes.get(1, 0), sizes.get(2, 0)
    return min(max(once / (once + 2 * twice) if once else 0.0, 0.05), 0.95)


def _plug_in(level: dict[Context, Counter[int]]) -> float:
    """Compute the conditional entropy of counted followers, bits."""
    total = sum(sum(followers.values()) for followers in level.values())
    bits = 0.0
    for followers in level.values():
        size = sum(followers.values())
        bits -= sum(n * math.log2(n / size) for n in followers.values())
    return bits / total if total else 0.0

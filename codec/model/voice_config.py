"""Configuration of a voice code: a few tokens beside the codes of a whole recording."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .part_configs import check_counts, check_finite, require_size

# A file holds no more.
MOST_TOKENS = 255


@dataclass(frozen=True)
class VoiceConfig:
    """Voice of a recording in tokens of its own, by which the mel decoder is modulated.

    Attributes:
        tokens: K of a recording; 0 for no voice code, which is how the paper's codec works.
        levels: Of each channel of their grid (finite scalar quantisation); their product is the
            number of different tokens.
        dim: Width of a token's vector, and of the features that are pooled over the recording.
        entropy: Weight, in the quantizer's loss, of the entropy of each token's choice of levels
            less that of the mean choice; 0 leaves it out.
    """

    tokens: int = 0
    levels: tuple[int, ...] = (4, 4, 4, 4)
    dim: int = 128
    entropy: float = 0.1

    def __post_init__(self) -> None:
        check_finite("voice", self)
        fits = 0 <= self.tokens <= MOST_TOKENS
        require_size(fits, "voice.tokens", f"0..{MOST_TOKENS}", self.tokens)
        fits = min(self.levels, default=0) >= 2 and self.size <= 65536
        require_size(fits, "voice.levels", "2 or more each, product up to 65536", self.levels)
        check_counts("voice", self, dim=len(self.levels))
        require_size(self.entropy >= 0, "voice.entropy", "0 or more", self.entropy)

    @property
    def size(self) -> int:
        """Number of different tokens."""
        return math.prod(self.levels)

    @property
    def bits(self) -> int:
        """Bits of a recording's voice."""
        return self.tokens * (self.size - 1).bit_length()

    def refuse(self, what: str) -> None:
        """Refuse a codec with a voice code where that would get lost, such as `what`.

        Raises:
            CodecConfigError: There is one.
        """
        require_size(self.tokens == 0, "voice.tokens", f"0 for {what}", self.tokens)

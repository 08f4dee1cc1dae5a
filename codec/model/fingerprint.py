"""What tells a codec from others: fingerprints of all of it, and of what decides on its codes."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

from torch import Tensor

# What decides on the codes: parts of the model and of its config.
CODING_PARTS = "encoder", "quantizer"
CODING_VALUES = "hop_length", "loudness_dbfs", "mel", "encoder", "quantizer"
# In the header of a weights file: whose codes these are, and who made the same before.
CODES, SAME_CODES = "code_fingerprint", "same_codes_as"


class Digests(NamedTuple):
    """16 hex digits each: of a whole codec, and of what decides on its codes."""

    whole: str
    codes: str


class Identity:
    """The fingerprints of one codec, hashed anew only after its weights were written to.

    Attributes:
        frozen: digests that stay whatever the weights look like, as those of a folded codec do.
        coded: a code fingerprint, "" for none.
        earlier: further names of the codes that `coded` stands for.
    """

    def __init__(self) -> None:
        self.frozen: Digests | None = None
        self.coded, self.earlier = "", ()
        # the last digests, and the config and state of the weights that they are of
        self._last: tuple[Any, Digests] | None = None

    def digests(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> Digests:
        """Fingerprints of config values and of tensors by name."""
        if self.frozen is not None:
            return self.frozen
        named = sorted(tensors.items())
        if any(tensor.is_inference() for _, tensor in named):  # whose writes are not counted
            return hashed(values, named)
        # torch counts the writes to a tensor; one that was replaced lies elsewhere
        state = values, [(name, tensor.data_ptr(), tensor._version) for name, tensor in named]
        if self._last is None or self._last[0] != state:
            self._last = state, hashed(values, named)
        return self._last[1]

    def forget(self) -> None:
        """Hash anew: new weights may lie where the old ones lay."""
        self._last = None

    def names(self, digests: Digests) -> tuple[str, ...]:
        """Names under which codes may have been stored, today's first."""
        earlier = self.earlier if self.coded == digests.codes else ()
        return tuple(dict.fromkeys((digests.codes, digests.whole, *earlier)))

    def keep(self, digests: Digests, names: tuple[str, ...]) -> None:
        """Take further names for the codes of these digests."""
        known = (*self.names(digests), *names)
        self.coded = digests.codes
        self.earlier = tuple(dict.fromkeys(name for name in known if name not in digests))

    def to_header(self) -> dict[str, str] | None:
        """The further names, as the header of a weights file holds them; None without any."""
        return {CODES: self.coded, SAME_CODES: " ".join(self.earlier)} if self.earlier else None

    def read_header(self, header: dict[str, str]) -> None:
        """Take what `to_header` gave."""
        self.coded, self.earlier = header.get(CODES, ""), tuple(header.get(SAME_CODES, "").split())


def hashed(values: dict[str, Any], tensors: list[tuple[str, Tensor]]) -> Digests:
    """Digests of config values and of tensors by name, in their order."""
    whole = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    values = {name: values[name] for name in CODING_VALUES}
    codes = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name, tensor in tensors:
        data = tensor.detach().cpu().contiguous().numpy().tobytes()
        for digest in (whole, codes) if name.split(".")[0] in CODING_PARTS else (whole,):
            digest.update(name.encode())
            digest.update(data)
    return Digests(whole.hexdigest()[:16], codes.hexdigest()[:16])

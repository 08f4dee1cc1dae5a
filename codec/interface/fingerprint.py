"""Fingerprints of a codec: one of all of it, and one of what decides on its codes.

A codec's fingerprints hash fields of its config and its weights by name. Codes belong to the second
one: codecs that share it give the same codes, however they differ in decoder and vocoder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # configs are read without torch
    from torch import Tensor

# What the first release's configs held. These fields are part of every fingerprint; one added later
# only where it differs from its default, which must mean "as before", so that tokens stored by
# then still belong to their codec. Never add to this table.
FIRST_FIELDS = {
    "": "name hop_length loudness_dbfs",
    "mel": "sample_rate n_fft hop_length n_mels floor padding",
    "encoder": "kind ratios channels dim num_lstm_layers num_mel_blocks num_blocks",
    "quantizer": "codebook_size dim hidden_dim num_stages shared_transform commitment "
    "normalize_latents",
    "decoder": "dim num_layers mlp_ratio dropout num_refine_layers refine_dim",
    "vocoder": "dim intermediate_dim num_layers",
}
# What decides on the codes: parts of the model and of its config.
CODING_PARTS = "encoder", "quantizer"
CODING_VALUES = "hop_length", "loudness_dbfs", "mel", "encoder", "quantizer"
# In the header of a weights file: a code fingerprint, and further names of the same codes.
CODES, SAME_CODES = "code_fingerprint", "same_codes_as"


class CodecFingerprint(NamedTuple):
    """16 hex digits each: of a whole codec, and of what decides on its codes."""

    whole: str
    codes: str

    @classmethod
    def of(cls, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> CodecFingerprint:
        """Hash a codec.

        Args:
            values: `CodecConfig.fingerprint_values`.
            tensors: The state dict, weight norm not removed.
        """
        return cls(_digest(values, tensors), code_fingerprint(values, tensors))


@dataclass(frozen=True)
class CodeNames:
    """Further names under which the codes of a codec may have been stored.

    Attributes:
        codes: Code fingerprint that they stand for, without which they mean nothing.
        others: The names.
    """

    codes: str = ""
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, now: CodecFingerprint, names: Iterable[str]) -> CodeNames:
        """Take names for those of the codes of a codec, but for its own fingerprints."""
        return cls(now.codes, tuple(name for name in dict.fromkeys(names) if name not in now))

    @classmethod
    def from_header(cls, header: Mapping[str, str]) -> CodeNames:
        """Read what `header` gave a weights file."""
        return (
            cls(header[CODES], tuple(header[SAME_CODES].split())) if SAME_CODES in header else cls()
        )

    def header(self) -> dict[str, str] | None:
        """Build entries for the header of a weights file, None where there are no names.

        They stand under the codes they are of: weights in half precision have other bytes, and are
        compared when they are loaded, in fp32.
        """
        return {CODES: self.codes, SAME_CODES: " ".join(self.others)} if self.others else None

    def all_of(self, now: CodecFingerprint) -> tuple[str, ...]:
        """Every name of a codec's codes: its fingerprints, and the others if they are its own."""
        others = self.others if now.codes == self.codes else ()
        return tuple(dict.fromkeys((now.codes, now.whole, *others)))


def code_fingerprint(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """`CodecFingerprint.codes` alone, which costs the smaller part; arguments as of its `of`."""
    return _digest(
        {name: values[name] for name in CODING_VALUES},
        {name: value for name, value in tensors.items() if name.split(".")[0] in CODING_PARTS},
    )


def _digest(values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    return weights_digest(json.dumps(values, sort_keys=True), tensors)


def weights_digest(about: str, tensors: Mapping[str, Tensor]) -> str:
    """Hash weights by name, and what else is to be told apart: 16 hex digits."""
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()[:16]


def _bytes(tensor: Tensor) -> Any:
    """The values of a tensor as they lie in memory, an array that is hashed without a copy."""
    import torch

    values = tensor.detach().cpu().contiguous()
    # NumPy has no bfloat16.
    values = values.view(torch.int16) if values.dtype == torch.bfloat16 else values
    return values.numpy().reshape(-1)


def identifying_fields(
    config: Any, first_fields: str, *, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Collect the fields of a config that are hashed, as plain containers: see FIRST_FIELDS."""
    # by way of JSON, in which a list and a tuple are the same
    values, defaults = (json.loads(json.dumps(asdict(each))) for each in (config, type(config)()))
    return {
        name: value
        for name, value in values.items()
        if name not in without and (name in first_fields.split() or value != defaults[name])
    }

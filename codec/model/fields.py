"""Rules that the config classes share: checks of their fields, and which of them identify."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

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


class CodecConfigError(ValueError):
    """A codec configuration that cannot be built; the message names the field."""


def require(config: Any, prefix: str, checks: list[tuple[bool, str, str]]) -> None:
    """Raise the first check that did not pass, as (passed, field, what was expected).

    Raises:
        CodecConfigError: naming the field, what was expected and what came.
    """
    for passed, name, expected in checks:
        if not passed:
            value = config
            for part in name.split("."):
                value = getattr(value, part)
            raise CodecConfigError(
                f"codec config {prefix}{name}: expected {expected}, got {value!r}"
            )


def identity(config: Any, first_fields: str, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a dataclass that tell it from others, as plain containers: see FIRST_FIELDS."""
    # by way of JSON, in which a list and a tuple are the same
    values, defaults = (json.loads(json.dumps(asdict(each))) for each in (config, type(config)()))
    return {
        name: value
        for name, value in values.items()
        if name not in without and (name in first_fields.split() or value != defaults[name])
    }

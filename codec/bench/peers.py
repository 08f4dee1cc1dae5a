"""Other codecs at random weights, from `transformers`, to be measured beside ours.

Each stands for its published 24 kHz model: Mimi and EnCodec at their default configs, coded with
the 8 codebooks their users mostly take (1.1 and 6 kbit/s), DAC with the strides and the 32
codebooks of its 24 kHz model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from codec.layers.weight_norm import remove_weight_norm

SAMPLE_RATE = 24_000


@dataclass(frozen=True)
class Subject:
    """A codec under measurement.

    Attributes:
        module: Holds every weight.
        encode: Waveform (1, T) at 24 kHz to codes of any form.
        decode: Those codes to a waveform.
        bitrate: Bit/s of the codes.
    """

    module: nn.Module
    encode: Callable[[Tensor], Any]
    decode: Callable[[Any], Tensor]
    bitrate: float


def mimi() -> Subject:
    """Mimi (https://arxiv.org/abs/2410.00037): 12.5 Hz, 8 of 32 codebooks of 2048."""
    from transformers import MimiConfig, MimiModel

    model = _ready(MimiModel(MimiConfig()))
    return Subject(
        model,
        lambda waveform: model.encode(waveform[:, None], num_quantizers=8).audio_codes,
        lambda codes: model.decode(codes).audio_values,
        12.5 * 8 * 11,
    )


def encodec() -> Subject:
    """EnCodec (https://arxiv.org/abs/2210.13438): 75 Hz, 8 codebooks of 1024."""
    from transformers import EncodecConfig, EncodecModel

    model = _ready(EncodecModel(EncodecConfig()))

    # codes and their scales belong together
    def encode(waveform: Tensor) -> Any:
        coded = model.encode(waveform[:, None], bandwidth=6.0)
        return coded.audio_codes, coded.audio_scales

    return Subject(model, encode, lambda coded: model.decode(*coded).audio_values, 6000.0)


def dac() -> Subject:
    """Descript's codec (https://arxiv.org/abs/2306.06546): 75 Hz, 32 codebooks of 1024."""
    from transformers import DacConfig, DacModel

    settings: dict[str, Any] = {
        "sampling_rate": SAMPLE_RATE,
        "n_codebooks": 32,
        "downsampling_ratios": [2, 4, 5, 8],
        "upsampling_ratios": [8, 5, 4, 2],
    }
    model = _ready(DacModel(DacConfig(**settings)))
    return Subject(
        model,
        lambda waveform: model.encode(waveform[:, None]).audio_codes,
        lambda codes: model.decode(audio_codes=codes).audio_values,
        75.0 * 32 * 10,
    )


def _ready(model: Any) -> Any:
    """A model in eval mode, without weight norm, as ours is measured."""
    remove_weight_norm(model)
    return model.eval()


PEERS: dict[str, Callable[[], Subject]] = {"mimi": mimi, "encodec": encodec, "dac": dac}

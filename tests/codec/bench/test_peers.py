from importlib.util import find_spec

import pytest
import torch

from codec.bench.peers import PEERS
from codec.layers.weight_norm import weight_normed

pytestmark = pytest.mark.skipif(
    find_spec("transformers") is None, reason="transformers is not installed"
)
# What the published 24 kHz models hold, in millions.
SIZES = {"mimi": 79.3, "encodec": 14.9, "dac": 74.7}
FRAMES = {"mimi": (8, 13), "encodec": (8, 75), "dac": (32, 75)}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PEERS))
def test_a_peer_codes_and_decodes_a_second_at_its_published_size_and_rate(name):
    subject = PEERS[name]()
    with torch.inference_mode():
        codes = subject.encode(0.1 * torch.randn(1, 24_000))
        decoded = subject.decode(codes)
    integers = codes[0] if isinstance(codes, tuple) else codes
    assert integers.shape[-2:] == FRAMES[name]
    assert abs(decoded.shape[-1] - 24_000) < 1920
    assert sum(p.numel() for p in subject.module.parameters()) / 1e6 == pytest.approx(
        SIZES[name], abs=0.1
    )
    assert not weight_normed(subject.module)

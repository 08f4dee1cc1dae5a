from collections.abc import Callable

import pytest
import torch

from slm.model.int8_weights import compact_weights, expanded_weights
from slm.model.speech_lm import SpeechLM


@torch.no_grad()
@pytest.mark.parametrize(
    ("precision", "share", "error"), [("fp16", 0.51, 1e-3), ("int8", 0.3, 9e-3)]
)
def test_compact_weights_are_small_and_come_back_close(
    lm: SpeechLM, make_lm: Callable[..., SpeechLM], precision: str, share: float, error: float
) -> None:
    stored = compact_weights(lm, precision)
    whole = sum(value.nbytes for value in lm.state_dict().values())
    assert sum(value.nbytes for value in stored.values()) < share * whole
    again = make_lm(seed=1)
    again.load_state_dict(expanded_weights(stored))
    for (name, ours), theirs in zip(
        lm.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert theirs.dtype == ours.dtype, name
        assert (theirs - ours).abs().max() <= error * ours.abs().max(), name
    for name, buffer in lm.named_buffers():
        torch.testing.assert_close(again.get_buffer(name), buffer, rtol=0, atol=0)


@torch.no_grad()
def test_rounding_again_changes_nothing(lm: SpeechLM, make_lm: Callable[..., SpeechLM]) -> None:
    again = make_lm(seed=1)
    again.load_state_dict(expanded_weights(compact_weights(lm, "fp16")))
    stored = compact_weights(again, "fp16")
    assert all(
        torch.equal(stored[name], value) for name, value in compact_weights(lm, "fp16").items()
    )


@torch.no_grad()
def test_a_row_of_zeros_stays_one(lm: SpeechLM) -> None:
    lm.embedding.weight[3] = 0.0
    expanded = expanded_weights(compact_weights(lm, "int8"))
    assert expanded["embedding.weight"][3].abs().max() == 0.0


@torch.no_grad()
def test_what_cannot_be_stored_is_refused(lm: SpeechLM) -> None:
    with pytest.raises(ValueError, match=r"precision of .* got 'int4'"):
        compact_weights(lm, "int4")
    lm.head.weight[0, 0] = 1e6
    with pytest.raises(ValueError, match=r"at most 65504 in head.weight, got 1e\+06"):
        compact_weights(lm, "fp16")

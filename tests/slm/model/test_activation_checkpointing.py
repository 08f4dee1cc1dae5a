import copy
from collections.abc import Callable

import torch

from slm.data.packed_dataset import PackedDataset
from slm.model.speech_lm import SpeechLM


def gradients(lm: SpeechLM, rows: PackedDataset) -> dict[str, torch.Tensor]:
    batch = rows.batch(0)
    torch.manual_seed(0)
    lm.zero_grad()
    lm.loss(batch.tokens, batch.loss_weights, document_ids=batch.document_ids).backward()
    return {name: p.grad.clone() for name, p in lm.named_parameters() if p.grad is not None}


def test_recomputed_activations_give_the_same_gradients_with_dropout_too(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset]
) -> None:
    lm, rows = make_lm(dropout=0.2).train(), make_rows()
    expected, names = gradients(lm, rows), list(lm.state_dict())
    lm.recompute_activations()
    given = gradients(lm, rows)
    assert list(lm.state_dict()) == names
    for name, value in expected.items():
        torch.testing.assert_close(given[name], value)


def test_a_copy_recomputes_with_its_own_weights(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset]
) -> None:
    lm = make_lm().train()
    lm.recompute_activations()
    twin = copy.deepcopy(lm)
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.zero_()
    assert all(value.abs().sum() > 0 for value in gradients(twin, make_rows()).values())


def test_fewer_activations_are_kept_for_the_backward_pass(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset]
) -> None:
    lm, batch = make_lm().train(), make_rows().batch(0)
    kept = []
    for recomputed in (False, True):
        lm.recompute_activations(recomputed)
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = lm.loss(batch.tokens, batch.loss_weights, document_ids=batch.document_ids)
        kept.append(sum(sizes.values()))
        loss.backward()
    assert kept[1] < 0.6 * kept[0]

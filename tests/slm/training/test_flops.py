from collections.abc import Callable

import pytest
import torch

import slm.training.flops
from slm.data.packed_dataset import PackedDataset
from slm.model.speech_lm import SpeechLM
from slm.training.flops import block_parameters, measured_peak_flops, peak_flops, training_flops
from slm.training.optimizers import gradient_norm


def test_block_parameters_are_those_of_the_decoders_matrices(
    make_lm: Callable[..., SpeechLM],
) -> None:
    lm = make_lm(num_kv_heads=1)
    matrices = [p.numel() for p in lm.decoder.parameters() if p.ndim == 2]
    assert block_parameters(lm.config) == sum(matrices)


def test_operations_of_a_batch_follow_the_formula(
    lm: SpeechLM, make_rows: Callable[..., PackedDataset]
) -> None:
    batch = make_rows().batch(0)
    config = lm.config
    tokens, seen, targets = 0, 0, 0
    for row in range(len(batch.tokens)):
        for place in range(batch.tokens.shape[1]):
            if batch.document_ids[row, place] >= 0:
                tokens += 1
                seen += int(batch.positions[row, place]) + 1
                targets += int(batch.loss_weights[row, place] > 0)
    expected = 6 * block_parameters(config) * tokens + 6 * lm.head.weight.numel() * targets
    expected += 12 * config.num_layers * config.num_heads * config.dim_head * seen
    assert training_flops(config, batch) == expected


def test_the_peak_is_known_for_named_devices_in_bfloat16_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = torch.device("cuda", 0)
    name = "NVIDIA H200"
    monkeypatch.setattr(slm.training.flops.torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(cuda, bf16=True) == 989e12
    assert peak_flops(cuda, bf16=False) is None
    assert peak_flops(torch.device("cpu"), bf16=True) is None
    name = "Some other device"
    assert peak_flops(cuda, bf16=True) is None


def test_the_measured_peak_is_that_of_the_fastest_round(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 4.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr(slm.training.flops.time, "perf_counter", lambda: next(times))
    for _ in range(2):  # the second time it is known
        peak = measured_peak_flops(torch.device("cpu"), torch.bfloat16, rounds=3)
        assert peak == 2 * 1024**3 / 2.0


def test_the_gradient_norm_is_that_of_all_parameters_end_to_end() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1, 2))]
    parameters[0].grad = torch.tensor([1.0, 2.0])
    parameters[1].grad = torch.tensor([[4.0, 2.0]])
    assert gradient_norm([*parameters, torch.nn.Parameter(torch.zeros(3))]) == 5

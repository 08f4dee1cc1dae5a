"""What stays as it is in a training, and adapters that are trained in its place."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from slm.data.packed_dataset import PackedDataset
from slm.model.speech_lm import SpeechLM
from slm.training.config import LoraSettings, TrainingSettings
from slm.training.lora import add_lora, merge_lora
from tests.support.builders import fit


def changed(before: dict[str, torch.Tensor], lm: SpeechLM) -> set[str]:
    """Names of the tensors that training changed."""
    return {name for name, value in lm.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(
    ("settings", "still"),
    [
        ({"freeze": ("embedding", "head")}, ("embedding.", "head.")),
        ({"freeze": ("attention", "norms")}, (".1.to_", ".g")),
        ({"freeze": ("feed_forward",)}, (".1.ff.",)),
        ({"freeze_layers": 1}, ("layers.0.", "layers.1.")),
    ],
)
def test_frozen_parts_stay_to_the_bit_and_the_others_learn(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    settings: dict[str, Any],
    still: tuple[str, ...],
    optimizer: str,
) -> None:
    lm = make_lm(gain=1.0)
    before = copy.deepcopy(lm.state_dict())
    fit(lm, make_rows(), tmp_path, optimizer=optimizer, **settings)
    moved = changed(before, lm)
    kept = {name for name in before if any(part in name for part in still)}
    assert kept
    assert moved == set(before) - kept - {"decoder.rotary_pos_emb.inv_freq"}
    assert all(parameter.requires_grad for parameter in lm.parameters())


def test_a_run_with_frozen_parts_continues_to_the_bit(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    rows, given = make_rows(), {"freeze": ("embedding",), "min_learning_rate": 3e-3}
    straight = fit(make_lm(), rows, tmp_path / "a", max_steps=4, **given)
    fit(make_lm(), rows, tmp_path / "b", max_steps=2, **given)
    resumed = fit(make_lm(), rows, tmp_path / "b", max_steps=4, **given)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_training_of_nothing_or_of_unknown_parts_is_refused(
    lm: SpeechLM, make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    everything = ("embedding", "attention", "feed_forward", "norms", "head")
    with pytest.raises(ValueError, match="something left to train"):
        fit(lm, make_rows(), tmp_path, freeze=everything)
    with pytest.raises(ValueError, match=r"freeze: expected some of embedding, .*'ears'"):
        TrainingSettings(10, freeze=("ears",))
    assert all(parameter.requires_grad for parameter in lm.parameters())


def test_adapters_begin_as_nothing_and_merge_into_the_same_parts(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    lm, rows = make_lm(gain=1.0), make_rows()
    batch, before = rows.batch(0), copy.deepcopy(lm.state_dict())
    logits = lm(batch.tokens, batch.positions, batch.document_ids)
    add_lora(lm, LoraSettings(rank=4), seed=1)
    assert torch.equal(lm(batch.tokens, batch.positions, batch.document_ids), logits)
    fit(lm, rows, tmp_path)
    adapted = lm(batch.tokens, batch.positions, batch.document_ids)
    assert not torch.equal(adapted, logits)
    merge_lora(lm)
    assert set(lm.state_dict()) == set(before)
    matrices = {
        name for name in before if ".to_" in name or (".ff." in name and ".bias" not in name)
    }
    assert changed(before, lm) == matrices
    after = lm(batch.tokens, batch.positions, batch.document_ids)
    torch.testing.assert_close(after, adapted, atol=1e-4, rtol=1e-4)


def test_a_run_of_adapters_continues_to_the_bit(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    rows, given = make_rows(), {"min_learning_rate": 3e-3}

    def trained(folder: str, *steps: int) -> SpeechLM:
        for count in steps:
            lm = make_lm()
            add_lora(lm, LoraSettings(rank=2, dropout=0.1), seed=3)
            fit(lm, rows, tmp_path / folder, max_steps=count, **given)
            merge_lora(lm)
        return lm

    straight, resumed = trained("a", 4), trained("b", 2, 4)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name

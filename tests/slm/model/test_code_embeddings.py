from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from slm.model.code_embeddings import CodeTable, code_tables, plain_weight, standardised
from slm.model.code_init import init_codes_from_codebook
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM
from slm.training.config import TrainingSettings
from slm.training.optimizers import new_optimizer

TOKENS = torch.tensor([[1, 3, 7, 5, 90, 95, 100, 2]])
WEIGHTS = torch.tensor([[0.0, 0, 0, 0, 1, 1, 1, 1]])


@pytest.fixture
def codebook() -> torch.Tensor:
    return torch.randn(64, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def lm(make_lm: Callable[..., SpeechLM], codebook: torch.Tensor) -> SpeechLM:
    lm = make_lm(gain=1.0, code_table=16, codebook_dim=8)
    init_codes_from_codebook(lm, codebook)
    return lm


def test_codes_that_sound_alike_begin_alike(codebook: torch.Tensor) -> None:
    table = CodeTable(64, 8, 32, hidden=16, std=0.02)
    near = codebook.clone()
    near[1] = near[0] + 1e-3
    table.set_codebook(near)
    rows = table(torch.zeros(5, 32))
    assert rows.shape == (69, 32)
    assert (rows[5] - rows[6]).norm() < 0.3 * (rows[5] - rows[7]).norm()


def test_rows_before_the_codes_are_trained_as_they_are() -> None:
    table = CodeTable(4, 2, 3, hidden=5, std=0.02)
    weight = torch.randn(6, 3)
    torch.testing.assert_close(table(table.right_inverse(weight))[:2], weight[:2])


def test_features_have_mean_0_and_variance_1(codebook: torch.Tensor) -> None:
    features = standardised(codebook)
    assert features.shape == (64, 9)
    torch.testing.assert_close(features.mean(0), torch.zeros(9), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.std(0), torch.ones(9))


def test_a_codebook_of_another_size_is_refused(lm: SpeechLM) -> None:
    with pytest.raises(ValueError, match="codebook"):
        init_codes_from_codebook(lm, torch.zeros(64, 7))
    with pytest.raises(ValueError, match="codebook_dim"):
        SpeechLMConfig(lm.config.vocabulary, "codec", 23.4, code_table=16)


def test_every_parameter_of_the_tables_learns(lm: SpeechLM) -> None:
    lm.loss(TOKENS, WEIGHTS).backward()
    for table in code_tables(lm):
        for parameter in table.parameters():
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_lowers_the_loss_and_own_rows_never_decay(lm: SpeechLM, optimizer: str) -> None:
    settings = TrainingSettings(
        100, learning_rate=1e-3, warmup_steps=0, weight_decay=0.5, optimizer=optimizer
    )
    embedding, head = plain_weight(lm.embedding), plain_weight(lm.head)
    made = new_optimizer(lm, embedding, head, settings)
    undecayed = [
        p for group in made.param_groups if not group["weight_decay"] for p in group["params"]
    ]
    assert any(p is embedding for p in undecayed)
    assert all(any(p is table.own for p in undecayed) for table in code_tables(lm))
    assert sum(len(group["params"]) for group in made.param_groups) == len(list(lm.parameters()))
    before = lm.loss(TOKENS, WEIGHTS)
    for _ in range(3):
        made.zero_grad()
        lm.loss(TOKENS, WEIGHTS).backward()
        made.step()
    assert lm.loss(TOKENS, WEIGHTS) < before


def test_a_loaded_model_is_folded_and_gives_the_same_logits(lm: SpeechLM, tmp_path: Path) -> None:
    lm.save_pretrained(tmp_path)
    loaded = SpeechLM.from_pretrained(tmp_path)
    assert not code_tables(loaded)
    assert loaded.config.code_table == 0
    torch.testing.assert_close(loaded(TOKENS), lm(TOKENS))
    loaded.save_pretrained(tmp_path / "again")
    torch.testing.assert_close(SpeechLM.from_pretrained(tmp_path / "again")(TOKENS), lm(TOKENS))


def test_a_model_loaded_unfolded_is_stored_as_small_as_it_was(lm: SpeechLM, tmp_path: Path) -> None:
    lm.save_pretrained(tmp_path / "first")
    loaded = SpeechLM.from_pretrained(tmp_path / "first", fold=False)
    assert len(code_tables(loaded)) == 2
    loaded.save_pretrained(tmp_path / "second")
    sizes = {(tmp_path / name / "model.safetensors").stat().st_size for name in ("first", "second")}
    assert len(sizes) == 1


def test_codes_are_hidden_from_the_model_in_training_only(make_lm: Callable[..., SpeechLM]) -> None:
    lm = make_lm(code_dropout=0.99)
    torch.manual_seed(0)
    seen = lm(TOKENS)
    torch.testing.assert_close(lm(TOKENS), seen)
    lm.train()
    hidden = lm(TOKENS)
    torch.testing.assert_close(hidden[:, :4], seen[:, :4])
    assert not torch.allclose(hidden[:, 4:], seen[:, 4:])

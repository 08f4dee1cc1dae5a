"""Two processes on the CPU against one: the same steps, weights and checkpoints."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from slm.data.token_store import TokenStore
from slm.model.speech_lm import SpeechLM
from slm.text.sentencepiece_tokenizer import TextTokenizer
from tests.slm.training import parallel_run
from tests.support import forked
from tests.support.builders import metrics_of

# Trainings of several processes.
pytestmark = pytest.mark.launches


@pytest.fixture(scope="module")
def runs(
    store: TokenStore,
    tokenizer: TextTokenizer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder of runs by one process, by two, and by one and two in turn.

    All that two processes train is trained by one start of them: `two_*` from the start, `grown_*`
    on from one process' checkpoint, `shrunk_*` for one process to go on from, and `ended_*` again
    after a signal to one of the two.
    """
    folder = tmp_path_factory.mktemp("parallel")
    text = tokenizer.save(folder / "text")

    def alone(name: str, **options: Any) -> None:
        lm = parallel_run.train(folder / name, store.folder, text, options)
        lm.save_pretrained(folder / name / "model")

    constant = {"learning_rate": 1e-3, "min_learning_rate": 1e-3}
    alone("one_accumulate2", accumulate=2)
    alone("one_accumulate1", accumulate=1)
    alone("one_codes", code_table=16)
    alone("straight", max_steps=6, **constant)
    jobs: dict[str, dict[str, Any]] = {
        "two_accumulate2": {"accumulate": 2, "strategy": "ddp"},
        "two_accumulate1": {"accumulate": 1, "strategy": "ddp"},
    }
    for strategy in ("ddp", "fsdp"):
        spread = {"strategy": strategy, "recompute": strategy == "fsdp", **constant}
        alone(f"grown_{strategy}", max_steps=2, **constant)
        jobs[f"two_codes_{strategy}"] = {"code_table": 16, "strategy": strategy}
        jobs[f"grown_{strategy}"] = {"max_steps": 6, **spread}
        jobs[f"shrunk_{strategy}"] = {"max_steps": 2, **spread}
        jobs[f"ended_{strategy}"] = {"max_steps": 6, "ended_rank": 1, **spread}
    of_two = {folder / name: {"devices": 2, **job} for name, job in jobs.items()}
    given = (parallel_run.train_all, store.folder, text, of_two)
    statuses = forked.run_ranks(*given, output=folder / "printed")
    assert statuses == [0, 0], forked.printed(folder / "printed")
    for strategy in ("ddp", "fsdp"):
        alone(f"shrunk_{strategy}", max_steps=6, **constant)
    return folder


def assert_same_gradients(folder: Path, other: Path) -> None:
    """Of every parameter in the first step, before clipping, and none of them zero."""
    first, second = (load_file(each / "gradients.safetensors") for each in (folder, other))
    assert set(first) == set(second)
    for name, value in first.items():
        assert value.abs().sum() > 0, name
        atol = 1e-5 * float(value.abs().max())
        torch.testing.assert_close(second[name], value, atol=atol, rtol=1e-4)


def assert_same_training(folder: Path, other: Path) -> None:
    first, second = metrics_of(folder), metrics_of(other)
    assert [line["step"] for line in first] == [line["step"] for line in second]
    for key in ("loss", "gradient_norm", "lr", "valid_nats_per_code"):
        values = [[line.get(key, 0.0) for line in lines] for lines in (first, second)]
        assert values[0] == pytest.approx(values[1], rel=1e-4), key
    assert_same_gradients(folder, other)
    lm, twin = (SpeechLM.from_pretrained(each / "model", fold=False) for each in (folder, other))
    for name, value in lm.state_dict().items():
        torch.testing.assert_close(twin.state_dict()[name], value, atol=2e-5, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [2, 1])
def test_two_processes_train_as_one(runs: Path, accumulate: int) -> None:
    """By whole batches when they divide, else by rows of every batch."""
    assert_same_training(*(runs / f"{count}_accumulate{accumulate}" for count in ("one", "two")))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_codes_made_from_vectors_as_one(runs: Path, strategy: str) -> None:
    """Validation included; gradients of what both tables are made of are those of one process."""
    two = runs / f"two_codes_{strategy}"
    assert_same_training(runs / "one_codes", two)
    names = load_file(two / "gradients.safetensors")
    for table in ("embedding", "head"):
        assert f"{table}.parametrizations.weight.0.own" in names


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("name", ["grown", "shrunk"])
def test_a_checkpoint_continues_at_another_number_of_processes(
    runs: Path, name: str, strategy: str
) -> None:
    """From one to two, and back."""
    assert_same_training(runs / "straight", runs / f"{name}_{strategy}")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_sigterm_to_one_process_ends_both_behind_the_same_step(runs: Path, strategy: str) -> None:
    """In the midst of a step of two batches, which is done, saved and gone on from."""
    assert_same_training(runs / "straight", runs / f"ended_{strategy}")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [True, False], ids=["torchrun", "by itself"])
def test_a_failing_process_makes_the_command_fail(
    store: TokenStore, tokenizer: TextTokenizer, tmp_path: Path, launcher: bool
) -> None:
    """Two processes that torchrun starts, or the first of them the second."""
    text = tokenizer.save(tmp_path / "text")
    options = {"devices": 2, "failing_rank": 1, "strategy": "ddp", "accumulate": 1}
    given = [str(store.folder), str(text), str(tmp_path / "run"), json.dumps(options)]
    if launcher:
        how = (forked.torchrun, parallel_run.main, given)
    else:
        how = (forked.command, parallel_run.__name__, given)
    output = tmp_path / "printed.txt"
    assert forked.run(*how, output=output) != 0
    assert "cannot be read" in output.read_text()
    assert not (tmp_path / "run" / "model").exists()

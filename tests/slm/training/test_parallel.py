"""Two processes on the CPU against one: the same steps, weights and checkpoints."""

import json
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from slm.data.token_store import TokenStore
from slm.model.speech_lm import SpeechLM
from slm.text.sentencepiece_tokenizer import TextTokenizer

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).parent / "parallel_run.py"
Train = Callable[..., SpeechLM]


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run_two(
    places: list[str], launcher: bool = True, **options: Any
) -> subprocess.CompletedProcess[str]:
    """The script on two processes that torchrun starts, or the first of them the second."""
    port = str(free_port())
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--master-addr", "127.0.0.1", "--master-port", port]
    given = json.dumps({"devices": 2, **options})
    return subprocess.run(
        [sys.executable, *(torchrun if launcher else ()), str(SCRIPT), *places, given],
        env={
            **os.environ,
            **({} if launcher else {"MASTER_PORT": port}),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def alone(store: TokenStore, tokenizer: TextTokenizer, tmp_path: Path) -> Train:
    """One process, in this one."""
    text = tokenizer.save(tmp_path / "text")
    train = runpy.run_path(str(SCRIPT))["train"]
    return lambda folder, **options: train(folder, store.folder, text, options)


@pytest.fixture
def together(store: TokenStore, tokenizer: TextTokenizer, tmp_path: Path) -> Train:
    """Two processes, as torchrun starts them."""
    text = tokenizer.save(tmp_path / "text")

    def train(folder: Path, **options: Any) -> SpeechLM:
        done = run_two([str(folder), str(store.folder), str(text)], **options)
        assert done.returncode == 0, done.stderr[-3000:]
        return SpeechLM.from_pretrained(folder / "model", fold=False)

    return train


def assert_same_gradients(folder: Path, other: Path) -> None:
    """Of every parameter in the first step, before clipping, and none of them zero."""
    first, second = (load_file(each / "gradients.safetensors") for each in (folder, other))
    assert set(first) == set(second)
    for name, value in first.items():
        assert value.abs().sum() > 0, name
        atol = 1e-5 * float(value.abs().max())
        torch.testing.assert_close(second[name], value, atol=atol, rtol=1e-4)


def assert_same_training(folder: Path, other: Path, lm: SpeechLM, twin: SpeechLM) -> None:
    first, second = metrics_of(folder), metrics_of(other)
    assert [line["step"] for line in first] == [line["step"] for line in second]
    for key in ("loss", "gradient_norm", "lr", "valid_nats_per_code"):
        values = [[line.get(key, 0.0) for line in lines] for lines in (first, second)]
        assert values[0] == pytest.approx(values[1], rel=1e-4), key
    assert_same_gradients(folder, other)
    for name, value in lm.state_dict().items():
        torch.testing.assert_close(twin.state_dict()[name], value, atol=2e-5, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [2, 1])
def test_two_processes_train_as_one(
    alone: Train, together: Train, tmp_path: Path, accumulate: int
) -> None:
    """By whole batches when they divide, else by rows of every batch."""
    one = alone(tmp_path / "one", accumulate=accumulate)
    two = together(tmp_path / "two", accumulate=accumulate, strategy="ddp")
    assert_same_training(tmp_path / "one", tmp_path / "two", one, two)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_codes_made_from_vectors_as_one(
    alone: Train, together: Train, tmp_path: Path, strategy: str
) -> None:
    """Validation included; gradients of what both tables are made of are those of one process."""
    one = alone(tmp_path / "one", code_table=16)
    two = together(tmp_path / "two", code_table=16, strategy=strategy)
    assert_same_training(tmp_path / "one", tmp_path / "two", one, two)
    names = load_file(tmp_path / "two" / "gradients.safetensors")
    for table in ("embedding", "head"):
        assert f"{table}.parametrizations.weight.0.own" in names


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [True, False], ids=["torchrun", "by itself"])
def test_a_failing_process_makes_the_command_fail(
    store: TokenStore, tokenizer: TextTokenizer, tmp_path: Path, launcher: bool
) -> None:
    text = tokenizer.save(tmp_path / "text")
    places = [str(tmp_path / "run"), str(store.folder), str(text)]
    done = run_two(places, launcher, failing_rank=1, strategy="ddp", accumulate=1)
    assert done.returncode != 0
    assert "cannot be read" in done.stderr
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_checkpoint_continues_at_another_number_of_processes(
    alone: Train, together: Train, tmp_path: Path, strategy: str
) -> None:
    constant = {"learning_rate": 1e-3, "min_learning_rate": 1e-3}
    straight = alone(tmp_path / "straight", max_steps=6, **constant)
    for folder, runs in (("grown", (alone, together)), ("shrunk", (together, alone))):
        for run, steps in zip(runs, (2, 6), strict=True):
            spread = {"strategy": strategy, "recompute": strategy == "fsdp"}
            options = spread if run is together else {}
            lm = run(tmp_path / folder, max_steps=steps, **constant, **options)
        assert_same_training(tmp_path / "straight", tmp_path / folder, straight, lm)

"""Ranks before there is a process group, in the environments that launchers make."""

from __future__ import annotations

import itertools

import pytest

from codec.distributed import process_rank

LAUNCHER_NAMES = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK"),
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_JOB_NAME"),
    "JSM_NAMESPACE_RANK",
)
NODES, PROCESSES = 2, 3
# (node, number within it) of every process of a launch, in the order of their ranks.
PLACES = list(itertools.product(range(NODES), range(PROCESSES)))
Environment = dict[str, int | str]


def torchrun(node: int, local: int) -> Environment:
    return {
        "RANK": node * PROCESSES + local,
        "LOCAL_RANK": local,
        "GROUP_RANK": node,
        "LOCAL_WORLD_SIZE": PROCESSES,
        "WORLD_SIZE": NODES * PROCESSES,
    }


def torchrun_with_nodes_in_another_order(node: int, local: int) -> Environment:
    """A platform numbers its nodes; torchrun's rendezvous numbers them as they come."""
    return {**torchrun(node, local), "NODE_RANK": NODES - 1 - node}


def torchrun_by_srun(node: int, local: int) -> Environment:
    return {**srun(node, 0), "SLURM_PROCID": node, "SLURM_NTASKS": NODES, **torchrun(node, local)}


def srun(node: int, local: int) -> Environment:
    return {
        "SLURM_PROCID": node * PROCESSES + local,
        "SLURM_LOCALID": local,
        "SLURM_NODEID": node,
        "SLURM_NTASKS": NODES * PROCESSES,
        "SLURM_JOB_NAME": "train",
    }


def srun_with_local_rank(node: int, local: int) -> Environment:
    """Job scripts often export it for other libraries."""
    return {**srun(node, local), "LOCAL_RANK": local}


def jsrun(node: int, local: int) -> Environment:
    return {"JSM_NAMESPACE_RANK": node * PROCESSES + local}


def lightning(node: int, local: int) -> Environment:
    """What Lightning starts; the first of a node is the user's, who tells its node alone."""
    started: Environment = {"LOCAL_RANK": local, "WORLD_SIZE": NODES * PROCESSES}
    return {"NODE_RANK": node, **(started if local else {})}


def lightning_after_its_start(node: int, local: int) -> Environment:
    return {"NODE_RANK": node, "LOCAL_RANK": local, "WORLD_SIZE": NODES * PROCESSES}


def lightning_in_an_interactive_job(node: int, local: int) -> Environment:
    shell: Environment = {"SLURM_PROCID": 0, "SLURM_NTASKS": 1, "SLURM_JOB_NAME": "bash"}
    return {**shell, **lightning(node, local)}


def lightning_in_a_batch_script(node: int, local: int) -> Environment:
    return {"SLURM_PROCID": 0, "SLURM_JOB_NAME": "train", **lightning(node, local)}


def lightning_in_a_pod(node: int, local: int) -> Environment:
    """A platform tells RANK of a node, and Lightning starts the processes in it."""
    return {"RANK": node, **lightning(node, local)}


def local_world_size(node: int, local: int) -> Environment:
    return {"NODE_RANK": node, "LOCAL_RANK": local, "LOCAL_WORLD_SIZE": PROCESSES}


EXACT = (
    *(torchrun, torchrun_with_nodes_in_another_order, torchrun_by_srun),
    *(srun, srun_with_local_rank, jsrun, local_world_size),
)
FIRST_ONLY = (
    *(lightning, lightning_after_its_start, lightning_in_an_interactive_job),
    *(lightning_in_a_batch_script, lightning_in_a_pod),
)


def ranks(launcher, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What every process of a launch takes itself for."""
    found = []
    for place in PLACES:
        for name in LAUNCHER_NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in launcher(*place).items():
            monkeypatch.setenv(name, str(value))
        found.append(process_rank())
    return found


@pytest.mark.parametrize("launcher", EXACT, ids=lambda each: each.__name__)
def test_a_launcher_that_tells_the_rank_is_believed(launcher, monkeypatch) -> None:
    assert ranks(launcher, monkeypatch) == list(range(len(PLACES)))


@pytest.mark.parametrize("launcher", FIRST_ONLY, ids=lambda each: each.__name__)
def test_exactly_one_process_is_the_first(launcher, monkeypatch) -> None:
    """The first process of every node once took itself for the first of all."""
    assert [rank == 0 for rank in ranks(launcher, monkeypatch)] == [True] + [False] * 5


def test_a_process_that_nobody_launched_is_the_first(monkeypatch) -> None:
    assert ranks(lambda node, local: {}, monkeypatch) == [0] * len(PLACES)

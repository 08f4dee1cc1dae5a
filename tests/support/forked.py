"""Fresh processes that need not load torch and Lightning: a server that has forks them.

A command that is started anew spends five seconds of a core on loading them, and 400 MB. What runs
in these processes must be importable by name; it is killed, or meets its like, as in any other.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import free_port

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.preloaded"])
# What launchers tell the processes that they start.
LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
LIMIT = 600  # seconds on a machine with other work; a process takes a few


def start(
    function: Callable[..., int | None],
    *arguments: Any,
    output: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> BaseProcess:
    """Call a function in a process of its own; what it returns is the exit status.

    Args:
        function: Importable by name.
        arguments: Picklable.
        output: A file for what it prints and raises.
        environment: Further variables of its environment.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        forkserver.ensure_running()
    given = (function, arguments, output, dict(environment or {}))
    process = CONTEXT.Process(target=_work, args=given)
    process.start()
    return process


def run(function: Callable[..., int | None], *arguments: Any, **options: Any) -> int:
    """Call a function as `start` does, and return the exit status once it is over."""
    process = start(function, *arguments, **options)
    process.join(LIMIT)
    return _status(process)


def run_ranks(
    function: Callable[..., int | None], *arguments: Any, output: Path, count: int = 2
) -> list[int]:
    """Call a function in as many processes as torchrun would start; returns their statuses.

    Where one fails the others, which wait for it, are ended.

    Args:
        function: Importable by name.
        arguments: Picklable.
        output: A folder for what each prints and raises.
        count: Processes of the group.
    """
    output.mkdir()
    group = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": free_port()}
    shared = {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "tests"}
    ranks = []
    for rank in range(count):
        own = {**group, "RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0}
        environment = {**shared, **{name: str(value) for name, value in own.items()}}
        path = output / f"{rank}.txt"
        ranks.append(start(function, *arguments, output=path, environment=environment))
    left = {rank.sentinel: rank for rank in ranks}
    while left:
        over = wait(list(left), LIMIT)
        failed = not over
        for sentinel in over:
            rank = left.pop(sentinel)  # type: ignore[call-overload]
            rank.join()
            failed = failed or rank.exitcode != 0
        if failed:
            for rank in left.values():
                rank.kill()
    return [_status(rank) for rank in ranks]


def stop() -> None:
    """End the server, once no process of it runs; another is started when it is needed."""
    forkserver._forkserver._stop()  # pyright: ignore[reportAttributeAccessIssue]


def command(module: str, arguments: Sequence[str]) -> int | None:
    """Call a module's `main` as `python -m` would, for one that starts its like.

    A launcher's variables around the tests would be taken for those of the command.
    """
    for name in LAUNCHER:
        os.environ.pop(name, None)
    found = import_module(module)
    sys.modules["__main__"] = found
    sys.argv = [str(found.__file__), *arguments]
    return found.main(arguments)


def torchrun(function: Callable[..., object], *arguments: Any) -> None:
    """Call a function in two processes that torchrun starts, as forks of this one.

    Raises:
        ChildFailedError: One of them failed; the other was ended.
    """
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        run_id="tests",
        rdzv_backend="static",
        rdzv_endpoint=f"127.0.0.1:{free_port()}",
        rdzv_configs={"rank": 0},
        max_restarts=0,
        start_method="fork",
    )
    elastic_launch(config, _printing)(function, *arguments)


def printed(output: Path) -> str:
    """What processes printed and raised last, of a file or a folder of such."""
    paths = sorted(output.iterdir()) if output.is_dir() else [output]
    return "\n".join(path.read_text()[-3000:] for path in paths)


def _printing(function: Callable[..., object], *arguments: Any) -> None:
    """Call a function and print what it raises, of which torchrun gives that of one process."""
    try:
        function(*arguments)
    except BaseException:
        traceback.print_exc()
        raise


def _work(
    function: Callable[..., int | None],
    arguments: Sequence[Any],
    output: Path | None,
    environment: Mapping[str, str],
) -> None:
    os.environ.update(environment)
    if output is not None:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
    sys.exit(function(*arguments))


def _status(process: BaseProcess) -> int:
    """The exit status of a process that should be over; one that is not is killed."""
    if process.exitcode is None:
        process.kill()
        process.join()
    status = process.exitcode
    assert status is not None
    return status

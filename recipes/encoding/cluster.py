"""Encoding on a Ray cluster: recordings are read by some actors and encoded by others.

Ray Data streams the batches through both, holds readers back when encoders are busy, and computes
a batch again whose worker or node was lost, as often as that happens. A recording that ends every
process that reads it would have it do so for ever; `Attempts` leaves such a clip out. Only codes
come back; the caller writes them.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from codec.error_text import message_of
from codec.requirements import install_command

from .plan import Batch, Coded, Sound, read_batch

Result = TypeVar("Result")

# Cores that a reader and an encoder ask for. Together one, so that an encoder on every core of a
# cluster leaves room for a reader beside it: reading takes a tenth of encoding on a CPU or less.
CORES = {"cpu": (0.1, 0.9), "cuda": (0.5, 0.5)}
# Batches of one data set, some hundred hours; then the next one, so that what the cluster keeps in
# mind is bounded.
ROUND = 10_000
# Batches waiting for each encoder while it works: enough not to wait, few to be lost with it.
IN_FLIGHT = 2
# Longest wait for the address of a cluster, seconds.
CONNECT = 20
# Shared memory of each core of a cluster that the command starts, bytes: some dozen batches.
STORE_PER_CORE = 256 << 20
# Attempts at a batch clip by clip that ended at the same clip, after which it is left out. The
# first death of a batch comes to these, since it is not known at which clip that was.
MOST_DEATHS = 2


class Attempts:
    """Batches at work and the clip each is at; one object for the whole cluster.

    A batch that was begun before, by a process that died, is done clip by clip, each marked before
    it is tried.
    """

    def __init__(self) -> None:
        self._at: dict[str, int | None] = {}  # batches that are begun -> clip
        self._deaths: Counter[tuple[str, int]] = Counter()

    def begin(self, batch: str) -> bool:
        """Begin a batch; returns whether it was begun before and did not come to its end."""
        again = batch in self._at
        clip = self._at.get(batch)
        if clip is not None:
            self._deaths[batch, clip] += 1
        self._at[batch] = None
        return again

    def may_try(self, batch: str, clip: int) -> bool:
        """Go on to a clip of a batch that was begun before; returns whether it may be tried."""
        may = self._deaths[batch, clip] < MOST_DEATHS
        self._at[batch] = clip if may else None
        return may

    def end(self, batch: str) -> None:
        """End a batch: every clip is done or left out."""
        self._at.pop(batch, None)


def encode_on_ray(
    batches: Sequence[Batch],
    source: Path,
    *,
    address: str | None,
    device: str,
    workers: int,
    cores: int,
) -> Generator[Coded, None, None]:
    """Yield batches as they are done, in any order; every batch once.

    Args:
        batches: To encode; recordings must be at the same paths on every node.
        source: Folder of the codec; its files are sent to the encoders, each of which computes as
            one process of `engine=local`.
        address: Address of a cluster, such as `auto`; None starts one on this machine and ends it.
        device: `cpu`, `cuda`, or `auto` for GPUs where the cluster has any.
        workers: Encoders, one a core or GPU; 0 for as many as the cluster has.
        cores: Cores of a cluster that is started on this machine.

    Raises:
        ValueError: Ray is not installed, a GPU is wanted and there is none, or the address is
            wrong.
        OSError: The cluster was lost, or a batch failed other than by the death of its worker.
    """
    # These load torch, which processes that only read do without.
    from codec.model.hh_codec import FILES

    from .local import choose_device

    with _cluster(address, workers or cores) as ray:
        resources = ray.cluster_resources()
        device = choose_device(device, resources.get("GPU", 0))
        found = resources.get("GPU" if device == "cuda" else "CPU", 0)
        workers = workers or max(1, int(found))
        files = {name: (source / name).read_bytes() for name in FILES}
        shipped = [ray.put(files)]  # in a list, so that an encoder gets the reference
        attempts = _attempts(ray)
        try:
            for start in range(0, len(batches), ROUND):
                chunk = batches[start : start + ROUND]
                yield from _one_round(ray, chunk, (shipped, device, attempts), workers)
        except ray.exceptions.RayError as error:
            raise OSError(
                f"the cluster did not encode a batch; the same command resumes after the finished "
                f"shards: {error}"
            ) from error


def _one_round(
    ray: Any, batches: Sequence[Batch], setup: tuple[list[Any], str, Any], workers: int
) -> Iterator[Coded]:
    """Some batches through one data set; `setup` are the arguments of `_Encoder`."""
    _, device, attempts = setup
    reading, encoding = CORES[device]
    blocks = len(batches)  # a batch each: what a lost worker costs
    dataset = ray.data.from_items(list(batches), override_num_blocks=blocks)
    most = min(workers, blocks)
    # Actors, not tasks: a node ends processes that are more than its cores and idle, and every
    # new one would load all libraries again.
    readers = ray.data.ActorPoolStrategy(min_size=most, max_size=most if device == "cpu" else None)
    dataset = dataset.map(
        _Reader, fn_constructor_args=(attempts,), compute=readers, num_cpus=reading
    )
    encoded = dataset.map(
        _Encoder,
        fn_constructor_args=setup,
        compute=ray.data.ActorPoolStrategy(size=most, max_tasks_in_flight_per_actor=IN_FLIGHT),
        num_cpus=encoding,
        num_gpus=1 if device == "cuda" else 0,
    )
    for row in encoded.iter_rows():
        yield row["item"]


def _attempts(ray: Any) -> Any:
    """An actor with `Attempts` on the node of this command: lost only with it."""
    from ray.util.scheduling_strategies import (  # pyright: ignore[reportMissingImports]
        NodeAffinitySchedulingStrategy,
    )

    here = ray.get_runtime_context().get_node_id()
    strategy = NodeAffinitySchedulingStrategy(here, soft=False)
    return ray.remote(Attempts).options(num_cpus=0, scheduling_strategy=strategy).remote()


def _attempted(
    attempts: Any, name: str, work: Callable[[Callable[[int], bool] | None], Result]
) -> Result:
    """`work(may_try)`, marked as begun and ended; None for `may_try` if not begun before."""
    import ray  # pyright: ignore[reportMissingImports]

    def may_try(index: int) -> bool:
        return ray.get(attempts.may_try.remote(name, index))

    result = work(may_try if ray.get(attempts.begin.remote(name)) else None)
    ray.get(attempts.end.remote(name))
    return result


class _Reader:
    """An actor: batches to their samples."""

    def __init__(self, attempts: Any) -> None:
        self._attempts = attempts

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        batch: Batch = row["item"]
        work = partial(read_batch, batch)
        return {"item": _attempted(self._attempts, f"read {batch.name}", work)}


class _Encoder:
    """An actor: one codec on one core or GPU."""

    def __init__(self, shipped: list[Any], device: str, attempts: Any) -> None:
        import ray  # pyright: ignore[reportMissingImports]

        from codec import HHCodec

        from .local import encode_batch, move_codec

        self._encode_batch, self._attempts = encode_batch, attempts
        with TemporaryDirectory() as folder:
            files: Any = ray.get(shipped[0])
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            self._codec = move_codec(HHCodec.from_pretrained(folder), device)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        sound: Sound = row["item"]
        work = partial(self._encode_batch, self._codec, sound)
        return {"item": _attempted(self._attempts, f"encode {sound.batch.name}", work)}


@contextmanager
def _cluster(address: str | None, cores: int) -> Iterator[Any]:
    """The module `ray`, connected to a cluster: one at an address, or one of this machine's own."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            "encode_corpus.engine: expected Ray for `ray`, but it is not installed; "
            f"{install_command('ray')} ({error})"
        ) from error
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address is None:
        memory = cores * STORE_PER_CORE
        own: dict[str, Any] = {"address": "local", "include_dashboard": False, **quiet}
        ray.init(num_cpus=cores, object_store_memory=memory, **own)
    else:
        try:
            _check_address(address)
            ray.init(address=address, **quiet)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"encode_corpus.address: no Ray cluster at {address!r}: {message_of(error)}"
            ) from error
    try:
        settings = ray.data.DataContext.get_current()
        settings.enable_progress_bars = False
        settings.print_on_execution_start = False
        # Its warnings of pickled objects and of bars that are off come with every run.
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise `OSError` where nothing listens at host:port; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=CONNECT).close()

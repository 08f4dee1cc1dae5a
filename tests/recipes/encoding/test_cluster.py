"""A Ray cluster of two nodes on this machine makes the bytes of one process, whatever dies.

`HH_SLM_KILLS=10 python -m pytest tests/recipes/encoding/test_cluster.py` kills a worker in each of
ten runs, and takes a node away; without it a worker is killed in one run.
"""

import importlib.util
import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from recipes.run_all import main as run_all
from recipes.runner.cli import stage_command
from slm.data.shards import check_store
from tests.support.codecs import tiny_codec
from tests.support.tars import pack

KILLS = int(os.environ.get("HH_SLM_KILLS", "1"))
LIMIT = 600  # seconds for the nodes to start on a machine with other work; it takes a few
# Longest wait before a worker is killed, seconds: those that load a model live longer.
MOMENT = 3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]


@pytest.fixture(scope="module")
def cluster(poison: str) -> Iterator[Any]:
    """Two nodes of one core each, whose workers die of opening a recording named `poison...`."""
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
    system = {"worker_register_timeout_seconds": LIMIT, "prestart_worker_first_driver": False}
    # Processes that only watch a cluster take memory and cores from those that work.
    unwatched = {"include_dashboard": False, "include_log_monitor": False}
    head = {**node, **unwatched, "_system_config": system}
    handler = signal.getsignal(signal.SIGTERM)  # Ray sets another one
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", poison)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # A heap of its own for each of their many threads would keep what others could use.
        patch.setenv("MALLOC_ARENA_MAX", "1")
        cluster = Cluster(
            initialize_head=True, head_node_args={**head, "no_monitor": True, "wait": False}
        )
        try:
            cluster.add_node(**node, wait=False)
            cluster.wait_for_nodes(timeout=LIMIT)
            assert cluster.head_node is not None
            cluster.head_node.kill_dashboard(check_alive=False)
            yield cluster
        finally:
            cluster.shutdown()
            signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, make_waveform: Callable[..., Any]) -> Path:
    """Settings of a run whose clips and codec are there; a third of the clips lie in a tar.

    One of the others is unreadable.
    """
    folder = tmp_path_factory.mktemp("ray")
    (folder / "corpus").mkdir()
    lines = []
    for index in range(24):
        split = "train" if index < 18 else ("valid", "test")[index % 2]
        seconds = 2 + index % 3
        name = f"clip_{index}"
        waveform = make_waveform(seconds, 16_000, pitch=90 + 3 * index, seed=index)
        soundfile.write(folder / f"corpus/{name}.wav", waveform, 16_000)
        row = {"id": name, "audio": f"{name}.wav", "duration": seconds, "text": "", "lang": "en"}
        lines.append({**row, "speaker": f"s{index % 4}", "split": split})
    packed = pack(folder / "corpus/some.tar", [folder / "corpus" / r["audio"] for r in lines[2::3]])
    for row in lines[2::3]:
        row["audio"] = packed[row["audio"]].name
    (folder / "corpus/manifest.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8"
    )
    # A small codec: what is tried is who encodes what, and whether it is the same.
    tiny_codec().save_pretrained(folder / "codec")
    path = folder / "settings.yaml"
    path.write_text(
        f"corpus: {folder / 'corpus'}\nrun: {folder / 'run'}\nthreads: 1\n"
        f"codec: {{start: {folder / 'codec'}}}\nprepare: {{max_unreadable: 0.4}}\n"
        "encode_corpus: {shard_codes: 400, batch_seconds: 6, recordings: true}\n",
        encoding="utf-8",
    )
    assert run_all([str(path), "stages=prepare,train_codec"]) == 0
    (folder / "corpus/clip_7.wav").write_bytes(b"RIFF")  # unreadable for every engine
    return path


@pytest.fixture(scope="module")
def expected(settings: Path) -> dict[str, bytes]:
    """What one process makes."""
    assert stage_command("encode_corpus", [str(settings)]) == 0
    return taken(settings)


def taken(settings: Path) -> dict[str, bytes]:
    """Every file of the stores, by name, and no longer on disk."""
    folder = settings.parent / "run/encode_corpus"
    for split in ("train", "valid", "test"):
        check_store(folder / split)
    made = {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*")}
    made["bad"] = (folder / "bad_files.jsonl").read_bytes()
    shutil.rmtree(folder)
    return made


def workers_of(cluster: Any) -> list[tuple[int, str]]:
    """Process ids and titles of what the cluster's nodes have work for."""
    nodes = [
        info.process.pid
        for node in cluster.list_all_nodes()
        for info in node.all_processes.get("raylet", [])
    ]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            title = (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if parent in nodes and title.startswith("ray::Map"):
            found.append((int(entry.name), title))
    return found


def encode(
    settings: Path, cluster: Any, *given: str, meanwhile: Callable[[], None] | None = None
) -> None:
    """Run the stage on the cluster; `meanwhile` is called once a worker reads or encodes."""
    while workers_of(cluster):  # of the run before
        time.sleep(0.05)
    over = threading.Event()

    def watch() -> None:
        while not workers_of(cluster):
            if over.wait(0.05):
                return
        assert meanwhile is not None
        meanwhile()

    watcher = threading.Thread(target=watch)
    if meanwhile is not None:
        watcher.start()
    engine = ("encode_corpus.engine=ray", f"encode_corpus.address={cluster.address}")
    try:
        assert stage_command("encode_corpus", [str(settings), *engine, *given]) == 0
    finally:
        over.set()
        if meanwhile is not None:
            watcher.join()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_a_wrong_address_is_named_at_once(address: str) -> None:
    from recipes.encoding.cluster import encode_on_ray

    coded = encode_on_ray([], Path(), address=address, device="auto", workers=1, cores=1)
    with pytest.raises(ValueError, match=f"encode_corpus.address: no Ray cluster at '{address}'"):
        next(coded)


@pytest.mark.parametrize("attempt", range(KILLS))
def test_two_nodes_make_the_bytes_of_one_process_whatever_worker_is_killed(
    attempt: int, settings: Path, expected: dict[str, bytes], cluster: Any
) -> None:
    assert b"clip_7" in expected["bad"]
    chance = random.Random(time.time_ns())
    killed: list[tuple[int, str]] = []

    def kill() -> None:
        time.sleep(chance.uniform(0, MOMENT))
        if victims := workers_of(cluster):
            killed.append(chance.choice(victims))
            os.kill(killed[0][0], signal.SIGKILL)

    while not killed:  # a run may be over before its moment has come
        encode(settings, cluster, meanwhile=kill)
        assert taken(settings) == expected
    print(f"attempt {attempt}: killed process {killed[0][0]}, {killed[0][1]}")


@pytest.mark.skipif(KILLS < 2, reason="half a minute more; set HH_SLM_KILLS=10")
def test_a_lost_node_costs_its_own_batches_alone(
    settings: Path, expected: dict[str, bytes], cluster: Any
) -> None:
    def lose() -> None:
        time.sleep(2)
        (lost,) = [node for node in cluster.list_all_nodes() if not node.is_head()]
        cluster.remove_node(lost, allow_graceful=False)

    encode(settings, cluster, meanwhile=lose)
    assert taken(settings) == expected


def test_a_recording_that_kills_its_workers_is_listed_and_the_rest_encoded(
    settings: Path, expected: dict[str, bytes], cluster: Any
) -> None:
    corpus = settings.parent / "corpus"
    manifest = (corpus / "manifest.jsonl").read_text(encoding="utf-8")
    try:
        (corpus / "manifest.jsonl").write_text(manifest.replace("clip_9.wav", "poison.wav"))
        (corpus / "clip_9.wav").rename(corpus / "poison.wav")
        encode(settings, cluster, "encode_corpus.workers=1")
        made = taken(settings)
    finally:
        (corpus / "poison.wav").rename(corpus / "clip_9.wav")
        (corpus / "manifest.jsonl").write_text(manifest, encoding="utf-8")
    bad = [json.loads(line) for line in made.pop("bad").splitlines()]
    assert [(each["id"], "died" in each["reason"]) for each in bad] == [
        ("clip_7", False),
        ("clip_9", True),
    ]
    differing = {name.split(".")[0] for name in made if made[name] != expected[name]}
    assert len(differing - {"train/store"}) == 1  # the shard that lacks it

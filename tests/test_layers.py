"""Who may import whom: packages, rooms inside a package, and third-party packages."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("codec", "slm", "eval", "recipes", "benchmarks")
# Modules of codec that need nothing of ours and serve every package.
GROUND = {
    "codec.activity",
    "codec.runtime.answers",
    "codec.runtime.checkpoint_file",
    "codec.cache_folder",
    "codec.checks",
    "codec.command_line",
    "codec.derived",
    "codec.devices",
    "codec.distributed",
    "codec.file_names",
    "codec.file_reading",
    "codec.files",
    "codec.hub",
    "codec.runtime.finite",
    "codec.import_shims",
    "codec.json_lines",
    "codec.json_text",
    "codec.lazy_names",
    "codec.locations",
    "codec.mel_filters",
    "codec.runtime.processes",
    "codec.provenance",
    "codec.requirements",
    "codec.weights",
    "codec.run_logs",
    "codec.runtime.run_lock",
    "codec.runtime.run_trainer",
    "codec.signals",
    "codec.standard_streams",
    "codec.version",
    "codec.runtime.workers",
}
# Which of our packages a package may import, beside itself and the ground files.
ARROWS = {
    "codec": set(),
    "slm": set(),
    "eval": set(),
    "recipes": {"codec", "slm", "eval"},
    "benchmarks": {"codec", "slm", "eval", "recipes"},
}
# What of the codec some rooms of others may use beside the ground: one reader of recordings,
# one rounding to 16 bits.
TO_CODEC = {
    "eval": {"codec.audio.io"},
    "eval.baselines": {"codec.audio.pcm"},
    "eval.likelihood_tests": {"codec.audio.io"},
    "eval.metrics": {"codec.audio.pcm"},
    "eval.reporting": {"codec.audio.pcm"},
    "slm.synthesis": {"codec", "codec.audio", "codec.bitstream.format"},
    "slm.bench": {"codec.bench.memory"},
    "slm.cli": {
        "codec.audio.io",
        "codec.bench.memory",
        "codec.bitstream.compressed",
        "codec.bitstream.format",
    },
    "slm.compression": {"codec.bitstream.compressed", "codec.bitstream.format"},
}
# Which rooms a room may import beside itself and the ground files; `eval` stands for protocols,
# sound and weights, `codec.*` for all rooms of codec. What is not named here may import any room.
ROOMS = {
    "codec": set(),
    "codec.runtime": set(),
    "codec.interface": set(),
    "codec.model": {"codec.interface"},
    "codec.adapters": {"codec.model", "codec.interface"},
    "codec.audio": set(),
    "codec.streaming": {"codec.model"},
    "codec.distillation": {"codec.audio", "codec.model"},
    "codec.training": {"codec.distillation", "codec.audio", "codec.model"},
    "codec.bitstream": {"codec.streaming", "codec.audio", "codec.model"},
    "codec.bench": {"codec.model"},
    "codec.export": {"codec.model", "codec.streaming"},
    "codec.cli": {"codec.bitstream", "codec.audio", "codec.bench", "codec.export", "codec.model"},
    "slm.text": set(),
    "slm.storage": set(),
    "slm.data": {"slm.text", "slm.storage"},
    "slm.model": {"slm.data", "slm.text"},
    "slm.engines": {"slm.model"},
    "slm.generation": {"slm.engines", "slm.model", "slm.data", "slm.text"},
    "slm.compression": {"slm.engines", "slm.model"},
    "slm.synthesis": {"slm.generation", "slm.model", "slm.data", "slm.text", "codec.audio"},
    "slm.serving": {"slm.synthesis", "slm.text"},
    "slm.training": {"slm.model", "slm.data"},
    "eval": set(),
    "eval.metrics": {"eval"},
    "eval.tokens": set(),
    "eval.scoring": {"eval.metrics", "eval.tokens", "eval"},
    "eval.baselines": {"eval.metrics", "eval"},
    "eval.likelihood_tests": {"eval"},
    "eval.reporting": {"eval.scoring", "eval.metrics", "eval"},
    "recipes.runner": {"codec", "codec.training", "slm", "slm.text"},
    "recipes.corpora": {
        "recipes.runner",
        "codec.audio",
        "slm.data",
        "slm.storage",
        "slm.text",
    },
    "recipes.encoding": {"recipes.corpora", "recipes.runner", "codec.*"},
    "recipes.comparisons": {"recipes.corpora", "recipes.runner", "codec.*", "slm.*", "eval.*"},
    "recipes.planning": {"recipes.corpora", "recipes.runner", "codec.*", "slm.*", "eval.*"},
    "recipes.release": {"recipes.corpora", "recipes.runner", "codec.*", "slm.*", "eval.*"},
    "recipes.app": {"recipes.runner", "codec.*", "slm.*", "eval.*"},
    "recipes.storage": {"recipes.corpora", "recipes.runner", "codec.*", "slm.*", "eval.*"},
}
# Arrows between rooms that are wrong and wait for a file to be split: none may be added, and one
# that is gone is taken out here.
WAITING: set[tuple[str, str]] = set()
# Third-party packages that only the named modules may import; the rest of the code stays free of
# them. A pattern is matched against the path from the root.
ONLY_IN = {
    "omegaconf": (
        "recipes/*.py",
        "recipes/*/*.py",
        "codec/model/config.py",
        "slm/model/config.py",
    ),
    # imported with stand-ins for what they need of others
    "vocos": ("codec/import_shims.py",),
    "bigvgan": ("codec/import_shims.py",),
    "vector_quantize_pytorch": (),
    "x_transformers": ("slm/model/transformer.py", "slm/bench/contestants.py"),
    "sentencepiece": ("slm/text/sentencepiece_tokenizer.py",),
    "inflect": (),
    "jiwer": ("eval/metrics/wer.py",),
    "lightning": (
        "codec/runtime/run_trainer.py",
        "codec/training/module.py",
        "codec/training/data.py",
        "codec/training/fit.py",
        "codec/training/callbacks.py",
        "slm/training/*.py",
        "slm/data/packed_dataset.py",
        "recipes/*.py",
        "recipes/*/*.py",
    ),
    "peft": (),
    "espeakng_loader": ("recipes/corpora/espeak.py",),
    "pystoi": (
        "eval/metrics/stoi.py",
        "codec/training/validation.py",
        "benchmarks/cases/metrics.py",
    ),
    "ray": ("recipes/encoding/cluster.py",),
    "fsspec": ("slm/storage/remote_folder.py",),
    "lhotse": ("recipes/corpora/import_lhotse.py",),
    "fastapi": ("slm/serving/*.py",),
    "uvicorn": ("slm/serving/server.py",),
    "gradio": ("recipes/app/fields.py", "recipes/app/page.py"),
    "torchaudio": (),
    "wandb": ("codec/run_logs.py",),
    "encodec": (),
    "onnx": ("codec/export/onnx_files.py", "codec/export/graph_inputs.py"),
}


def dotted(path: str) -> str:
    """The module of a path from the root."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def modules() -> dict[str, str]:
    """Path from the root of every module of our packages, by its dotted name."""
    found = [path.relative_to(ROOT).as_posix() for name in OURS for path in files(name)]
    return {dotted(path): path for path in found}


def files(package: str) -> list[Path]:
    """The modules of a package."""
    return sorted((ROOT / package).rglob("*.py"))


def sources(package: str) -> dict[str, str]:
    """The text of every module of a package, by its path from the root."""
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in files(package)}


def imports_of(path: str, source: str, *, at_load: bool = False) -> list[str]:
    """Dotted names of what a module imports; of `from package import module` the module.

    Args:
        at_load: Only what loading the module imports, not what its functions do.
    """
    tree = ast.parse(source)
    nodes = ast.iter_child_nodes(tree) if at_load else ast.walk(tree)
    names: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                folder = path.rsplit("/", node.level)[0].replace("/", ".")
                base = f"{folder}.{base}".rstrip(".")
            inner = [f"{base}.{alias.name}" for alias in node.names]
            names += [name if name in modules() else base for name in inner]
    return list(dict.fromkeys(names))


def room_of(module: str) -> str:
    """The room a module lies in: `package.room`, or the package for files at its root."""
    parts = module.split(".")
    is_room = len(parts) > 2 or (ROOT / Path(*parts[:2])).is_dir()
    return ".".join(parts[:2]) if is_room and len(parts) > 1 else parts[0]


def wrong_imports(path: str, source: str) -> list[str]:
    """What a module imports against the rules of packages, in words."""
    package, room = path.split("/")[0], room_of(dotted(path))
    wrong = []
    for name in imports_of(path, source):
        top = name.split(".")[0]
        if top in OURS and top != package and top not in ARROWS[package]:
            if name not in GROUND | TO_CODEC.get(room, set()):
                wrong.append(f"{path}: {package} may not import {name}")
        elif top in ONLY_IN and not any(Path(path).match(each) for each in ONLY_IN[top]):
            wrong.append(f"{path}: only {', '.join(ONLY_IN[top]) or 'no module'} may import {top}")
    return wrong


def wrong_arrows(path: str, source: str) -> set[tuple[str, str]]:
    """Imports of a module that the table of rooms does not have: (path, module)."""
    room = room_of(dotted(path))
    # The face of a package and `python -m package` know all of its rooms.
    if room not in ROOMS or (room in OURS and path.endswith("__.py")):
        return set()
    allowed = ROOMS[room] | {room}
    wrong = set()
    for name in imports_of(path, source):
        package, target = name.split(".")[0], room_of(name)
        is_allowed = target in allowed or f"{package}.*" in allowed or name in GROUND
        if package not in OURS or is_allowed or name in TO_CODEC.get(room, set()):
            continue
        wrong.add((path, name))
    return wrong


def test_every_package_has_modules() -> None:
    assert all(files(package) for package in OURS)


@pytest.mark.parametrize("package", OURS)
def test_imports_follow_the_layers(package: str) -> None:
    found = [wrong_imports(path, source) for path, source in sources(package).items()]
    assert [wrong for each in found for wrong in each] == []


@pytest.mark.parametrize("package", OURS)
def test_rooms_import_only_what_the_table_has(package: str) -> None:
    found = set().union(*(wrong_arrows(path, source) for path, source in sources(package).items()))
    waiting = {arrow for arrow in WAITING if arrow[0].startswith(f"{package}/")}
    assert found - waiting == set()
    assert waiting - found == set(), "no longer wrong: take them out of WAITING"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("codec/model/mel.py", "from slm import SpeechLM"),
        ("codec/model/mel.py", "def f():\n    import recipes.runner.config"),
        ("eval/metrics/stoi.py", "from codec import HHCodec"),
        ("slm/model/norms.py", "import codec"),
        ("slm/synthesis/synthesizer.py", "from codec.model.hh_codec import HHCodec"),
        ("slm/training/module.py", "import sentencepiece as spm"),
        ("codec/model/mel.py", "from vocos.pretrained import Vocos"),
        ("recipes/planning/plan.py", "from benchmarks.harness.timing import ratio"),
    ],
)
def test_a_wrong_import_is_found(path: str, source: str) -> None:
    assert len(wrong_imports(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("codec/model/mel.py", "from codec.audio import read_audio"),
        ("codec/model/mel.py", "def f():\n    from codec.training import fit"),
        ("slm/data/shards.py", "from slm.model.config import SpeechLMConfig"),
        ("eval/sound.py", "from eval.metrics.registry import METRICS"),
        ("recipes/runner/config.py", "from recipes import prepare"),
    ],
)
def test_a_wrong_arrow_between_rooms_is_found(path: str, source: str) -> None:
    assert len(wrong_arrows(path, source)) == 1


@pytest.mark.parametrize("package", OURS)
def test_no_module_imports_itself_through_others(package: str) -> None:
    graph = {
        dotted(path): imports_of(path, source, at_load=True)
        for path, source in sources(package).items()
    }

    def reachable(name: str) -> set[str]:
        found: set[str] = set()
        waiting = list(graph[name])
        while waiting:
            other = waiting.pop()
            if other in graph and other not in found:
                found.add(other)
                waiting += graph[other]
        return found

    assert [name for name in graph if name in reachable(name)] == []

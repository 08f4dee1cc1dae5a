"""Who may import whom: packages, and rooms inside a package."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sources import OURS, ROOT, dotted, imports_of, sources

# Modules and rooms of codec that need nothing of ours but one another and serve every package.
GROUND = {
    "codec.activity",
    "codec.cache_folder",
    "codec.checks",
    "codec.command_line",
    "codec.devices",
    "codec.distributed",
    "codec.error_text",
    "codec.files",
    "codec.hub",
    "codec.import_shims",
    "codec.lazy_names",
    "codec.mel_filters",
    "codec.provenance",
    "codec.requirements",
    "codec.run_logs",
    "codec.runtime",
    "codec.signals",
    "codec.speech_level",
    "codec.standard_streams",
    "codec.version",
    "codec.weights",
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
    "eval.recognition": {"codec.audio.pcm"},
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
    "codec.files": set(),
    "codec.runtime": set(),
    "codec.interface": set(),
    "codec.layers": {"codec.interface"},
    "codec.model": {"codec.layers", "codec.interface"},
    "codec.adapters": {"codec.model", "codec.interface"},
    "codec.audio": set(),
    "codec.streaming": {"codec.model"},
    "codec.distillation": {"codec.audio", "codec.model", "codec.interface"},
    "codec.training": {"codec.distillation", "codec.audio", "codec.model"},
    "codec.bitstream": {"codec.streaming", "codec.audio", "codec.model"},
    "codec.bench": {"codec.layers", "codec.model"},
    "codec.export": {"codec.layers", "codec.model", "codec.streaming"},
    "codec.cli": {
        "codec.bitstream",
        "codec.streaming",
        "codec.audio",
        "codec.bench",
        "codec.export",
        "codec.layers",
        "codec.model",
    },
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
    "eval.recognition": {"eval"},
    "eval.metrics": {"eval.recognition", "eval"},
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
    "recipes.adaptability": {"recipes.corpora", "recipes.runner", "codec.*", "slm.*", "eval.*"},
    "recipes.comparisons": {
        "recipes.adaptability",
        "recipes.corpora",
        "recipes.runner",
        "codec.*",
        "slm.*",
        "eval.*",
    },
    "recipes.planning": {"recipes.corpora", "recipes.runner", "codec.*", "slm.*", "eval.*"},
    "recipes.release": {"recipes.corpora", "recipes.runner", "codec.*", "slm.*", "eval.*"},
    "recipes.app": {"recipes.runner", "codec.*", "slm.*", "eval.*"},
    "recipes.storage": {"recipes.corpora", "recipes.runner", "codec.*", "slm.*", "eval.*"},
}


def room_of(module: str) -> str:
    """The room a module lies in: `package.room`, or the package for files at its root."""
    parts = module.split(".")
    is_room = len(parts) > 2 or (ROOT / Path(*parts[:2])).is_dir()
    return ".".join(parts[:2]) if is_room and len(parts) > 1 else parts[0]


def is_ground(module: str) -> bool:
    """True if a module or its room is one of the ground."""
    return module in GROUND or room_of(module) in GROUND


def wrong_imports(path: str, source: str) -> list[str]:
    """What a module imports against the rules of packages, in words."""
    package, room = path.split("/")[0], room_of(dotted(path))
    wrong = []
    for name in imports_of(path, source):
        top = name.split(".")[0]
        is_free = top not in OURS or top == package or top in ARROWS[package]
        if not is_free and not is_ground(name) and name not in TO_CODEC.get(room, set()):
            wrong.append(f"{path}: {package} may not import {name}")
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
        is_allowed = target in allowed or f"{package}.*" in allowed or is_ground(name)
        if package not in OURS or is_allowed or name in TO_CODEC.get(room, set()):
            continue
        wrong.add((path, name))
    return wrong


@pytest.mark.parametrize("package", OURS)
def test_imports_follow_the_layers(package: str) -> None:
    found = [wrong_imports(path, source) for path, source in sources(package).items()]
    assert [wrong for each in found for wrong in each] == []


@pytest.mark.parametrize("package", OURS)
def test_rooms_import_only_what_the_table_has(package: str) -> None:
    found = set().union(*(wrong_arrows(path, source) for path, source in sources(package).items()))
    assert found == set()


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("codec/model/mel.py", "from slm import SpeechLM"),
        ("codec/model/mel.py", "def f():\n    import recipes.runner.config"),
        ("eval/metrics/stoi.py", "from codec import HHCodec"),
        ("slm/model/norms.py", "import codec"),
        ("slm/synthesis/synthesizer.py", "from codec.model.hh_codec import HHCodec"),
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

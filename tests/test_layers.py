from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("codec", "slm", "eval", "recipes", "benchmarks")
# Which of our packages a package may import, beside itself.
ARROWS = {
    "codec": set(),
    "slm": set(),
    "eval": set(),
    "recipes": {"codec", "slm", "eval"},
    "benchmarks": {"codec", "slm", "eval", "recipes"},
}
# The modules through which slm reaches the codec's public interface.
EXCEPTIONS = {"slm/synthesis.py": {"codec"}, "slm/utterance.py": {"codec"}}
PUBLIC_CODEC = {"codec", "codec.audio"}
# Third-party packages that only the named modules may import; the rest of the code stays free of
# them. A pattern is matched against the path from the root.
ONLY_IN = {
    "omegaconf": ("recipes/*.py", "codec/config.py", "slm/config.py"),
    # imported with stand-ins for what they need of others
    "vocos": ("codec/stand_ins.py",),
    "bigvgan": ("codec/stand_ins.py",),
    "vector_quantize_pytorch": ("codec/stages.py",),
    "x_transformers": ("slm/model.py", "slm/bench.py"),
    "sentencepiece": ("slm/text.py",),
    "inflect": ("slm/normalization.py",),
    "jiwer": ("eval/intelligibility.py",),
    "lightning": (
        "codec/training.py",
        "codec/data.py",
        "codec/fitting.py",
        "codec/callbacks.py",
        "slm/training.py",
        "slm/monitoring.py",
        "slm/data.py",
        "slm/dataset.py",
        "recipes/*.py",
    ),
    "espeakng_loader": ("recipes/espeak.py",),
    "pystoi": ("eval/quality.py", "codec/validation.py", "benchmarks/scoring.py"),
    "ray": ("recipes/encode_ray.py",),
    "fsspec": ("slm/places.py",),
    "lhotse": ("recipes/import_lhotse.py",),
    "torchaudio": (),
    "encodec": (),
}


def imports_of(source: str) -> list[str]:
    """Dotted names of the absolute imports in a module, those inside functions included."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module or "")
    return names


def wrong_imports(path: str, source: str) -> list[str]:
    """What a module imports against the rules, in words; `path` is relative to the root."""
    package = path.split("/")[0]
    allowed = ARROWS[package] | EXCEPTIONS.get(path, set())
    wrong = []
    for name in imports_of(source):
        top = name.split(".")[0]
        if top == package:
            wrong.append(f"{path}: imports its own package by name ({name}); write it relative")
        elif top in OURS and top not in allowed:
            wrong.append(f"{path}: {package} may not import {top}")
        elif top in ONLY_IN and not any(Path(path).match(each) for each in ONLY_IN[top]):
            wrong.append(f"{path}: only {', '.join(ONLY_IN[top]) or 'no module'} may import {top}")
        elif package == "slm" and top == "codec" and name not in PUBLIC_CODEC:
            wrong.append(f"{path}: slm may use the public interface only, not {name}")
    return wrong


def sibling_imports(source: str) -> list[str]:
    """Modules of the same package that a module imports when it is loaded, not inside functions."""
    siblings: list[str] = []
    for node in ast.iter_child_nodes(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            siblings += [node.module] if node.module else [alias.name for alias in node.names]
    return siblings


def modules() -> list[Path]:
    """Every module of our packages."""
    return [path for package in OURS for path in sorted((ROOT / package).rglob("*.py"))]


def test_every_package_has_modules() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in modules()} == set(OURS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_layers(path: Path) -> None:
    assert wrong_imports(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("codec/model.py", "from slm import SpeechLM"),
        ("codec/model.py", "def f():\n    import recipes.config"),
        ("codec/model.py", "from codec import HHCodec"),
        ("eval/quality.py", "from codec import HHCodec"),
        ("slm/model.py", "import codec"),
        ("slm/synthesis.py", "from codec.model import HHCodec"),
        ("slm/training.py", "import sentencepiece as spm"),
        ("codec/mel.py", "from vocos.pretrained import Vocos"),
        ("recipes/plan.py", "from benchmarks.timing import ratio"),
    ],
)
def test_a_wrong_arrow_is_found(path: str, source: str) -> None:
    assert len(wrong_imports(path, source)) == 1


@pytest.mark.parametrize("package", OURS)
def test_no_module_imports_itself_through_others(package: str) -> None:
    files = {path.stem: path for path in (ROOT / package).glob("*.py")}
    graph = {name: sibling_imports(path.read_text("utf-8")) for name, path in files.items()}

    def reachable(name: str) -> set[str]:
        found: set[str] = set()
        waiting = list(graph[name])
        while waiting:
            sibling = waiting.pop()
            if sibling in graph and sibling not in found:
                found.add(sibling)
                waiting += graph[sibling]
        return found

    assert [name for name in graph if name in reachable(name)] == []


def test_packages_are_flat_and_files_short() -> None:
    deep = [str(path) for path in modules() if len(path.relative_to(ROOT).parts) > 2]
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in modules()}
    assert deep == []
    assert [str(path) for path, count in lines.items() if count > 400] == []

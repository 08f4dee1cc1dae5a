"""What is not needed is not loaded: counted in modules of a fresh process, not in seconds."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.sources import ROOT

# Heavy packages that are for some of what can be done.
SELDOM = ("lightning", "transformers", "matplotlib", "tensorboard", "ray", "lhotse", "scipy.signal")
# What the packages that our models are built on would load, longer than torch takes itself.
BROUGHT_ALONG = ("einx", "sympy", "torch._dynamo", "huggingface_hub", "torch.distributed.fsdp")
# Packages that need stand-ins for what they import, or that others of ours took the place of.
SHIMMED = ("vocos", "vector_quantize_pytorch", "torchaudio", "encodec", "bigvgan")


def loaded(code: str, *names: str) -> list[str]:
    """Those of some modules that a fresh process has loaded after it ran `code`."""
    shown = f"import sys; sys.stdout.write(' '.join(m for m in {names} if m in sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{shown}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.split()


@pytest.mark.parametrize(
    "module",
    [
        "codec",
        "slm",
        "eval",
        "codec.training.config",
        "slm.model.config",
        "slm.text.normalization",
        "recipes.runner.schema",
        "recipes.encoding.cluster",
    ],
)
def test_settings_load_without_torch(module: str) -> None:
    assert loaded(f"import {module}", "torch", *SELDOM) == []


@pytest.mark.parametrize("module", ["codec.cli.main", "slm.cli.main", "eval.cli.main"])
def test_help_is_shown_without_torch(module: str) -> None:
    code = f"""
import contextlib, io, {module} as command
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    command.main(["--help"])
"""
    assert loaded(code, "torch", *SELDOM) == []


WORKING = """
import contextlib, io, json, sys
import slm.cli.main as command
with contextlib.redirect_stdout(io.StringIO()):
    assert command.main({call}) == 0
spoken = list(sys.modules)
import torch
from codec import HHCodec
from slm import SpeechLM, TokenStore
codec = HHCodec.from_pretrained("hh-mini-24k")
codes, lengths = codec.encode(torch.randn(1, 4000))
codec.decode(codes, lengths)
lm = SpeechLM.from_pretrained("hh-mini-slm")
worked = list(sys.modules)
import x_transformers.x_transformers as library
before = list(sys.modules)
places = torch.tensor([2, 0])
assert library.einx.add("a, b -> a b", places, places).tolist() == [[4, 2], [2, 0]]
print(json.dumps([spoken, worked, before, list(sys.modules)]))
"""


@dataclass(frozen=True)
class Modules:
    """Names of all that a fresh process has loaded, step by step.

    Attributes:
        spoken: After a text was spoken by the command.
        worked: After the shipped models have worked.
        before: Before an operator of einx was called.
        called: After that.
        sound: Bytes of the file that was spoken.
    """

    spoken: set[str]
    worked: set[str]
    before: set[str]
    called: set[str]
    sound: int


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Modules:
    """What one process loads: torch, which each takes seconds for, once."""
    path = tmp_path_factory.mktemp("spoken") / "hi.wav"
    code = WORKING.format(call=["tts", "Hi.", "--out", str(path), "--json"])
    call = [sys.executable, "-c", code]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    spoken, worked, before, called = map(set, json.loads(done.stdout))
    return Modules(spoken, worked, before, called, path.stat().st_size)


def test_a_text_is_spoken_without_what_other_commands_need(modules: Modules) -> None:
    storage = {"fsspec", "filelock", "aiohttp", "requests"}
    others = {"scipy", "pandas", "torchaudio", "fastapi", "onnx", *storage}
    assert "torch" in modules.spoken
    assert modules.spoken & {*SELDOM, *BROUGHT_ALONG, *others} == set()
    assert modules.sound > 1000


def test_the_shipped_models_load_and_work_without_compilers_and_trainers(modules: Modules) -> None:
    assert modules.worked & {"torch", *SELDOM, *BROUGHT_ALONG} == {"torch"}


def test_the_codec_works_without_the_packages_that_need_import_shims(modules: Modules) -> None:
    assert modules.worked & {*SHIMMED} == set()


def test_einx_is_there_once_it_is_called(modules: Modules) -> None:
    assert "einx" not in modules.before
    assert "einx" in modules.called


@pytest.mark.parametrize("package", ["codec", "slm"])
def test_every_public_name_is_found_and_no_other(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) == set(module._MODULE_OF)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        getattr(module, "nothing")  # noqa: B009 - a name no type checker would let through


def test_a_folder_that_hides_the_codec_is_named(tmp_path: Path) -> None:
    (tmp_path / "codec").mkdir()
    (tmp_path / "codec" / "__init__.py").touch()
    ended = subprocess.run(
        [sys.executable, "-S", "-c", "import slm"],  # no finder of an editable installation
        cwd=tmp_path,  # which comes first on sys.path
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    last = ended.stderr.strip().rpartition("\n")[2]
    assert f"needs the package codec of this toolkit, got {tmp_path / 'codec'}" in last

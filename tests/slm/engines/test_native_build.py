import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from slm.engines import native_build
from slm.engines.engine import best_engine
from slm.generation.config import GenerationSettings
from slm.generation.generate import TokenRequest, generate
from slm.model.speech_lm import SpeechLM

needs_compiler = pytest.mark.skipif(native_build.compiler() is None, reason="no C++ compiler")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the library is to be kept, empty; what was loaded before is forgotten meanwhile."""
    monkeypatch.setenv("HH_SLM_CACHE", str(tmp_path / "kept"))
    native_build.library.cache_clear()
    yield tmp_path / "kept"
    native_build.library.cache_clear()


def fake_compiler(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@needs_compiler
def test_the_library_is_compiled_once_and_kept(folder: Path) -> None:
    assert isinstance(native_build.library(), ctypes.CDLL)
    kept = list(folder.iterdir())
    assert [path.suffix for path in kept] == [".so"]
    written = kept[0].stat().st_mtime_ns
    native_build.library.cache_clear()
    native_build.library()
    assert [path.stat().st_mtime_ns for path in folder.iterdir()] == [written]


@needs_compiler
def test_a_flag_the_compiler_does_not_know_is_done_without(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = native_build.compiler()
    refusing = tmp_path / "old-c++"
    fake_compiler(refusing, f'case "$*" in *openmp*|*=native*) exit 1;; esac\nexec {real} "$@"')
    monkeypatch.setenv("CXX", str(refusing))
    assert native_build.is_available()


def test_what_does_not_compile_is_said_and_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken-c++"
    fake_compiler(broken, "echo no such header >&2; exit 1")
    monkeypatch.setenv("CXX", str(broken))
    with pytest.raises(RuntimeError, match="no such header"):
        native_build.library()
    assert not native_build.is_available()
    assert os.listdir(folder) == []


def test_without_a_compiler_speech_is_the_same_and_asking_for_native_is_refused(
    lm: SpeechLM, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = torch.tensor([1, 7, 9])
    greedy = GenerationSettings(temperature=0)
    whole = generate(
        lm, [TokenRequest(prompt, 8)], GenerationSettings(temperature=0, use_cache=False)
    )
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert best_engine(lm) == "torch"
    without = generate(lm, [TokenRequest(prompt, 8)], greedy)
    assert without[0].tokens.tolist() == whole[0].tokens.tolist()
    with pytest.raises(ValueError, match=r"expected a C\+\+ compiler"):
        generate(lm, [TokenRequest(prompt, 8)], GenerationSettings(engine="native"))

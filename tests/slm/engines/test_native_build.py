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
    assert sorted(path.suffix for path in kept) == [".sha256", ".so"]
    written = [path.stat().st_mtime_ns for path in kept]
    native_build.library.cache_clear()
    native_build.library()
    assert [path.stat().st_mtime_ns for path in kept] == written


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that was compiled once."""
    kept = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HH_SLM_CACHE", str(kept))
        native_build.library.cache_clear()
        native_build.library()
        native_build.library.cache_clear()
    (library,) = kept.glob("*.so")
    return library


@pytest.fixture
def quick(compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that copies what was compiled once, for tests of what is kept."""
    real = native_build.compiler()
    body = f'[ "$1" != --version ] || exec {real} "$1"\nfor out; do :; done\ncp {compiled} "$out"'
    fake_compiler(tmp_path / "quick-c++", body)
    monkeypatch.setenv("CXX", str(tmp_path / "quick-c++"))


def spoil(library: Path, how: str) -> None:
    """Spoil a kept library in one of the ways that files are spoilt."""
    whole = library.read_bytes()
    if how in ("loop", "dangling"):
        library.unlink()
        library.symlink_to(library.name if how == "loop" else "nothing.so")
    elif how == "writable by others":
        library.chmod(0o777)
    elif how == "without a digest":
        library.with_suffix(".sha256").unlink()
    else:
        sizes = {"empty": 0, "cut": 8192, "headless": 500}
        other = b"\x7fELF of somebody else" * 99
        # In the place of the old one, whose bytes this process has mapped.
        library.unlink()
        library.write_bytes(whole[: sizes[how]] if how in sizes else other)


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_a_library_that_is_not_whole_is_made_anew(folder: Path) -> None:
    native_build.library()
    (library,) = folder.glob("*.so")
    ways = ["empty", "cut", "headless", "foreign", "loop", "dangling"]
    for how in [*ways, "writable by others", "without a digest"]:
        spoil(library, how)
        native_build.library.cache_clear()
        assert native_build.is_available(), how
        assert native_build.sha256_of(library) == library.with_suffix(".sha256").read_text(), how
        assert not library.is_symlink()
        assert library.stat().st_mode & 0o022 == 0


@needs_compiler
@pytest.mark.usefixtures("quick")
def test_a_folder_that_others_can_write_to_is_refused(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    native_build.library()
    for mode in (0o777, 0o770):
        folder.chmod(mode)
        native_build.library.cache_clear()
        with pytest.raises(ValueError, match=f"nobody else can write to, got one of mode {mode:o}"):
            native_build.library()
        caplog.clear()
        assert not native_build.is_available()
        assert [record.levelname for record in caplog.records] == ["WARNING"]


@needs_compiler
@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="needs root")
def test_a_folder_of_another_user_is_refused(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    os.chown(folder, 12345, -1)
    with pytest.raises(ValueError, match="got one of user 12345"):
        native_build.library()


@needs_compiler
def test_a_library_without_the_functions_leaves_the_engine_unavailable(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.cpp"
    other.write_text('extern "C" int nothing() { return 1; }')
    wrong = tmp_path / "wrong-c++"
    real = native_build.compiler()
    fake_compiler(
        wrong,
        f'for out; do :; done\n[ "$1" = --version ] || exec {real} -shared -fPIC {other} -o "$out"',
    )
    monkeypatch.setenv("CXX", str(wrong))
    assert not native_build.is_available()


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


def test_a_compiler_may_have_words_behind_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "my compiler"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    for given, words in ((f"'{script}' -O1 -m64", ["-O1", "-m64"]), (str(script), [])):
        monkeypatch.setenv("CXX", given)
        assert native_build.compile_command() == [str(script), *words]
        assert native_build.compiler() == str(script)


@needs_compiler
def test_without_a_home_folder_the_reason_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a container with an unknown user: speech was slow, and nothing said why."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("HH_SLM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert not native_build.is_available()
    assert "name a folder by HH_SLM_CACHE" in caplog.text
    assert not folder.exists()

"""The page of a codec: its files, its runtime, and what is refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from codec.cli.main import main
from codec.export.web_page import PAGE, RUNTIME, RUNTIME_FILES, runtime_files, write_page


def packed(path: Path, names: tuple[str, ...]) -> Path:
    """A .tgz as of `npm pack` with files of the package's dist/."""
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            info = tarfile.TarInfo(f"package/dist/{name}")
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
    return path


def test_the_page_is_written_with_the_two_files_of_the_runtime(tmp_path: Path) -> None:
    package = packed(tmp_path / "package.tgz", (*RUNTIME_FILES, "ort.all.js"))
    write_page(tmp_path / "page", runtime_files(package))
    names = {path.relative_to(tmp_path / "page").as_posix() for path in page_files(tmp_path)}
    assert names == {*PAGE, *(f"{RUNTIME}/{name}" for name in RUNTIME_FILES)}
    unpacked = tmp_path / "onnxruntime-web"
    (unpacked / "dist").mkdir(parents=True)
    for name in RUNTIME_FILES:
        (unpacked / "dist" / name).write_text(name)
    assert runtime_files(unpacked) == runtime_files(package)


def page_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "page").rglob("*") if path.is_file()]


def test_a_package_without_the_runtime_is_refused_by_name(tmp_path: Path) -> None:
    package = packed(tmp_path / "package.tgz", RUNTIME_FILES[:1])
    with pytest.raises(ValueError, match=rf"package\.tgz: expected .*{RUNTIME_FILES[1]}"):
        runtime_files(package)
    (tmp_path / "other.tgz").write_text("no archive")
    with pytest.raises(ValueError, match=r"other\.tgz: expected a \.tgz of npm pack"):
        runtime_files(tmp_path / "other.tgz")
    whole = packed(tmp_path / "cut.tgz", RUNTIME_FILES).read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.tgz: expected a \.tgz of npm pack"):
        runtime_files(tmp_path / "cut.tgz")
    with pytest.raises(ValueError, match=r"expected the npm package onnxruntime-web"):
        runtime_files(tmp_path)
    with tarfile.open(tmp_path / "package.txz", "w:xz") as archive:
        archive.add(tmp_path / "package.tgz", "package/dist/a")
    with pytest.raises(ValueError, match=r"package\.txz: expected a \.tgz of npm pack"):
        runtime_files(tmp_path / "package.txz")


def test_a_page_of_somebody_else_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index.html").write_text("mine")
    assert main(["export", "web", "hh-mini-24k", str(tmp_path)]) == 2
    assert "got another page's index.html" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_options_of_the_other_form_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "web", "hh-mini-24k", "page", "--part", "decoder"]) == 2
    assert "expected --part with onnx alone" in capsys.readouterr().err
    assert main(["export", "onnx", "hh-mini-24k", "files", "--runtime", "package"]) == 2
    assert "expected --runtime with web alone" in capsys.readouterr().err
    assert main(["export", "onnx", "hh-mini-24k", "files", "--encoder"]) == 2
    assert "expected --encoder with web alone" in capsys.readouterr().err
    assert main(["export", "web", "hh-mini-24k", "page", "--compare", "in.wav"]) == 2
    assert "expected --compare with onnx alone" in capsys.readouterr().err

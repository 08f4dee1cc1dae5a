"""A static page that decodes codes, and encodes recordings, by `onnxruntime-web`."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from codec.files import write_bytes
from codec.model.hh_codec import HHCodec

from .onnx_files import META, PARTS, export_onnx

PAGE = ("index.html", "style.css", "page.js", "worker.js", "hhc.js", "sound.js")
RUNTIME = "onnxruntime"  # folder beside the page
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")  # of the package's dist/


def export_web(
    codec: HHCodec,
    folder: str | Path,
    runtime: str | Path | None = None,
    *,
    encoder: bool = False,
    on_progress: Callable[[str], object] | None = None,
) -> dict[str, Any]:
    """Write the page, the codec's `decoder.onnx` and `meta.json`, and two files of the runtime.

    Args:
        codec: In eval mode, on the CPU.
        folder: To write to; made if missing. Any server of files can serve it.
        runtime: Package `onnxruntime-web` as npm packs it (.tgz) or unpacked; None leaves its
            files out, without which the page decodes nothing.
        encoder: Write `encoder.onnx`, too, so that the page takes recordings; one that an earlier
            export left there is used.
        on_progress: Called with each step as it begins, as by `export_onnx`.

    Returns:
        What `meta.json` holds.

    Raises:
        ImportError: The packages of the extra `onnx` are not installed.
        ValueError: A codec of a kind that cannot be exported, a runtime without those files, or a
            folder with another page.
    """
    check_page_folder(Path(folder))
    # read first: without them the minute of the export would be lost
    files = {} if runtime is None else runtime_files(Path(runtime))
    parts = PARTS if encoder else ["decoder"]
    meta = export_onnx(codec, folder, parts, on_progress=on_progress)
    write_page(Path(folder), files)
    return meta


def check_page_folder(folder: Path) -> None:
    """Raise `ValueError` for a folder with a page or style that no export has written."""
    found = [name for name in PAGE if (folder / name).exists()]
    if found and not (folder / META).is_file():
        raise ValueError(
            f"{folder}: expected a new folder or one of an earlier export, got another page's "
            f"{', '.join(found)}"
        )


def write_page(folder: Path, runtime: Mapping[str, bytes]) -> None:
    """Write the page without the codec.

    Args:
        folder: To write to; made if missing.
        runtime: Of `runtime_files`, or nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in PAGE:
        write_bytes(folder / name, (resources.files("codec.export") / "web" / name).read_bytes())
    for name, content in runtime.items():
        (folder / RUNTIME).mkdir(exist_ok=True)
        write_bytes(folder / RUNTIME / name, content)


def runtime_files(package: Path) -> dict[str, bytes]:
    """Read the files of `onnxruntime-web` that the page needs.

    Args:
        package: A .tgz of `npm pack`, or its unpacked folder.

    Returns:
        Their contents by `RUNTIME_FILES`.

    Raises:
        ValueError: One of them is not there.
    """
    found: dict[str, bytes] = {}
    if package.is_dir():
        for name in RUNTIME_FILES:
            path = package / "dist" / name
            if path.is_file():
                found[name] = path.read_bytes()
    elif package.is_file():
        try:
            with tarfile.open(package, "r:gz") as archive:
                for member in archive:
                    folder, _, name = member.name.rpartition("/")
                    file = archive.extractfile(member) if name in RUNTIME_FILES else None
                    if file is not None and folder == "package/dist":
                        found[name] = file.read()
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{package}: expected a .tgz of npm pack, got {error}") from error
    missing = [name for name in RUNTIME_FILES if name not in found]
    if missing:
        raise ValueError(
            f"{package}: expected the npm package onnxruntime-web with dist/{missing[0]}, got none"
        )
    return found

"""`hh-codec export`: a codec in a form that runs without this toolkit."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from codec.command_line import DONE, FAILED, Commands, add_command, print_report
from codec.files.names import check_place

from .options import CODEC_HELP

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from codec.export.comparison import OnnxComparison
    from codec.model.hh_codec import HHCodec

DESCRIPTION = """onnx: encoder.onnx, decoder.onnx and meta.json, which run without torch.
web: a static page that decodes .hhc files and codes in the browser, with decoder.onnx, and with
--encoder encodes recordings. With --compare, onnx also counts the codes that onnxruntime gives
otherwise than torch, and ends with status 1 beyond the stated tolerances.
Needs the packages onnx and onnxscript (docs/guides/onnx.md)."""
EXAMPLES = """examples:
  hh-codec export onnx hh-mini-24k-v2 exported/
  hh-codec export onnx hh-mini-24k-v2 exported/ --part decoder
  hh-codec export onnx hh-mini-24k-v2 exported/ --compare recordings/
  npm pack onnxruntime-web
  hh-codec export web hh-mini-24k-v2 page/ --runtime onnxruntime-web-*.tgz --encoder
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "export",
        run,
        summary="a codec as ONNX files, or as a page that decodes",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    parser.add_argument("form", choices=("onnx", "web"), help="form to write")
    parser.add_argument("codec", metavar="CODEC", help=CODEC_HELP)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="to write to; made if missing")
    parser.add_argument("--part", choices=("encoder", "decoder"), help="of onnx this part alone")
    parser.add_argument(
        "--compare", metavar="IN", type=Path, help="of onnx: a recording or a folder to measure on"
    )
    parser.add_argument("--encoder", action="store_true", help="of web: take recordings, too")
    parser.add_argument(
        "--runtime", metavar="PACKAGE", help="of web: onnxruntime-web, a .tgz of npm or its folder"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the files and print what `meta.json` holds; status 1 where they are far from torch.

    Raises:
        ValueError: An option of the other form, nothing to compare on, or a file in the folder's
            way.
    """
    from codec.export.onnx_files import PARTS, export_onnx
    from codec.export.web_page import export_web
    from codec.model.hh_codec import HHCodec

    check_form(arguments)
    check_place(arguments.folder, is_folder=True)
    # Before the export, which takes half a minute.
    paths = [] if arguments.compare is None else _recordings(arguments.compare)
    codec = HHCodec.from_pretrained(arguments.codec)
    if arguments.form == "web":
        encoder = arguments.encoder
        meta = export_web(
            codec, arguments.folder, arguments.runtime, encoder=encoder, on_progress=_show
        )
    else:
        parts = [arguments.part] if arguments.part else PARTS
        meta = export_onnx(codec, arguments.folder, parts, on_progress=_show)
    report = {key: value for key, value in meta.items() if key != "rules"}
    found = _compared(codec, arguments.folder, paths) if paths else None
    beside = {} if found is None else {"beside_torch": asdict(found)}
    print_report({"folder": str(arguments.folder), **report, **beside}, as_json=arguments.json)
    if arguments.form == "web" and not arguments.runtime:
        print("the page needs: npm pack onnxruntime-web, then --runtime", file=sys.stderr)
    return DONE if found is None or found.is_near else FAILED


def _show(step: str) -> None:
    """Print a step of the export, which takes a minute in all, as it begins."""
    print(f"export: {step}", file=sys.stderr, flush=True)


def check_form(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` for an option of the other form."""
    options = {"part": "onnx", "compare": "onnx", "runtime": "web", "encoder": "web"}
    for option, form in options.items():
        if getattr(arguments, option) and arguments.form != form:
            raise ValueError(f"expected --{option} with {form} alone, got it with {arguments.form}")


def _recordings(source: Path) -> list[Path]:
    """The recording, or those of the folder."""
    from codec.audio.io import RECORDINGS
    from codec.files.names import given_files

    return given_files(source, RECORDINGS)


def _compared(codec: HHCodec, folder: Path, paths: list[Path]) -> OnnxComparison:
    """The files beside torch on recordings; of long ones on what is encoded whole."""
    from tqdm import tqdm

    from codec.audio.io import read_audio
    from codec.export.comparison import compare_with_torch
    from codec.export.onnx_files import LONGEST

    longest = LONGEST * codec.hop_length / codec.sample_rate

    def waveforms() -> Iterator[NDArray[np.float32]]:
        for path in tqdm(paths, desc="compare", unit="file", file=sys.stderr):
            yield read_audio(path, codec.sample_rate, duration=longest)

    return compare_with_torch(codec, folder, waveforms())

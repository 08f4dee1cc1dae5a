"""`hh-codec export`: a codec in a form that runs without this toolkit."""

from __future__ import annotations

import argparse
from pathlib import Path

from codec.command_line import DONE, Commands, add_command, print_report

from .options import CODEC_HELP


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "export",
        run,
        summary="a codec as ONNX files",
        description="Write encoder.onnx, decoder.onnx and meta.json, which run without torch.\n"
        "Needs the packages onnx and onnxscript (docs/guides/onnx.md).",
        examples="example:\n  hh-codec export onnx hh-mini-24k exported/",
    )
    parser.add_argument("form", choices=("onnx",), help="form to write")
    parser.add_argument("codec", metavar="CODEC", help=CODEC_HELP)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="to write to; made if missing")


def run(arguments: argparse.Namespace) -> int:
    """Write the files and print what `meta.json` holds."""
    from codec.export.onnx_files import export_onnx
    from codec.model.hh_codec import HHCodec

    meta = export_onnx(HHCodec.from_pretrained(arguments.codec), arguments.folder)
    report = {key: value for key, value in meta.items() if key != "rules"}
    print_report({"folder": str(arguments.folder), **report}, as_json=arguments.json)
    return DONE

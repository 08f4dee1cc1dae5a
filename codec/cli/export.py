"""`hh-codec export`: a codec in a form that runs without this toolkit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from codec.command_line import DONE, Commands, add_command, print_report

from .options import CODEC_HELP

DESCRIPTION = """onnx: encoder.onnx, decoder.onnx and meta.json, which run without torch.
web: a static page that decodes .hhc files and codes in the browser, with decoder.onnx, and with
--encoder encodes recordings.
Needs the packages onnx and onnxscript (docs/guides/onnx.md)."""
EXAMPLES = """examples:
  hh-codec export onnx hh-mini-24k-v2 exported/
  hh-codec export onnx hh-mini-24k-v2 exported/ --part decoder
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
    parser.add_argument("--encoder", action="store_true", help="of web: take recordings, too")
    parser.add_argument(
        "--runtime", metavar="PACKAGE", help="of web: onnxruntime-web, a .tgz of npm or its folder"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the files and print what `meta.json` holds.

    Raises:
        ValueError: An option of the other form.
    """
    from codec.export.onnx_files import PARTS, export_onnx
    from codec.export.web_page import export_web
    from codec.model.hh_codec import HHCodec

    if arguments.part and arguments.form != "onnx":
        raise ValueError(f"expected --part with onnx alone, got it with {arguments.form}")
    if arguments.runtime and arguments.form != "web":
        raise ValueError(f"expected --runtime with web alone, got it with {arguments.form}")
    if arguments.encoder and arguments.form != "web":
        raise ValueError(f"expected --encoder with web alone, got it with {arguments.form}")
    codec = HHCodec.from_pretrained(arguments.codec)
    if arguments.form == "web":
        meta = export_web(codec, arguments.folder, arguments.runtime, encoder=arguments.encoder)
    else:
        parts = [arguments.part] if arguments.part else PARTS
        meta = export_onnx(codec, arguments.folder, parts)
    report = {key: value for key, value in meta.items() if key != "rules"}
    print_report({"folder": str(arguments.folder), **report}, as_json=arguments.json)
    if arguments.form == "web" and not arguments.runtime:
        print("the page needs: npm pack onnxruntime-web, then --runtime", file=sys.stderr)
    return DONE

"""A page in the browser, on this computer alone unless --host or --share says otherwise.

python -m recipes.app
python -m recipes.app --codec hh-mini-24k runs/mine/codec --lm hh-mini-slm runs/mine/lm
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from codec.checks import LARGEST
from codec.command_line import DONE, exit_status, number, whole_number
from codec.devices import DEVICE_HELP
from codec.requirements import install_command
from recipes.runner.cli import plain_parser

CODECS, LMS = ("hh-mini-24k-v2", "hh-mini-24k"), ("hh-mini-slm-v2", "hh-mini-slm")
OLDEST = 6  # version of Gradio


def main(argv: Sequence[str] | None = None) -> int:
    """Show the page until the process is interrupted; returns the exit status."""
    arguments = _parser().parse_args(argv)
    return exit_status(lambda: run(arguments), debug=arguments.debug)


def run(arguments: argparse.Namespace) -> int:
    """Load the models, then show the page.

    Raises:
        ValueError: A model or Gradio is missing.
        OSError: The port is taken.
    """
    _check_gradio()
    if arguments.threads is not None:
        import torch

        torch.set_num_threads(arguments.threads)
    # Uploads and results lie in a folder that goes with the process.
    with tempfile.TemporaryDirectory(prefix="hh-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        # Read at import: no word of this page goes anywhere.
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        from .fields import CSS
        from .models import load_models
        from .page import Page
        from .uploads import UploadLimits

        limits = UploadLimits(arguments.max_seconds, round(arguments.max_megabytes * 1e6))
        models = load_models(arguments.codec, arguments.lm, arguments.device)
        blocks = Page(models, limits, Path(folder)).build()
        blocks.queue(max_size=arguments.max_waiting, api_open=False)
        blocks.launch(
            server_name=arguments.host,
            server_port=arguments.port,
            share=arguments.share,
            max_file_size=limits.num_bytes,
            css=CSS,
            footer_links=[],
            ssr_mode=False,
        )
    return DONE


def _check_gradio() -> None:
    """Raise `ValueError` where there is no Gradio that the page is written for."""
    try:
        found = importlib.metadata.version("gradio")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found == "none" or int(found.split(".")[0]) < OLDEST:
        raise ValueError(
            f"expected gradio {OLDEST} or later, got {found}: {install_command('gradio')}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = plain_parser("python -m recipes.app", __doc__)
    add = parser.add_argument
    add("--codec", nargs="+", default=list(CODECS), help="folders, bundled names or hub")
    add("--lm", nargs="+", default=list(LMS), help="likewise")
    add("--device", default="cpu", help=DEVICE_HELP)
    add("--threads", type=whole_number(1), help="of torch (default: its own choice)")
    add("--host", default="127.0.0.1", help="address to listen at")
    add("--port", type=whole_number(1, 1 << 16), default=7860, help="port to listen at")
    add("--share", action="store_true", help="let Gradio make a public address for three days")
    add("--max-seconds", type=number(above=0, most=LARGEST), default=30.0, help="of a recording")
    add("--max-megabytes", type=number(above=0, most=LARGEST), default=20.0, help="of an upload")
    add("--max-waiting", type=whole_number(1), default=16, help="requests")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

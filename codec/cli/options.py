"""Options that several commands share."""

from __future__ import annotations

import argparse

from codec.devices import DEVICE_HELP

DEFAULT_CODEC = "hh-mini-24k-v2"
CODEC_HELP = "model folder, bundled name or hub repository"


def add_codec(parser: argparse.ArgumentParser) -> None:
    """Add the codec and its device."""
    parser.add_argument("--codec", metavar="CODEC", default=DEFAULT_CODEC, help=CODEC_HELP)
    parser.add_argument("--device", default="cpu", help=DEVICE_HELP)

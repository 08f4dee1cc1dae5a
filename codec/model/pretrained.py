"""Codec and vocoder folders: local, of the package, or of a Hugging Face hub repository."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from codec.hub import HubOptions, model_folder

from .config import CodecConfigError

# Models that come with the package, by name.
BUNDLED = Path(__file__).resolve().parent.parent / "pretrained"


def find_model(
    source: str | os.PathLike[str],
    files: Sequence[str],
    what: str,
    hub: HubOptions | None = None,
) -> Path:
    """Find the folder of a model.

    Args:
        source: A folder, the name of a model that comes with the package ("hh-mini-24k"), or a
            Hugging Face hub repository.
        files: Names of the files wanted of a repository.
        what: What is looked for, for the message, such as "vocoder".
        hub: Of a download.

    Raises:
        CodecConfigError: Naming the repository and how to go without a hub.
    """
    return model_folder(source, what, bundled=BUNDLED, files=files, hub=hub, error=CodecConfigError)

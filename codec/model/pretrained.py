"""Model folders: local, of the package, or of a Hugging Face hub repository in its cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from .config import CodecConfigError

# Models that come with the package, by name.
BUNDLED = Path(__file__).resolve().parent.parent / "pretrained"


def find_model(source: str | os.PathLike[str], files: Sequence[str], what: str) -> Path:
    """Find the folder of a model.

    Args:
        source: A folder, the name of a model that comes with the package ("hh-mini-24k"), or a
            Hugging Face hub repository.
        files: Names of the files wanted of a repository.
        what: What is looked for, for the message, such as "vocoder".

    Raises:
        CodecConfigError: As `download`.
    """
    for folder in (Path(source), BUNDLED / source):
        if folder.is_dir():
            return folder
    return download(str(source), files, what)


def download(repository: str, files: Sequence[str], what: str) -> Path:
    """Download those of `files` that a hub repository has, unless the cache has them.

    Args:
        repository: Name, such as "charactr/vocos-mel-24khz".
        files: Names of the files wanted.
        what: What is looked for, for the message, such as "vocoder".

    Raises:
        CodecConfigError: Naming the repository and how to go without a hub.
    """
    # loaded here alone: most runs need no hub
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=list(files)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CodecConfigError(
            f"{repository!r} is neither a {what} folder nor a hub repository that can be reached; "
            f"where there is no network, give the path of a folder with {' + '.join(files)}"
        ) from error

"""Where a model's files are: a local folder, or a Hugging Face hub repository in its cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .fields import CodecConfigError


def download(repository: str, files: Sequence[str], what: str) -> Path:
    """A folder with those of `files` that a hub repository has, from the cache when it can be.

    Args:
        repository: name, such as "charactr/vocos-mel-24khz".
        files: names of the files wanted.
        what: what is looked for, for the message, such as "vocoder".

    Raises:
        CodecConfigError: naming the repository and how to go without a hub.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=list(files)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CodecConfigError(
            f"{repository!r} is neither a {what} folder nor a hub repository that can be reached; "
            f"where there is no network, give the path of a folder with {' + '.join(files)}"
        ) from error

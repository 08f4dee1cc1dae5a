"""Model repositories of the Hugging Face hub: download, upload, and the cards that they carry."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from codec.error_text import message_of

CARD = "README.md"
LIBRARY = "hh-slm"


@dataclass(frozen=True)
class HubOptions:
    """Arguments of a download, as `huggingface_hub.snapshot_download` takes them.

    Attributes:
        revision: Branch, tag or commit; None is the main branch.
        token: Access token; True demands the stored one, False uses none.
        cache_dir: Folder of the cache; None is the hub's own.
        local_files_only: Take what the cache has and ask no server.
    """

    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | os.PathLike[str] | None = None
    local_files_only: bool = False


def model_folder(
    source: str | os.PathLike[str],
    what: str,
    *,
    bundled: Path,
    files: Sequence[str] | None = None,
    hub: HubOptions | None = None,
    error: type[ValueError] = ValueError,
) -> Path:
    """Find the folder of a model: a local one, one that comes with the package, or the hub's.

    Args:
        source: A folder, the name of a model in `bundled`, or a hub repository.
        what: What is looked for, for the message, such as "vocoder".
        bundled: Folder of models that come with the package.
        files: Names of the files wanted of a repository; None for all.
        hub: Of a download.
        error: Class of the error.

    Raises:
        ValueError: There is none of that name, or a revision of a folder is asked for.
    """
    options = hub or HubOptions()
    for folder in (Path(source), bundled / source):
        if folder.is_dir():
            if options.revision is not None:
                raise error(
                    f"expected a hub repository for revision {options.revision!r}, "
                    f"got the folder {folder}"
                )
            return folder
    # A mistyped name ends in an error that lists the bundled ones.
    known = sorted(each.name for each in bundled.glob("*") if each.is_dir())
    return download(str(source), what, files=files, hub=options, error=error, bundled=known)


def download(
    repository: str,
    what: str,
    *,
    files: Sequence[str] | None = None,
    hub: HubOptions | None = None,
    error: type[ValueError] = ValueError,
    bundled: Sequence[str] = (),
) -> Path:
    """Download those of `files` that a hub repository has, unless the cache has them.

    Args:
        repository: Name, such as "charactr/vocos-mel-24khz".
        what: As of `model_folder`.
        files: As of `model_folder`.
        hub: Of the download.
        error: Class of the error.
        bundled: Names of the models that come with the package, for the message.

    Raises:
        ValueError: Naming the repository and how to go without a hub.
    """
    # loaded here alone: most runs need no hub
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    options = hub or HubOptions()
    wanted = {} if files is None else {"allow_patterns": list(files)}
    try:
        return Path(snapshot_download(repository, **wanted, **_given(options)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as problem:
        at = f" at revision {options.revision!r}" if options.revision else ""
        of = f" with {' + '.join(files)}" if files else ""
        because = ""
        if isinstance(problem, RevisionNotFoundError):
            because = " (it has no such revision)"
        elif isinstance(problem, RepositoryNotFoundError):
            because = " (the hub shows none to this caller; a private one needs token=)"
        names = f" or one of {', '.join(bundled)}" if bundled else ""
        raise error(
            f"{repository!r} is neither a {what} folder nor a hub repository that can be "
            f"reached{at}{because}; where there is no network, give the path of a folder{of}{names}"
        ) from problem


def _given(options: HubOptions) -> dict[str, Any]:
    """The options that differ from the hub's own."""
    values, defaults = vars(options), vars(HubOptions())
    return {name: value for name, value in values.items() if value != defaults[name]}


def upload(
    repository: str,
    save: Callable[[Path], object],
    card: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    message: str = "Upload model",
) -> str:
    """Create a hub repository unless it is there, and commit a model and its card to it.

    Args:
        repository: Name, such as "me/my-codec".
        save: Writes the model's files into a folder.
        card: Text of the model card, which a card among those files comes before.
        private: Of a repository that is created; None leaves it to the account.
        token: Access token that may write; None is the stored one.
        revision: Branch; None is the main one.
        message: Of the commit.

    Returns:
        URL of the commit.

    Raises:
        ValueError: The hub refused, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    api = HfApi(token=token)
    with TemporaryDirectory() as folder:
        save(Path(folder))
        if not (Path(folder) / CARD).exists():
            (Path(folder) / CARD).write_text(card, encoding="utf-8", newline="\n")
        try:
            name = api.create_repo(repository, private=private, exist_ok=True).repo_id
            made = api.upload_folder(
                repo_id=name, folder_path=folder, revision=revision, commit_message=message
            )
        except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as problem:
            reason = message_of(problem).partition("\n")[0]
            raise ValueError(f"{repository!r} was not uploaded to the hub: {reason}") from problem
    return str(made.commit_url)


def card_text(
    name: str,
    description: str,
    code: str,
    *,
    pipeline_tag: str,
    tags: Sequence[str],
    license: str | None = None,  # noqa: A002 - the card's own word
    facts: Mapping[str, object] | None = None,
) -> str:
    """Write a model card: a YAML header that the hub reads, and a page.

    Args:
        name: Heading.
        description: Sentences below it.
        code: Python lines that load and use the model.
        pipeline_tag: Task by the hub's name, such as "audio-to-audio".
        tags: Further words that it is found by.
        license: Identifier of the licence; None leaves it out.
        facts: Figures of the model by name.
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        license=license, library_name=LIBRARY, pipeline_tag=pipeline_tag, tags=list(tags)
    )
    rows = [f"| {key} | {value} |" for key, value in (facts or {}).items()]
    table = ["| | |", "| --- | --- |", *rows, ""] if rows else []
    page = [f"# {name}", "", description, "", "```python", code.strip(), "```", "", *table]
    return "\n".join(["---", data.to_yaml().strip(), "---", "", *page])

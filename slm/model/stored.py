"""A language model as it is loaded, saved and shared."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from codec.devices import usable_device
from codec.files import replaced_files
from codec.hub import HubOptions, upload
from slm.text.tokenizer import Tokenizer

from .code_embeddings import fold_code_tables
from .config import SpeechLMConfig
from .model_folder import (
    TEXT_MODELS,
    WEIGHTS,
    lm_card,
    pretrained_folder,
    read_companions,
    read_model,
    write_companions,
    write_model,
)

if TYPE_CHECKING:
    from typing_extensions import Self


class StoredLM(nn.Module):
    """Base of a language model with its config, an embedding and a head."""

    config: SpeechLMConfig
    embedding: nn.Embedding
    head: nn.Linear

    def __init__(self) -> None:
        super().__init__()
        # Text model and voices of the folder that it was loaded from, by file name.
        self._companions: dict[str, bytes] = {}

    def save_pretrained(self, folder: Path | str, tokenizer: Tokenizer | None = None) -> None:
        """Write config.yaml, text model, voices and model.safetensors, which appear together.

        Args:
            folder: Of the model.
            tokenizer: Its text model; None keeps that of the folder it was loaded from, if any.
        """
        # A text model of the other kind would be loaded in the place of this one.
        own = [name for name in self._companions if name in TEXT_MODELS]
        others = TEXT_MODELS if tokenizer is not None or own else ()
        with replaced_files(folder, WEIGHTS, without=others) as partial:
            write_companions(partial, self._companions, text_model=tokenizer is None)
            if tokenizer is not None:
                tokenizer.save(partial)
            write_model(partial, self)

    @classmethod
    def from_pretrained(
        cls,
        path_or_repo: Path | str,
        *,
        fold: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a model from a folder of `save_pretrained`, from the package or from a hub.

        It comes in eval mode, in fp32 on the CPU where nothing else is asked for.

        Args:
            path_or_repo: See `pretrained_folder`.
            fold: Replace code tables by the weights they make, for speed; False to save the model
                again as small as it was.
            device: Such as "cuda"; "auto" is a GPU where there is one.
            dtype: Of the weights, such as torch.bfloat16.
            revision: Branch, tag or commit of a repository.
            token: Access token of a private repository.
            cache_dir: Folder of the hub's cache, where it is not the usual one.
            local_files_only: Ask no server, take what the cache has.

        Raises:
            ValueError: A file is missing or does not fit the config, or a device is not here.
        """
        place = None if device is None else usable_device(str(device))
        hub = HubOptions(revision, token, cache_dir, local_files_only)
        folder = pretrained_folder(path_or_repo, hub)
        model = read_model(folder, cls)
        model._companions = read_companions(folder)
        # Folded, so the config must not ask for tables when it is saved again.
        if fold:
            fold_code_tables(model.embedding, model.head)
            model.config = replace(model.config, code_table=0, codebook_dim=0)
        return model.eval().to(place, dtype)

    def push_to_hub(
        self,
        repository: str,
        tokenizer: Tokenizer | None = None,
        *,
        license: str | None = None,  # noqa: A002 - as cards name it
        **options: Any,
    ) -> str:
        """Save to a hub repository, which is created where it is missing, with a model card.

        Args:
            repository: Name, such as "me/my-lm".
            tokenizer: As of `save_pretrained`.
            license: Identifier for the card's header, such as "apache-2.0".
            options: `private`, `token`, `revision` and `message` of `codec.hub.upload`.

        Returns:
            URL of the commit.

        Raises:
            ValueError: The hub refused, or cannot be reached.
        """
        card = lm_card(self, repository, license=license)
        return upload(repository, lambda at: self.save_pretrained(at, tokenizer), card, **options)

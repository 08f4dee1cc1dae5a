"""A trained language model as the start of another training, on other data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from codec.checks import require
from slm.data.token_store import TokenStore
from slm.text.tokenizer import Tokenizer

from .code_embeddings import code_tables
from .code_init import init_codes_from_codebook
from .config import SpeechLMConfig
from .speech_lm import SpeechLM, pretrained_folder


def speech_lm_folder(start: Path | str) -> Path | None:
    """The folder of a speech language model to go on from; None where it is another model's.

    Args:
        start: Folder, name of a model that comes with the package, or hub repository.

    Raises:
        ValueError: Nothing of that name is there.
    """
    folder = pretrained_folder(start)
    return folder if (folder / "config.yaml").is_file() else None


def started_from(
    folder: Path,
    train: TokenStore,
    tokenizer: Tokenizer,
    codec_names: Sequence[str],
    changes: Mapping[str, Any],
    codebook: Tensor | None = None,
) -> SpeechLM:
    """Load a model whose training is to go on with other data, code tables as they are.

    Args:
        folder: Of the model.
        train: Store of codes of its codec, or with a `codebook` of another.
        tokenizer: Its text model.
        codec_names: All fingerprints of the store's codec.
        changes: Fields of its config in place of its own; those that change no weight's size.
        codebook: Vectors (C, D') of the store's codec, from which a model of another codec makes
            its embeddings and logits of codes (see `CodeTable`); None refuses such a model. What
            it has learnt holds where the vectors mean alike, as those of a codec that was trained
            on from the other.

    Raises:
        ValueError: Another codec or text model, an unknown field, sizes that are not its own, or
            a model of another codec without code tables or with others than of these vectors.
    """
    lm = SpeechLM.from_pretrained(folder, fold=False)
    known, found = lm.config.codec_fingerprint, lm.vocabulary.text_fingerprint
    is_other = known not in codec_names
    if is_other:
        owned = f"a model of codec {train.codec_fingerprint}"
        require(codebook is not None, str(folder), owned, known)
        require(bool(code_tables(lm)), str(folder), f"code tables, or {owned}", "plain weights")
    wanted = f"a model of text model {tokenizer.fingerprint} (take over its own: train_text.start)"
    require(found == tokenizer.fingerprint, str(folder), wanted, found)
    unknown = sorted(set(changes) - {each.name for each in fields(SpeechLMConfig)})
    require(not unknown, str(folder), "fields of SpeechLMConfig", unknown)
    # The store may name the codec by another of its fingerprints.
    own = {"codec_fingerprint": train.codec_fingerprint}
    model = SpeechLM(replace(lm.config, **own, **changes))
    try:
        model.load_state_dict(lm.state_dict())
    except RuntimeError as error:
        raise ValueError(f"{folder}: expected its own sizes, got {dict(changes)}") from error
    if is_other and codebook is not None:
        init_codes_from_codebook(model, codebook)
    return model.eval()

"""Texts to speak, and the recordings that prompt them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.audio.store import AudioStore
from codec.files.names import check_items
from recipes.corpora.preparation import spread
from recipes.runner.config import Config
from recipes.runner.stages import stage_folder


@dataclass(frozen=True)
class Request:
    """A text (row and index in its split) to speak, and a recording (T,) of its speaker."""

    row: dict[str, Any]
    index: int
    prompt: NDArray[np.float32]
    prompt_id: str
    known_speaker: bool
    seed: int
    language: str = "en"


def choose_texts(config: Config) -> list[Request]:
    """Choose texts of a split whose speaker left another recording, known speakers first.

    The prompt of a known speaker is a training clip, that of another a different clip of the split.
    A model of phones gets texts of the languages that were aligned alone.
    """
    settings, text = config.generate, config.train_text
    prepared = stage_folder(config, "prepare")
    stores = {split: AudioStore(prepared / split) for split in ("train", settings.split)}
    least = settings.min_prompt_seconds
    prompts = {split: _by_speaker(store, least) for split, store in stores.items()}
    trained = {row["speaker"] for row in stores["train"].rows}
    found: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for index, row in enumerate(stores[settings.split].rows):
        known = row["speaker"] in trained
        others = prompts["train" if known else settings.split].get(row["speaker"], [])
        # Among its speaker's clips of the split, the text's own recording is left out.
        itself = bisect_left(others, index) if not known else len(others)
        held = itself < len(others) and others[itself] == index
        readable = text.kind != "phones" or row["lang"] in text.languages
        if row["text"].strip() and len(others) > held and readable:
            # The seed and the text choose among the speaker's other recordings.
            choice = (config.seed + index) % (len(others) - held)
            found[known].append((index, others[choice + (held and choice >= itself)]))
    chosen = [
        *((True, *each) for each in spread(found[True], settings.texts_known)),
        *((False, *each) for each in spread(found[False], settings.texts_unseen)),
    ]
    requests = []
    for known, index, pick in chosen:
        source = stores["train" if known else settings.split]
        prompt, name = source.waveform(pick), source.rows[pick]["id"]
        row = stores[settings.split].rows[index]
        # Phones are English, however a manifest spells that.
        language = "en" if text.kind == "phones" else row["lang"]
        requests.append(Request(row, index, prompt, name, known, config.seed + index, language))
    return requests


def check_names(requests: Sequence[Request]) -> None:
    """Raise `ValueError` for ids of texts and prompts that do not name a file each."""
    names = [request.row["id"] for request in requests]
    prompts = dict.fromkeys(request.prompt_id for request in requests)
    check_items(
        [*names, *names_below(("recordings",), names), *names_below(("prompts",), prompts)], ".flac"
    )


def names_below(folders: Iterable[str], names: Iterable[str]) -> list[str]:
    """Names within folders."""
    return [f"{folder}/{name}" for folder, name in product(folders, names)]


def _by_speaker(store: AudioStore, seconds: float) -> dict[str, list[int]]:
    """The recordings of each speaker that are long enough for a prompt, ascending."""
    found: dict[str, list[int]] = {}
    # Of clips that are only listed there is nothing to prompt with.
    for index, row in enumerate(() if store.is_listed else store.rows):
        if row["num_samples"] >= seconds * store.sample_rate:
            found.setdefault(row["speaker"], []).append(index)
    return found

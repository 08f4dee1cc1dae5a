"""Named voices: short speaker prompts kept beside a model, so that plain text can ask for one.

A voice is nothing but the codes of one utterance. The model has no speaker table; a name stands for
a prompt before the text, and a voice can be added at any time without training.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec.checks import require
from codec.files import read_json, write_json
from slm.data.token_store import TokenStore

VOICES_NAME = "voices.json"
# Of a file: thousands of voices.
_MOST_BYTES = 1 << 25


def choose_voices(
    stores: Sequence[TokenStore], *, max_codes: int = 96, min_codes: int = 24
) -> dict[str, np.ndarray]:
    """Choose one prompt for every speaker of the stores.

    It is the utterance whose length is nearest to `max_codes` (so that it holds much of the voice
    and loses little to cropping), cropped to `max_codes`; the first of equals.

    Args:
        stores: Stores of one codec.
        max_codes: Longest prompt, in codes.
        min_codes: Speakers without an utterance this long get no voice.

    Returns:
        Speaker to codes, int64 (L,), in the order speakers appear.
    """
    best: dict[str, tuple[int, TokenStore, int]] = {}
    for store in stores:
        for index, row in enumerate(store.rows):
            speaker, num_codes = row.get("speaker"), row["num_codes"]
            distance = abs(num_codes - max_codes)
            # Short prompts hold too little of a voice.
            if not speaker or num_codes < min_codes:
                continue
            # Strictly nearer, so that the first of equals stays.
            if speaker not in best or distance < best[speaker][0]:
                best[speaker] = (distance, store, index)
    return {
        str(speaker): store.codes(index)[:max_codes].astype(np.int64)
        for speaker, (_, store, index) in best.items()
    }


def save_voices(
    folder: Path | str,
    voices: Mapping[str, np.ndarray],
    codec_fingerprint: str,
    default: str | None = None,
) -> Path:
    """Write `folder`/voices.json, whole or not at all, and return its path.

    Args:
        folder: Of the model.
        voices: (L,) codes by name.
        codec_fingerprint: Of the codec whose codes they are.
        default: The voice of the command line where none is asked for.
    """
    lists = {name: [int(code) for code in codes] for name, codes in voices.items()}
    content = {"codec_fingerprint": codec_fingerprint, "voices": lists}
    if default is not None:
        content["default"] = default
    return write_json(Path(folder) / VOICES_NAME, content, indent=None)


def load_voices(folder: Path | str, codec_fingerprint: str) -> dict[str, np.ndarray]:
    """Read the voices of a model folder, none where it has no file of them.

    Raises:
        ValueError: The voices are codes of another codec, or the file is not of this form.
    """
    path = Path(folder) / VOICES_NAME
    stored = _stored(path)
    if not stored:
        return {}
    if stored["codec_fingerprint"] != codec_fingerprint:
        raise ValueError(
            f"expected codes of codec {codec_fingerprint} in {path}, got codec "
            f"{stored['codec_fingerprint']}; choose the voices again from a store of this codec"
        )
    return {name: np.array(codes, dtype=np.int64) for name, codes in stored["voices"].items()}


def default_voice(folder: Path | str) -> str | None:
    """The voice of a model folder for texts that ask for none; None leaves it to the model."""
    return _stored(Path(folder) / VOICES_NAME).get("default")


def _stored(path: Path) -> dict[str, Any]:
    """The checked content of a file of voices, {} where there is none."""
    # A link that leads nowhere is a lost file, not a model without voices.
    if not os.path.lexists(path):
        return {}
    # To open a pipe would wait for ever.
    require(path.is_file(), str(path), "a file", "something else")
    size = path.stat().st_size
    require(size <= _MOST_BYTES, str(path), f"at most {_MOST_BYTES} bytes", size)
    stored = read_json(path)
    require(isinstance(stored, dict), str(path), "an object", stored)
    name, voices = stored.get("codec_fingerprint"), stored.get("voices")
    require(isinstance(name, str), f"{path}: codec_fingerprint", "a text", name)
    require(isinstance(voices, dict), f"{path}: voices", "lists of codes by name", voices)
    for voice, codes in voices.items():
        # Codes lie below 65,536, the most that a codebook has; true and false are no numbers here.
        fits = isinstance(codes, list) and len(codes) > 0
        fits = fits and all(type(code) is int and 0 <= code < 65536 for code in codes)
        require(fits, f"{path}: voices.{voice}", "a list of codes in 0..65535", codes)
    default = stored.get("default")
    known = default is None or (isinstance(default, str) and default in voices)
    require(known, f"{path}: default", "the name of one of its voices", default)
    return stored

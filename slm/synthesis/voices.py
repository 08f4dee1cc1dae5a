"""Named voices: short speaker prompts kept beside a model, so that plain text can ask for one.

A voice is nothing but the codes of one utterance. The model has no speaker table; a name only says
which prompt to put before the text, and a voice can be added at any time without training.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from slm.data.token_store import TokenStore

VOICES_NAME = "voices.json"


def choose_voices(
    stores: Sequence[TokenStore], *, max_codes: int = 96, min_codes: int = 24
) -> dict[str, np.ndarray]:
    """One prompt for every speaker of the stores.

    Taken is the utterance whose length is nearest to `max_codes` (so that it holds much voice and
    loses little to cropping), cropped to `max_codes`; the first of equals.

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
            if not speaker or num_codes < min_codes:
                continue
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
        default: The voice that the command line speaks in where none is asked for.
    """
    path = Path(folder) / VOICES_NAME
    lists = {name: [int(code) for code in codes] for name, codes in voices.items()}
    about = {"codec_fingerprint": codec_fingerprint, "voices": lists}
    text = json.dumps(about if default is None else {**about, "default": default})
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def load_voices(folder: Path | str, codec_fingerprint: str) -> dict[str, np.ndarray]:
    """Voices of a model folder, empty when it has none.

    Raises:
        ValueError: The voices are codes of another codec.
    """
    path = Path(folder) / VOICES_NAME
    if not path.exists():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored["codec_fingerprint"] != codec_fingerprint:
        raise ValueError(
            f"{path} holds codes of codec {stored['codec_fingerprint']}, expected codec "
            f"{codec_fingerprint}; choose the voices again from a store of this codec"
        )
    return {name: np.array(codes, dtype=np.int64) for name, codes in stored["voices"].items()}


def default_voice(folder: Path | str) -> str | None:
    """The voice of a model folder for texts that ask for none; None leaves it to the model."""
    path = Path(folder) / VOICES_NAME
    if not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8")).get("default")

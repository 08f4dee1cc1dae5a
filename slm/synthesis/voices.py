"""Named voices: short speaker prompts kept beside a model, so that plain text can ask for one.

A voice is nothing but the codes of one utterance. The model has no speaker table; a name stands for
a prompt before the text, and a voice can be added at any time without training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from codec.files import read_json, write_json
from slm.data.token_store import TokenStore

VOICES_NAME = "voices.json"


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
        ValueError: The voices are codes of another codec.
    """
    path = Path(folder) / VOICES_NAME
    if not path.exists():
        return {}
    stored = read_json(path)
    if stored["codec_fingerprint"] != codec_fingerprint:
        raise ValueError(
            f"expected codes of codec {codec_fingerprint} in {path}, got codec "
            f"{stored['codec_fingerprint']}; choose the voices again from a store of this codec"
        )
    return {name: np.array(codes, dtype=np.int64) for name, codes in stored["voices"].items()}


def default_voice(folder: Path | str) -> str | None:
    """The voice of a model folder for texts that ask for none; None leaves it to the model."""
    path = Path(folder) / VOICES_NAME
    return read_json(path).get("default") if path.exists() else None

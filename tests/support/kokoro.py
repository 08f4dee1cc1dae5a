"""A stand-in for Kokoro's network: a tone in place of a voice, beside the real eSpeak NG."""
# ruff: noqa: RUF001 - letters of phones

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

VOICE_NAMES = ("af_one", "af_two", "am_three", "bf_four", "bm_five", "zf_six")
LETTERS = ';:,.!?"()ˈˌːabcdefhijklmnopqrstuvwxyzæðŋɑɔəɛɜɡɪɹʃʊʌʒɾθɐʧʤAIOQTWY '


class Session:
    """In place of ONNX Runtime's: a tone as long as the tokens, as high as the style."""

    calls: list[dict[str, Any]]

    def __init__(self, path: str, options: Any, providers: list[str]) -> None:
        del path, options, providers

    def run(self, names: None, inputs: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        del names
        Session.calls.append(inputs)
        count = round(inputs["tokens"].size * 1_200 / float(inputs["speed"][0]))
        hz = 100.0 + 100.0 * float(inputs["style"][0, 0])
        tone = 1.5 * np.sin(2 * np.pi * hz * np.arange(count) / 24_000)
        silence = np.zeros(12_000)
        return [np.concatenate([silence, tone, silence]).astype(np.float32)]


def onnx_runtime() -> SimpleNamespace:
    """A module in place of `onnxruntime`, whose sessions have made no call yet."""
    Session.calls = []
    return SimpleNamespace(
        InferenceSession=Session, SessionOptions=SimpleNamespace, __spec__=SimpleNamespace()
    )


def write_model(folder: Path) -> Path:
    """Write a folder of Kokoro with the voices `VOICE_NAMES`."""
    folder.mkdir()
    (folder / "tiny.onnx").write_bytes(b"of another runtime")
    (folder / "vocab.json").write_text(json.dumps({each: n + 1 for n, each in enumerate(LETTERS)}))
    styles = {n: np.full((510, 256), k, np.float32) for k, n in enumerate(VOICE_NAMES)}
    np.savez(folder / "voices.npz", **styles)  # type: ignore[arg-type]
    return folder

"""Codes in files of other programs: `.npy`, `.pt` and `.json`, beside our own `.hhc`.

`.npy` is an array (L,) uint16 and nothing else: lengths are whole codes, and no codec is named.
`.pt` is a dict for `torch.load(..., weights_only=True)`, `.json` an object, of the same fields:
`codes`, `num_samples`, `sample_rate`, `hop_length`, `codebook_size`, `codec_fingerprint`,
`level_dbfs` (None where it is not known). Where there is a voice code, `voice` holds its tokens,
and `voice_size` and `voice_fingerprint` tell what they are; `.npy` cannot hold one. Which form a
file has is told by its first bytes.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codec.error_text import message_of
from codec.files import write_bytes
from codec.files.json_text import json_text, json_value
from codec.files.reading import read_file

from .format import SUFFIX, CodedRecording
from .records import MAGIC, BitstreamError, StreamHeader, file_named, stated_level
from .voice import StreamVoice

_FIELDS = "codec_fingerprint", "sample_rate", "hop_length", "codebook_size"
_VOICE_FIELDS = "voice", "voice_size", "voice_fingerprint"
# No recording is louder or softer by far.
_MOST_DBFS = 200.0


def save_codes(path: Path, recording: CodedRecording) -> None:
    """Write codes in the form of the file's suffix; the file appears only when it is whole.

    Raises:
        BitstreamError: Another suffix than of `CODE_SUFFIXES`.
        OSError: The disk refused.
    """
    kind = path.suffix.lower()
    if kind == SUFFIX:
        recording.save(path)
        return
    if kind not in _WRITERS:
        raise BitstreamError(f"{path}: expected a name ending in {' or '.join(CODE_SUFFIXES)}")
    if kind == ".npy" and recording.header.voice is not None:
        raise BitstreamError(f"{path}: expected codes without a voice code for .npy, got one")
    write_bytes(path, _WRITERS[kind](recording))


def load_codes(path: Path, codec: StreamHeader) -> CodedRecording:
    """Read codes of any form.

    Args:
        path: Of the file, whatever its suffix.
        codec: Header of the codec's streams, which stands for what a `.npy` file does not tell.

    Raises:
        BitstreamError: It is damaged or holds no codes; the message names the file.
        OSError: It is missing or cannot be opened.
    """
    with file_named(path):
        return read_codes(read_file(path), codec)


def read_codes(data: bytes, codec: StreamHeader) -> CodedRecording:
    """Read the bytes of a file of codes; see `load_codes`."""
    if data.startswith(b"\x93NUMPY"):
        return _from_npy(data, codec)
    if data.startswith(b"PK"):
        return _from_fields(_unpickled(data))
    # Some programs put a byte order mark before the text.
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"{":
        try:
            return _from_fields(json_value(text.decode()))
        except (ValueError, RecursionError) as error:
            if isinstance(error, BitstreamError):
                raise
            raise BitstreamError(f"expected codes as JSON ({error})") from error
    if data and not data.startswith(MAGIC[:1]):
        forms = ", ".join(CODE_SUFFIXES)
        raise BitstreamError(
            f"no .hhc stream: expected codes as {forms}, got a file that starts with {data[:8]!r}"
        )
    return CodedRecording.from_bytes(data)


def to_npy(recording: CodedRecording) -> bytes:
    """The codes alone, (L,) uint16."""
    file = BytesIO()
    np.save(file, recording.codes.astype("<u2"), allow_pickle=False)
    return file.getvalue()


def to_pt(recording: CodedRecording) -> bytes:
    """A dict of numbers, a text and the codes, (L,) int64, as torch saves it."""
    file = BytesIO()
    codes = torch.from_numpy(recording.codes.astype(np.int64))
    torch.save({**_fields(recording), "codes": codes}, file)
    return file.getvalue()


def to_json(recording: CodedRecording) -> bytes:
    """An object with the codes as a list, in a line."""
    fields = {**_fields(recording), "codes": recording.codes.tolist()}
    return json_text(fields, indent=None).encode()


_WRITERS: dict[str, Callable[[CodedRecording], bytes]] = {
    ".npy": to_npy,
    ".pt": to_pt,
    ".json": to_json,
}
CODE_SUFFIXES = SUFFIX, *_WRITERS


def _fields(recording: CodedRecording) -> dict[str, Any]:
    fields = {name: getattr(recording.header, name) for name in (*_FIELDS, "level_dbfs")}
    voice = recording.header.voice
    if voice is not None:
        fields |= {"voice": list(voice.tokens)}
        fields |= {"voice_size": voice.size, "voice_fingerprint": voice.fingerprint}
    return {**fields, "num_samples": recording.num_samples}


def _voice(fields: Mapping[str, Any]) -> StreamVoice | None:
    """The voice that a file states, checked."""
    names = [name for name in _VOICE_FIELDS if fields.get(name) is not None]
    if not names:
        return None
    if len(names) < len(_VOICE_FIELDS):
        raise BitstreamError(f"expected {', '.join(_VOICE_FIELDS)}, got {', '.join(names)} alone")
    tokens, size, fingerprint = (fields[name] for name in _VOICE_FIELDS)
    whole = type(size) is int and isinstance(fingerprint, str) and isinstance(tokens, list)
    if not whole or not all(type(each) is int for each in tokens):
        got = f"{tokens!r:.40}, {size!r:.40} and {fingerprint!r:.40}"
        raise BitstreamError(f"expected voice tokens, their number and a fingerprint, got {got}")
    return StreamVoice(tuple(tokens), size, fingerprint)


def _from_npy(data: bytes, codec: StreamHeader) -> CodedRecording:
    try:
        codes = np.load(BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BitstreamError(f"the .npy file is damaged: {message_of(error)}") from error
    codes = codes[0] if codes.ndim == 2 and len(codes) == 1 else codes
    return _recording(codes, codec, len(codes) * codec.hop_length if codes.ndim else 0)


def _unpickled(data: bytes) -> Any:
    try:
        return torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise BitstreamError(f"the .pt file is damaged or holds objects: {reason}") from error


def _from_fields(fields: Any) -> CodedRecording:
    wanted = (*_FIELDS, "num_samples", "codes")
    if not isinstance(fields, Mapping) or any(name not in fields for name in wanted):
        got = sorted(map(str, fields)) if isinstance(fields, Mapping) else type(fields).__name__
        raise BitstreamError(f"expected the fields {', '.join(wanted)}, got {got}")
    numbers = {name: fields[name] for name in (*_FIELDS[1:], "num_samples")}
    for name, value in numbers.items():
        if type(value) is not int:
            raise BitstreamError(f"expected a whole number as {name}, got {value!r:.40}")
    level, name = fields.get("level_dbfs"), fields["codec_fingerprint"]
    is_level = (
        isinstance(level, (int, float)) and not isinstance(level, bool) and abs(level) <= _MOST_DBFS
    )
    if not isinstance(name, str) or not (level is None or is_level):
        raise BitstreamError(
            f"expected a fingerprint and a level, got {name!r:.40} and {level!r:.40}"
        )
    num_samples = numbers.pop("num_samples")
    level = None if level is None else stated_level(level)
    header = StreamHeader(name, **numbers, level_dbfs=level, voice=_voice(fields))
    return _recording(fields["codes"], header, num_samples)


def _recording(given: Any, header: StreamHeader, num_samples: int) -> CodedRecording:
    """A recording whose codes were checked."""
    try:
        codes = np.asarray(given)
    # Tensors of torch alone, such as bfloat16, those that need a gradient or lie on no disk.
    except (ValueError, TypeError, RuntimeError) as error:
        raise BitstreamError(f"expected integer codes (L,), got {type(given).__name__}") from error
    fits = codes.ndim == 1 and len(codes) and np.issubdtype(codes.dtype, np.integer)
    if not fits:
        raise BitstreamError(f"expected integer codes (L,), got {codes.dtype} {codes.shape}")
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= header.codebook_size:
        raise BitstreamError(f"expected codes in 0..{header.codebook_size - 1}, got {low}..{high}")
    expected = -(-num_samples // header.hop_length)
    if num_samples < 1 or len(codes) != expected:
        raise BitstreamError(
            f"expected {expected} codes for {num_samples} samples, got {len(codes)}"
        )
    return CodedRecording(header, codes.astype(np.uint16), num_samples)

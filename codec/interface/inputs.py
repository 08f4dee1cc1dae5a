"""Waveforms, codes and lengths as callers hold them, brought to the tensors of a codec.

Tensors, NumPy arrays and lists are taken, of one clip or of a batch; a list of clips may be ragged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Full scale of PCM samples that are not in [-1, 1].
FULL_SCALE = {torch.int16: float(1 << 15), torch.int32: float(1 << 31)}
INTEGERS = (
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)
_WAVEFORMS = "samples (T,), (B, T) or (B, 1, T), or a list of clips"
_CODES = "integer codes (L,), (B, L) or (B, 1, L), or a list of them"
# No clip is this short and no batch this large: samples by channels, not clips by samples.
_MOST_CHANNELS, _MOST_CLIPS = 8, 1024

# A clip, or an array of clips, of any numbers to a tensor of those that are computed with.
Convert = Callable[[Tensor], Tensor]


def waveform_batch(
    given: Any, lengths: Any, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Bring waveforms to a batch.

    Args:
        given: Samples (T,), (B, T) or (B, 1, T), a tensor, array or list of numbers; or a list of
            clips (T,) or (1, T) of any lengths. Floats in [-1, 1], or int16 or int32.
        lengths: (B,) valid samples of each clip; None means all.
        device: Where they are wanted; None leaves tensors where they are.

    Returns:
        Waveforms (B, T) float, zeros behind shorter clips of a list, and lengths (B,) int64 on the
        CPU.

    Raises:
        ValueError: Another shape or type, no samples, some that are not finite in float32, or
            lengths outside 1..T.
    """
    waveform, counts = _batch(given, _WAVEFORMS, _float_samples, device)
    if len(waveform) >= _MOST_CLIPS and waveform.shape[1] <= _MOST_CHANNELS:
        raise ValueError(
            f"expected {_WAVEFORMS}, got {tuple(waveform.shape)}, which are samples by channels; "
            "give one channel or the mean of all"
        )
    # Codecs compute in float32, where what only float64 can hold becomes infinite.
    if not torch.isfinite(waveform.float()).all():
        raise ValueError("expected finite samples, got NaN or infinity in the waveform")
    if lengths is None:
        return waveform, counts
    lengths = length_column(lengths, len(waveform), "lengths")
    if (lengths < 1).any() or (lengths > counts).any():
        most = f"1..{int(counts.max())}" if len(counts.unique()) == 1 else f"1..{counts.tolist()}"
        raise ValueError(f"expected lengths in {most}, got {lengths.tolist()}")
    return waveform, lengths


def code_batch(
    given: Any, code_lengths: Any, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Bring codes to a batch.

    Args:
        given: Integers (L,), (B, L) or (B, 1, L), a tensor, array or list; or a list of codes (L,)
            or (1, L) of any lengths.
        code_lengths: (B,) valid codes of each row; None means all.
        device: Where they are wanted; None leaves tensors where they are.

    Returns:
        Codes (B, L) int64, zeros behind shorter ones of a list, and lengths (B,) int64 on the CPU.

    Raises:
        ValueError: Another shape or type, no codes, or lengths outside 1..L.
    """
    if _is_encoded(given):
        raise ValueError(
            f"expected {_CODES}, got the pair of codes and lengths that encode returns; "
            "decode(*pair) takes them one by one"
        )
    codes, counts = _batch(given, _CODES, _whole_numbers, device)
    if code_lengths is None:
        return codes, counts
    code_lengths = length_column(code_lengths, len(codes), "code_lengths")
    if (code_lengths < 1).any() or (code_lengths > counts).any():
        most = int(counts.max()) if len(counts.unique()) == 1 else counts.tolist()
        raise ValueError(f"expected code_lengths in 1..{most}, got {code_lengths.tolist()}")
    return codes, code_lengths


def voice_rows(given: Any, rows: int, tokens: int, size: int, device: torch.device) -> Tensor:
    """Bring the tokens of voices to a row for every row of codes.

    Args:
        given: Integers (K,) of one voice for all, or (B, K); a tensor, array or list.
        rows: B.
        tokens: K.
        size: Number of different tokens.
        device: Where they are wanted.

    Returns:
        (B, K) int64.

    Raises:
        ValueError: None, another shape or type, or unknown tokens.
    """
    expected = f"a voice of {tokens} integer tokens in 0..{size - 1}, ({tokens},) or (B, {tokens})"
    if given is None:
        raise ValueError(f"expected {expected}, got none; encode_voice makes one of a recording")
    try:
        found = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"expected {expected}, got {type(given).__name__}") from error
    shape = tuple(found.shape)
    if found.dtype not in INTEGERS or shape not in ((tokens,), (1, tokens), (rows, tokens)):
        raise ValueError(f"expected {expected} with B = {rows}, got {found.dtype} {shape}")
    low, high = (int(each) for each in found.long().aminmax())
    if not 0 <= low <= high < size:
        raise ValueError(f"expected {expected}, got {low}..{high}")
    return found.long().to(device).expand(rows, tokens)


def _is_encoded(given: Any) -> bool:
    """True of codes (B, L) and code_lengths (B,) in one tuple, which would pass for two clips."""
    if not (isinstance(given, tuple) and len(given) == 2):
        return False
    shapes = [tuple(getattr(each, "shape", ())) for each in given]
    return len(shapes[0]) == 2 and shapes[1] == shapes[0][:1]


def length_column(lengths: Any, rows: int, name: str) -> Tensor:
    """Lengths as (rows,) int64 on the CPU, where they steer slicing.

    Raises:
        ValueError: Another shape, or numbers that are not whole.
    """
    try:
        given = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"expected integer {name} ({rows},), got {lengths!r}") from error
    # Fractions of a sample would be cut off, and truth values taken for numbers.
    if given.dtype not in INTEGERS:
        raise ValueError(f"expected integer {name} ({rows},), got {given.dtype}")
    column = given.long().cpu()
    column = column[None] if column.ndim == 0 and rows == 1 else column
    if column.shape != (rows,):
        raise ValueError(f"expected {name} of shape ({rows},), got {tuple(column.shape)}")
    return column


def _batch(
    given: Any, expected: str, convert: Convert, device: torch.device | None
) -> tuple[Tensor, Tensor]:
    """Rows (B, N) of what was given, and how many of each are no padding, (B,) int64."""
    rows = _rows(given, expected)
    if isinstance(rows, Tensor):
        batch = _checked(rows[None] if rows.ndim == 1 else rows, expected)
        batch = convert(batch[:, 0] if batch.ndim == 3 else batch)
        return batch.to(device), torch.full((len(batch),), batch.shape[1], dtype=torch.int64)
    clips = [convert(_checked(clip, expected, single=True).reshape(-1)) for clip in rows]
    counts = torch.tensor([len(clip) for clip in clips])
    place = clips[0].device if device is None else device
    dtype = max((clip.dtype for clip in clips), key=lambda dtype: dtype.itemsize)
    batch = torch.zeros(len(clips), int(counts.max()), dtype=dtype, device=place)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    return batch, counts


def _rows(given: Any, expected: str) -> Tensor | list[Tensor]:
    """A tensor of what has one shape, a list of tensors of a list of clips."""
    if isinstance(given, Tensor):
        if given.layout != torch.strided or given.is_meta:
            kind = "a meta tensor" if given.is_meta else f"a {given.layout} tensor"
            raise ValueError(f"expected {expected}, got {kind}, which has no values in a row")
        return given
    if isinstance(given, np.ndarray) and given.dtype != object:
        return _tensor(given, expected)
    if isinstance(given, (list, tuple, np.ndarray)) and len(given):
        if all(isinstance(each, Real) for each in given):
            return _tensor(np.asarray(given), expected)
        found = [_rows(each, expected) for each in given]
        clips = [each for each in found if isinstance(each, Tensor)]
        if len(clips) == len(found):
            return clips
        raise ValueError(f"expected {expected}, got lists within lists of clips")
    if isinstance(given, Sequence) and not isinstance(given, str):
        raise ValueError(f"expected {expected}, got an empty {type(given).__name__}")
    hint = "; codec.read_audio(path, codec.sample_rate) reads a file"
    is_path = expected is _WAVEFORMS and (isinstance(given, str) or hasattr(given, "__fspath__"))
    raise ValueError(f"expected {expected}, got {type(given).__name__}{hint if is_path else ''}")


def _tensor(array: np.ndarray, expected: str) -> Tensor:
    """An array of numbers as a tensor, copied where torch cannot share its memory."""
    try:
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        return torch.from_numpy(np.require(native, requirements=["C", "W"]))
    except TypeError as error:  # text, dates, objects
        raise ValueError(f"expected {expected}, got an array of {array.dtype}") from error


def _checked(rows: Tensor, expected: str, *, single: bool = False) -> Tensor:
    """A batch (B, N) or (B, 1, N), or with `single` a clip (N,) or (1, N), that is not empty."""
    shape = tuple(rows.shape)
    if single:
        fits = len(shape) == 1 or (len(shape) == 2 and shape[0] == 1)
    else:
        fits = len(shape) == 2 or (len(shape) == 3 and shape[1] == 1)
    if not fits or not rows.numel():
        where = " in a list" if single else ""
        raise ValueError(f"expected {expected}, got {rows.dtype} {shape}{where}")
    return rows


def _float_samples(samples: Tensor) -> Tensor:
    """Samples in [-1, 1]: integers over their full scale, and no type narrower than float32."""
    if samples.is_floating_point():
        return samples.float() if samples.dtype.itemsize < 4 else samples
    if samples.dtype not in FULL_SCALE:
        raise ValueError(
            f"expected float samples in [-1, 1], int16 or int32 ones, got {samples.dtype}"
        )
    return samples.float() / FULL_SCALE[samples.dtype]


def _whole_numbers(codes: Tensor) -> Tensor:
    if codes.dtype not in INTEGERS:
        raise ValueError(f"expected {_CODES}, got {codes.dtype} {tuple(codes.shape)}")
    return codes.long()

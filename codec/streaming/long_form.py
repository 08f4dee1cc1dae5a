"""Recordings of any length through the codec in bounded memory.

A recording of up to WINDOW codes is encoded and decoded whole, exactly as by `HHCodec`. A longer
one is cut into windows of WINDOW codes that overlap by 2 * OVERLAP; of each the middle is kept,
so that every code was computed with at least OVERLAP codes of context on both sides (fewer only at
the recording's own ends). Windows start at whole codes, at places that depend on the length
alone: the same recording always gets the same codes. The level of its speech is measured over the
whole recording beforehand, so that one gain holds for all windows.

An encoder with attention or a BiLSTM sees everything, so windows cannot agree with a whole-clip
pass exactly. Share of codes equal to those of encoding all at once, hh-mini-24k, four minutes of
each of two speakers put together from clips (near: within 8 codes of a seam):

    window  overlap    near seams      elsewhere
      1024        0   0.775  0.813   0.946  0.950
      1024       16   0.913  0.950   0.948  0.954
      1024       64   1.000  0.969   0.947  0.948
      1024      128   0.964  0.946   0.947  0.950
      1024      256   0.950  0.969   0.946  0.951
       512       64   0.942  0.964   0.927  0.939

From 64 codes on, a seam is as good as any other place; the rest, one code in twenty whatever the
overlap, is attention having 44 s instead of four minutes to look at, and is less with a larger
window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.model.hh_codec import HHCodec
from codec.speech_level import Level

from .recording_level import Read, encoding_gain, recording_level
from .stream_decoder import CONTEXT, StreamingVocoder

WINDOW = 1024  # codes, 43.7 s
OVERLAP = 64  # codes on each side, 2.7 s
FADE = 8  # codes on each side of a seam over which the mels of two windows are mixed


@dataclass(frozen=True)
class Window:
    """Codes [start, stop) that are computed at once, and [first, last) of them, which are kept."""

    start: int
    stop: int
    first: int
    last: int


def windows(num_codes: int, size: int = WINDOW, overlap: int = OVERLAP) -> list[Window]:
    """Cut a recording into windows, in order, whose kept codes follow without gaps.

    Args:
        num_codes: Of the recording, 1 or more.
        size: Codes a window; all windows are that long unless the recording is shorter.
        overlap: Codes on either side of the kept ones, less than half of `size`.

    Raises:
        ValueError: Sizes that leave nothing to keep.
    """
    if num_codes < 1 or not 0 <= 2 * overlap < size:
        raise ValueError(
            f"expected 1 code or more and 2 * overlap < size, got {num_codes} codes, "
            f"size {size}, overlap {overlap}"
        )
    if num_codes <= size:
        return [Window(0, num_codes, 0, num_codes)]
    core = size - 2 * overlap
    found, first = [], 0
    while first < num_codes:
        # a rest of no more than the overlap stays with the window before
        last = first + core if num_codes - first > core + overlap else num_codes
        # all windows have one size; the last ones move to the left for it
        start = min(max(0, first - overlap), num_codes - size)
        found.append(Window(start, start + size, first, last))
        first = last
    return found


def encode_stream(
    codec: HHCodec,
    read: Read,
    num_samples: int,
    *,
    size: int = WINDOW,
    overlap: int = OVERLAP,
    level: Level | None = None,
    search: int = 0,
) -> Iterator[NDArray[np.uint16]]:
    """Encode a recording, a window at a time.

    Args:
        codec: In eval mode.
        read: Gives any part of the recording.
        num_samples: Length of the recording at the codec's rate.
        size: Codes a window.
        overlap: Codes on either side of the kept ones.
        level: Result of `recording_level`, which is measured where it is not given.
        search: As of `HHCodec.encode`; of a longer recording, within each window.

    Yields:
        (n,) uint16, ceil(num_samples / hop_length) together.

    Raises:
        ValueError: Samples that are not finite, sizes that do not fit, or a search as
            `HHCodec.encode` refuses it.
    """
    hop, device = codec.hop_length, next(codec.parameters()).device
    cuts = windows(-(-num_samples // hop), size, overlap)
    if len(cuts) == 1:
        waveform = torch.from_numpy(read(0, num_samples))[None].to(device)
        yield _as_codes(codec.encode(waveform, search=search)[0])
        return
    # One gain for all windows: each by its own level would jump at the seams.
    level = recording_level(codec, read, num_samples) if level is None else level
    gain, offset = encoding_gain(codec, level), np.float32(level.offset)
    for cut in cuts:
        count = min(cut.stop * hop, num_samples) - cut.start * hop
        samples = (read(cut.start * hop, count) - offset) * np.float32(gain)
        if not np.isfinite(samples).all():
            raise ValueError("expected finite samples, got NaN or infinity in the recording")
        padded = np.pad(samples, (0, (cut.stop - cut.start) * hop - count))
        codes = codec.encode_scaled(torch.from_numpy(padded)[None].to(device), search)
        yield _as_codes(codes)[cut.first - cut.start : cut.last - cut.start]


def encode_clip(
    codec: HHCodec, waveform: NDArray[np.float32], *, search: int = 0
) -> NDArray[np.uint16]:
    """Encode a recording in memory, as the command line does a file.

    Up to WINDOW codes these are the codes of `HHCodec.encode`, beyond it those of windows.

    Args:
        codec: In eval mode.
        waveform: (T,) at the codec's rate.
        search: As of `encode_stream`.

    Returns:
        (ceil(T / hop_length),) uint16.

    Raises:
        ValueError: No samples (T,), or some that are not finite.
    """
    if waveform.ndim != 1 or len(waveform) == 0:
        raise ValueError(f"expected samples (T,), got shape {waveform.shape}")

    def read(first: int, count: int) -> NDArray[np.float32]:
        return waveform[first : first + count]

    return np.concatenate(list(encode_stream(codec, read, len(waveform), search=search)))


def recording_voice(
    codec: HHCodec, read: Read, num_samples: int, *, level: Level | None = None
) -> NDArray[np.int64] | None:
    """Read the voice code of a recording off its first WINDOW codes, as files hold it.

    Args:
        codec: In eval mode.
        read: Gives any part of the recording.
        num_samples: Length of the recording at the codec's rate.
        level: Result of `recording_level`, which is measured where it is not given.

    Returns:
        (K,) tokens; None for a codec without a voice code.

    Raises:
        ValueError: Samples that are not finite.
    """
    if not codec.has_voice:
        return None
    count = min(num_samples, WINDOW * codec.hop_length)
    samples = read(0, count)
    if count == num_samples:
        tokens = codec.encode_voice(samples)
    else:
        level = recording_level(codec, read, num_samples) if level is None else level
        samples = (samples - np.float32(level.offset)) * np.float32(encoding_gain(codec, level))
        if not np.isfinite(samples).all():
            raise ValueError("expected finite samples, got NaN or infinity in the recording")
        tokens = codec.encode_voice_scaled(torch.from_numpy(samples)[None].to(codec.device))
    assert tokens is not None
    return tokens[0].cpu().numpy()


def decode_stream(
    codec: HHCodec,
    codes: NDArray[np.integer],
    num_samples: int,
    *,
    size: int = WINDOW,
    overlap: int = OVERLAP,
    level_dbfs: float | None = None,
    voice: Any = None,
) -> Iterator[NDArray[np.float32]]:
    """Decode codes, piece by piece and without clicks.

    The log-mels of neighbouring windows are mixed over FADE codes on either side of their seam,
    and the vocoder runs on over the mixed mel (`StreamingVocoder`) as if it saw the whole.

    Args:
        codec: In eval mode.
        codes: (L,).
        num_samples: Wanted, at most L * hop_length.
        size: Codes a window.
        overlap: Codes on either side of the kept ones, at least FADE.
        level_dbfs: Of the recording, which is given back; None leaves the codec's level.
        voice: (K,) tokens of `recording_voice`, or of another recording; None for a codec without.

    Yields:
        (n,) float32, num_samples together.

    Raises:
        ValueError: Unknown codes, sizes that do not fit, a length that the codes do not cover, or a
            voice as `HHCodec.decode` refuses it.
    """
    voice = codec.voice_tokens(voice)
    device, gain = next(codec.parameters()).device, codec.decoding_gain(level_dbfs)
    if len(codes) <= size:
        whole = torch.from_numpy(np.asarray(codes, dtype=np.int64))[None].to(device)
        waveform, _ = codec.decode(whole, lengths=torch.tensor([num_samples]), voice=voice)
        yield waveform[0].cpu().numpy() * np.float32(gain)
        return
    if overlap < FADE:
        raise ValueError(f"expected an overlap of {FADE} codes or more, got {overlap}")
    if not 1 <= num_samples <= len(codes) * codec.hop_length:
        raise ValueError(f"expected 1..{len(codes) * codec.hop_length} samples, got {num_samples}")
    left = num_samples
    cuts = windows(len(codes), size, overlap)
    for piece in _vocoded(codec, _mels(codec, codes, cuts, voice)):
        yield piece[:left].cpu().numpy() * np.float32(gain)
        left -= min(left, len(piece))


def _mels(
    codec: HHCodec, codes: NDArray[np.integer], cuts: list[Window], voice: Tensor | None = None
) -> Iterator[Tensor]:
    """Consecutive pieces (1, M, n) of the decoder's log-mel, mixed where windows meet."""
    factor, device = codec.config.upsampling, next(codec.parameters()).device
    # weights of the later window over FADE codes on both sides of a seam, without 0 and 1
    rising = torch.linspace(0.0, 1.0, 2 * FADE * factor + 2, dtype=torch.float32, device=device)[
        1:-1
    ]
    tail: Tensor | None = None
    for cut in cuts:
        part = torch.from_numpy(np.asarray(codes[cut.start : cut.stop], dtype=np.int64))
        mel = codec.decode_mel(part[None].to(device), voice)
        # What is kept, and FADE codes beyond it where another window follows or precedes.
        stop = cut.last + (FADE if cut.last < len(codes) else 0)
        start = cut.first - (FADE if tail is not None else 0)
        mel = mel[..., (start - cut.start) * factor : (stop - cut.start) * factor]
        if tail is not None:
            width = tail.shape[-1]
            mixed = tail + rising * (mel[..., :width] - tail)
            mel = torch.cat([mixed, mel[..., width:]], dim=-1)
        # The last frames wait to be mixed with the next window's.
        keep = mel.shape[-1] - (2 * FADE * factor if cut.last < len(codes) else 0)
        tail = mel[..., keep:]
        if keep:
            yield mel[..., :keep]


def _vocoded(codec: HHCodec, mels: Iterator[Tensor]) -> Iterator[Tensor]:
    """Consecutive pieces (n,) of the waveform of consecutive pieces of a log-mel."""
    vocoder, waiting = StreamingVocoder(codec.vocoder), None
    for mel in mels:
        waiting = mel if waiting is None else torch.cat([waiting, mel], dim=-1)
        ready = waiting.shape[-1] - CONTEXT  # the rest is lookahead
        if ready > 0:
            yield vocoder.push(waiting[..., :ready], waiting[..., ready:])
            waiting = waiting[..., ready:]
    if waiting is not None:
        yield vocoder.push(waiting, waiting[..., :0])


def _as_codes(codes: Tensor) -> NDArray[np.uint16]:
    """(1, L) int64 to (L,) uint16."""
    return codes[0].cpu().numpy().astype(np.uint16)

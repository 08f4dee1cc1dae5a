"""Several recordings of one number of codes, up to a window, converted in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from codec.audio.io import read_audio
from codec.model.hh_codec import HHCodec
from codec.streaming.long_form import WINDOW

from .convert import Converted, Pair, check_stream, stream_header, write_pieces
from .format import CodedRecording
from .open_formats import load_codes, save_codes
from .records import stated_level


def encode_batch(codec: HHCodec, pairs: Sequence[Pair]) -> list[Converted]:
    """Encode recordings that are no longer than a window, in one batch."""
    codes, results, levels = _encoded(codec, pairs)
    rows = codes.cpu().numpy().astype(np.uint16)
    for pair, row, result, level in zip(pairs, rows, results, levels.tolist(), strict=True):
        header = stream_header(codec, level)
        coded = CodedRecording(header, row[: result.num_codes], result.num_samples)
        save_codes(pair.target, coded)
    return results


def decode_batch(codec: HHCodec, pairs: Sequence[Pair]) -> list[Converted]:
    """Decode streams that are no longer than a window, in one batch."""
    streams = [load_codes(pair.source, stream_header(codec)) for pair in pairs]
    for stream in streams:
        check_stream(codec, stream.header)
    results = [Converted(stream.num_samples, len(stream.codes)) for stream in streams]
    codes = torch.zeros(len(streams), _longest(results), dtype=torch.int64)
    for row, stream in enumerate(streams):
        codes[row, : len(stream.codes)] = torch.from_numpy(stream.codes.astype(np.int64))
    # without a stated level, the codec's own
    own = codec.config.loudness_dbfs or 0.0
    stated = (stream.header.level_dbfs for stream in streams)
    levels = torch.tensor([own if level is None else level for level in stated])
    _write_decoded(codec, pairs, codes.to(next(codec.parameters()).device), results, levels)
    return results


def reconstruct_batch(codec: HHCodec, pairs: Sequence[Pair]) -> list[Converted]:
    """Encode and decode recordings that are no longer than a window, in one batch."""
    codes, results, levels = _encoded(codec, pairs)
    _write_decoded(codec, pairs, codes, results, levels)
    return results


def _encoded(
    codec: HHCodec, pairs: Sequence[Pair]
) -> tuple[torch.Tensor, list[Converted], torch.Tensor]:
    """Codes (B, L) of recordings, their lengths, and their levels (B,) in dBFS."""
    waveforms = [read_audio(pair.source, codec.sample_rate) for pair in pairs]
    hop = codec.hop_length
    results = [Converted(len(each), -(-len(each) // hop)) for each in waveforms]
    batch = torch.zeros(len(pairs), _longest(results) * hop)
    # zeros behind each clip, which do not change its codes
    for row, waveform in enumerate(waveforms):
        batch[row, : len(waveform)] = torch.from_numpy(waveform)
    lengths = torch.tensor([result.num_samples for result in results])
    codes, _ = codec.encode(batch.to(next(codec.parameters()).device), lengths)
    levels = [stated_level(level) for level in codec.levels(batch, lengths).tolist()]
    return codes, results, torch.tensor(levels)


def _longest(results: Sequence[Converted]) -> int:
    """Most codes of a recording, refused where it would have to be cut into windows."""
    longest = max(result.num_codes for result in results)
    if longest > WINDOW:
        raise ValueError(f"expected recordings of up to {WINDOW} codes, got {longest}")
    return longest


def _write_decoded(
    codec: HHCodec,
    pairs: Sequence[Pair],
    codes: torch.Tensor,
    results: Sequence[Converted],
    levels: torch.Tensor,
) -> None:
    """Decode rows of codes (B, L) together and write each at its own length and level (dBFS)."""
    code_lengths = torch.tensor([result.num_codes for result in results])
    lengths = torch.tensor([result.num_samples for result in results])
    decoded = codec.decode(codes, code_lengths, lengths, levels=levels)[0].cpu().numpy()
    for pair, row, result in zip(pairs, decoded, results, strict=True):
        whole = [row[: result.num_samples]]
        write_pieces(pair.target, whole, codec.sample_rate, result.num_samples)

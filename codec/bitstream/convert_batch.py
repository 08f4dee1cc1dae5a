"""Several recordings of one number of codes, up to a window, converted in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from codec.audio.io import read_audio
from codec.model.hh_codec import HHCodec
from codec.streaming.long_form import WINDOW

from .convert import (
    Converted,
    Pair,
    check_form,
    check_stream,
    in_other_voice,
    stream_header,
    write_pieces,
)
from .format import CodedRecording
from .open_formats import load_codes, save_codes
from .records import stated_level


def encode_batch(codec: HHCodec, pairs: Sequence[Pair]) -> list[Converted]:
    """Encode recordings that are no longer than a window, in one batch."""
    for pair in pairs:
        check_form(codec, pair.target)
    codes, results, levels, voices = _encoded(codec, pairs)
    rows = codes.cpu().numpy().astype(np.uint16)
    for index, (pair, row, result) in enumerate(zip(pairs, rows, results, strict=True)):
        voice = None if voices is None else voices[index].cpu().numpy()
        header = stream_header(codec, float(levels[index]), voice)
        coded = CodedRecording(header, row[: result.num_codes], result.num_samples)
        save_codes(pair.target, coded)
    return results


def decode_batch(codec: HHCodec, pairs: Sequence[Pair]) -> list[Converted]:
    """Decode streams that are no longer than a window, in one batch."""
    loaded = [load_codes(pair.source, stream_header(codec)) for pair in pairs]
    streams = [
        in_other_voice(codec, each, pair.voice) for each, pair in zip(loaded, pairs, strict=True)
    ]
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
    voices = [stream.header.voice for stream in streams]
    tokens = torch.tensor([each.tokens for each in voices if each]) if codec.has_voice else None
    on_device = codes.to(next(codec.parameters()).device)
    _write_decoded(codec, pairs, on_device, results, levels, tokens)
    return results


def reconstruct_batch(codec: HHCodec, pairs: Sequence[Pair]) -> list[Converted]:
    """Encode and decode recordings that are no longer than a window, in one batch."""
    codes, results, levels, voices = _encoded(codec, pairs)
    _write_decoded(codec, pairs, codes, results, levels, voices)
    return results


def _encoded(
    codec: HHCodec, pairs: Sequence[Pair]
) -> tuple[torch.Tensor, list[Converted], torch.Tensor, torch.Tensor | None]:
    """Codes (B, L) of recordings, their lengths, levels (B,) in dBFS, and voices (B, K) if any."""
    waveforms = [read_audio(pair.source, codec.sample_rate) for pair in pairs]
    hop = codec.hop_length
    results = [Converted(len(each), -(-len(each) // hop)) for each in waveforms]
    batch = torch.zeros(len(pairs), _longest(results) * hop)
    # zeros behind each clip, which do not change its codes
    for row, waveform in enumerate(waveforms):
        batch[row, : len(waveform)] = torch.from_numpy(waveform)
    lengths = torch.tensor([result.num_samples for result in results])
    on_device = batch.to(next(codec.parameters()).device)
    (search,) = {pair.search for pair in pairs}
    codes, _ = codec.encode(on_device, lengths, search=search)
    voices = codec.encode_voice(on_device, lengths)
    levels = [stated_level(level) for level in codec.levels(batch, lengths).tolist()]
    return codes, results, torch.tensor(levels), voices


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
    voices: torch.Tensor | None,
) -> None:
    """Decode rows of codes (B, L) together and write each at its own length, level and voice."""
    code_lengths = torch.tensor([result.num_codes for result in results])
    lengths = torch.tensor([result.num_samples for result in results])
    decoded, _ = codec.decode(codes, code_lengths, lengths, levels=levels, voice=voices)
    decoded = decoded.cpu().numpy()
    for pair, row, result in zip(pairs, decoded, results, strict=True):
        whole = [row[: result.num_samples]]
        write_pieces(pair.target, whole, codec.sample_rate, result.num_samples)
